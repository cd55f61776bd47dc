"""Runs a benchmark for one round on its smallest ground."""

from __future__ import annotations

import subprocess
import sys

from bench.result import ROOT

LONGEST_S = 300.0


def smallest(name: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark to its end, which it reaches only if every contender did its work."""
    command = [sys.executable, "-m", f"bench.{name}", "--smallest"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
