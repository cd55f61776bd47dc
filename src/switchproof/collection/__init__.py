"""Turns the modules of the contract, and the checks of a team, into an ordered list of checks."""
