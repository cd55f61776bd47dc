"""Tests of what is made from a record."""
