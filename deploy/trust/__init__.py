"""Signed runs, and the gate that lets only what was proven through."""
