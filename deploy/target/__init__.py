"""Target files: hosts, how they are reached, and what healthy means there."""
