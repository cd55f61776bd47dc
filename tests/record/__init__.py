"""Tests of events, journal and record."""
