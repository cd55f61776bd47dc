"""Tests of what a run prints to the terminal."""
