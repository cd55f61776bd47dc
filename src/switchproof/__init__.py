"""Switchproof: a NixOS deploy that is a pytest session. pytest imports this before any `conftest.py`."""
