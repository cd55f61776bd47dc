"""Finds secrets in text, by their known values or their forms, and removes them."""
