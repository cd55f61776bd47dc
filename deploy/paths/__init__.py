"""What a repository's ways to deploy are, and whether they keep to the contract, found by reading alone.

Nothing of the repository is executed. `sources` finds the entry points, `walk` follows what they run, `meaning` knows
what commands are, `survey` holds what was found and judges it.
"""
