"""Secrets: where they come from, what they look like, and taking them out of text."""
