"""A run's folder is held for as long as its process lives."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from switchproof.deploy.record.hold import hold, is_held

HOLDS = """
import sys, time
from pathlib import Path
from switchproof.deploy.record.hold import hold
held = hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "run"
    place.mkdir()
    (place / "events.jsonl").touch()
    return place


def test_a_folder_is_held_until_it_is_let_go(folder: Path) -> None:
    """Held is held for everyone, for this process as well, also under another name; let go is let go."""
    assert not is_held(folder)
    with hold(folder):
        assert is_held(folder)
        moved = folder.rename(folder.with_name("moved"))
        assert is_held(moved)
    assert not is_held(moved)


def test_who_asks_at_the_same_time_does_not_keep_a_run_from_holding(folder: Path) -> None:
    """Two may hold, and being asked does not let go."""
    with hold(folder), hold(folder):
        assert is_held(folder)
        assert is_held(folder)


def test_a_process_that_is_killed_holds_nothing(folder: Path) -> None:
    """Whatever ends a process, its folder is held no longer."""
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_held(folder)
        process.kill()
    assert not is_held(folder)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_who_may_only_read_can_tell_as_well(folder: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed is not called running by somebody who may not write its files, or on a read-only disk."""
    opened = Path.open

    def refuse(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if "+" in mode:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, mode, *rest, **named)

    with hold(folder):
        monkeypatch.setattr(Path, "open", refuse)
        assert is_held(folder)
    assert not is_held(folder)


def test_what_cannot_be_known_may_be_held(tmp_path: Path) -> None:
    """A folder without events is nobody's; one whose events cannot be opened may be somebody's."""
    assert not is_held(tmp_path)
    (tmp_path / "events.jsonl").mkdir()
    assert is_held(tmp_path)
