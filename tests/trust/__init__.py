"""Tests of what is signed and promoted."""
