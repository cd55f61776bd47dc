"""Tests of what is at the top of the engine: contract, plan, settings, extras."""
