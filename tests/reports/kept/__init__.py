"""Tests of kept runs and of the commands of `switchproof reports`."""
