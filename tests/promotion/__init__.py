"""Signing runs, and what lets a deploy through to production."""
