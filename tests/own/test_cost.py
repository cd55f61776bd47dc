"""What a host costs a run, in counts that do not depend on the machine."""

import json
import subprocess
import sys
from pathlib import Path

from switchproof.deploy.contract import HostState
from tests.deploys.sessions import ROOT
from tests.run.drives import Drive
from tests.run.hosts import Host

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


def test_a_good_deploy_asks_a_host_five_questions(tmp_path: Path) -> None:
    """Each is a round trip over SSH and a command through SSM, which costs seconds: none is added unseen."""
    drive = Drive(tmp_path, host := Host("a"))
    assert drive.run() == {"a": HostState.CONVERGED}
    assert [question.verb for question in host.asked] == ["resolve", "converge", "status", "observe", "confirm"]
