"""Tests of what CI services get."""
