"""The pages of runs in a real browser."""
