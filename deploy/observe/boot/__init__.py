"""Computes which system a host boots next, from the files and variables of its boot loader (pure)."""
