"""The record of a run: events, the journal that keeps them, the fold, and what beside it is kept."""
