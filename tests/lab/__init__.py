"""Tests of the lab: its sample repository, and its hosts."""
