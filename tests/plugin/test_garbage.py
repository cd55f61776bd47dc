"""How little a session's end costs."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

COUNT_AT_END = """
import atexit, gc
looked_at = []
gc.callbacks.append(lambda phase, info: phase == "start" and looked_at.append(len(gc.get_objects())))
atexit.register(lambda: print("looked at", looked_at[-1], "of", gc.get_freeze_count()))
"""


def test_pytest_looks_for_garbage_among_none_of_the_objects_that_a_deploy_leaves(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(COUNT_AT_END, encoding="utf-8")
    words = ["--provider=lab", "--audit", "--collect-only", "-q", "-p", "counting"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    looked_at, exempt = (int(word) for word in done.stdout.splitlines()[-1].removeprefix("looked at ").split(" of "))
    assert (done.returncode, looked_at < exempt / 100) == (0, True), done.stdout
