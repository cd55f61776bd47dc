"""The record of a run: its events, the journal that keeps them, the fold, and earlier runs."""
