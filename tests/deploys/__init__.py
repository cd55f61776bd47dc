"""Whole deploys on lab hosts."""
