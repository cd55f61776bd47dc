"""Benchmarks of Switchproof and of comparable tools."""
