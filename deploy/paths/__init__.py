"""Deploy paths of a repository, found and checked against the contract by reading it.

Nothing of the repository is executed, except that `just --dump` parses its justfile. `sources` finds the entry
points, `readers/` parse their languages, `walk` follows their commands, `programs/` know the commands, `meaning` has
the tables, and `survey` holds the findings and the verdict.

"""
