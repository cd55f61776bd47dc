"""Answers of hosts as typed observations, and what they mean."""
