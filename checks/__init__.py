"""The deployment contract, clause by clause, as ordered test modules."""
