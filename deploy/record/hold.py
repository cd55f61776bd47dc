"""Locks a run's folder while the run goes on, so that others can tell it from a killed run."""

from __future__ import annotations

import errno
import fcntl
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_TRIES = 20
_PAUSE_S = 0.05


def hold(folder: Path) -> BinaryIO:
    """Lock a run's folder until the returned file is closed or the process ends.

    On a file system without locks nothing is held, and `is_held` reports that the run may go on.

    Args:
        folder: The run's folder, with its `events.jsonl`.

    Raises:
        OSError: `events.jsonl` is missing.
    """
    file = (folder / "events.jsonl").open("rb")
    with suppress(OSError):
        for _ in range(_TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # another process is just testing the lock
                time.sleep(_PAUSE_S)
            else:
                break
    return file


def _opened(path: Path) -> BinaryIO:
    """Open a file to test its lock, for writing if allowed, because some network file systems require that."""
    try:
        return path.open("r+b")
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        return path.open("rb")


def is_held(folder: Path) -> bool:
    """Whether the run of a folder may still go on; also true if that cannot be known."""
    try:
        with _opened(folder / "events.jsonl") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
