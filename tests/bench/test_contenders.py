"""How the benchmarks run a contender."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

import pytest

from bench import contenders

DEADLINE_S = 30.0


def test_a_command_ends_when_its_program_does_and_what_it_leaves_running_is_killed(tmp_path: Path) -> None:
    """What it leaves holds its output open, as an ssh does that nobody ends."""
    lock = tmp_path / "lock"
    leave = 'echo said; exec 9>"$0"; flock 9; sleep 600 & exit 3'
    ended = contenders.run_command(["sh", "-c", leave, str(lock)], tmp_path)
    assert (ended.status, ended.output) == (3, "said\n")
    assert ended.seconds < 600
    deadline = time.monotonic() + DEADLINE_S
    with lock.open("rb") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < deadline, "what it left is still running"
                time.sleep(0.01)
            else:
                break


def test_a_command_that_does_not_end_is_killed_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "LONGEST_S", 0.2)
    ended = contenders.run_command(["sleep", "600"], tmp_path)
    assert (ended.status, ended.output) == (-9, "error: not done after 0 s")
