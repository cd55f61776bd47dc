"""What a further host costs the runner, in a count that does not depend on the machine."""

import json
import subprocess
import sys
from pathlib import Path

from tests.deploys.sessions import ROOT

MOST = 68_000
"""Functions that the main thread calls for a further host with 21 checks, on any Python; 64,000 of them on 3.11."""
EVEN = 0.05


def test_a_further_host_costs_few_calls_and_the_next_ones_no_more(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.own.counting", str(tmp_path), "1", "2", "4", "8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    _, two, four, eight = json.loads(done.stdout.splitlines()[-1])
    first, later = (four - two) / 2, (eight - four) / 4
    assert later <= MOST
    assert later <= first * (1 + EVEN)
