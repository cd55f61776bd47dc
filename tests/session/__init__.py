"""Tests of the session: what it refuses, what it shows of diagnostics, and the code that it ends with."""
