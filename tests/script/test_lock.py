"""A lock ends by itself, whatever the host's clock did since it was taken."""

from __future__ import annotations

import os
import time
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
