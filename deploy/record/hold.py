"""A run's folder while the run goes on: its process holds it, so that others can tell it from one that was killed."""

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
    """Hold a run's folder until what is returned is closed, or the process ends in whatever way.

    Where the file system knows no locks nothing is held, and `is_held` does not claim the contrary.

    Args:
        folder: The run's folder, with its `events.jsonl`.

    Raises:
        OSError: There is no `events.jsonl`.
    """
    file = (folder / "events.jsonl").open("rb")
    with suppress(OSError):
        for _ in range(_TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody asks at this very moment whether it is held
                time.sleep(_PAUSE_S)
            else:
                break
    return file


def _opened(path: Path) -> BinaryIO:
    """Open a file to ask for its lock: for writing if that is allowed, as some network file systems demand that."""
    try:
        return path.open("r+b")
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        return path.open("rb")


def is_held(folder: Path) -> bool:
    """Whether the run of a folder may still go on; where that cannot be known, it may."""
    try:
        with _opened(folder / "events.jsonl") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
