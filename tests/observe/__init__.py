"""Tests of what is made of a host's answers."""
