"""Switchproof as an installed package: what pytest loads before any `conftest.py`."""
