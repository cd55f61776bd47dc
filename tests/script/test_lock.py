"""A lock ends by itself, whatever the host's clock did since it was taken."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.host_functions import run

UP = 1000
STUBS = f'uptime_to() {{ printf -v "$1" %s {UP}.5; }}; held_by() {{ echo "$LEASE"; }}; '


@pytest.mark.parametrize(
    ("lease", "age_s", "left"),
    [
        (str(UP + 45), 0, range(45, 46)),
        (str(UP - 1), 0, range(1)),
        (str(UP + 45), -86400, range(45, 46)),
        ("", 0, range(1, 61)),
        ("", 3600, range(1)),
        ("", -86400, range(1, 61)),
        ("a[$(exit 1)]", -86400, range(1, 61)),
    ],
    ids=[
        "held",
        "over",
        "held, clock set back",
        "no holder",
        "no holder for long",
        "no holder, clock set back",
        "odd",
    ],
)
def test_a_lock_ends_whatever_the_clock_says(lease: str, age_s: int, left: range, tmp_path: Path) -> None:
    """A lease counts from the boot; a lock without one lasts a minute, even where it seems to be of tomorrow."""
    changed = time.time() - age_s
    os.utime(tmp_path, (changed, changed))
    text = f'{STUBS}LOCK={tmp_path}; lease_left; echo "$ends_in"'
    assert int(run(text, "numbers", "lock", values={"LEASE": lease})) in left


AGAIN = """
say_system() { say system.running /nix/store/x; }
for round in {1..40}; do
  STATE=$FOLDER/$round ROOTS=$FOLDER/$round/roots ROOM=$FOLDER/$round/room RUN=r
  before=$STATE/runs/r/before
  mkdir -p "$ROOTS"
  note_before && set_room_aside && hold_system before /nix/store/x || echo "round $round"
  [ -s "$before" ] && [ -s "$ROOM" ] && [ "$(readlink "$ROOTS/r/before")" = /nix/store/x ] || echo "lost $round"
done
"""


def test_a_host_is_claimed_by_a_question_and_its_repetition_at_once(tmp_path: Path) -> None:
    """A runner that lost its connection asks again while the first question goes on; neither spoils the other's."""
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(run, AGAIN, "answer", "files", "lock", values={"FOLDER": str(tmp_path)}) for _ in range(4)
        ]
    assert [job.result() for job in jobs] == [""] * 4
