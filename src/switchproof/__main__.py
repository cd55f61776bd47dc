"""Runs the command as `python -m switchproof`."""

from switchproof.command import run

run()
