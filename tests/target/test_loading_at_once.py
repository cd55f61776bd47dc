"""Target files that several threads load at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TOGETHER = """
import threading
from pathlib import Path
from switchproof.deploy.target.loading import load_contract

begin = threading.Barrier(12)


def load():
    begin.wait()
    load_contract(Path("deploy/targets/ovh.toml"), {})


threads = [threading.Thread(target=load) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_first_target_file_may_be_loaded_by_many_threads() -> None:
    """Nothing of it is known yet in a new interpreter; each try has its own."""
    ended = [subprocess.run([sys.executable, "-c", TOGETHER], cwd=ROOT, timeout=60, check=False) for _ in range(4)]
    assert [each.returncode for each in ended] == [0] * 4
