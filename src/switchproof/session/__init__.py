"""A deploy as a pytest session: set-up, fixtures, verdicts, the way back and the end."""
