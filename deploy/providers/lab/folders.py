"""The lab's folders on this machine, and the locks that protect them."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from switchproof.deploy.cache import cache_folder
from switchproof.deploy.providers.lab.errors import LabError


def labs() -> Path:
    """Return the folder that contains one folder per lab."""
    return cache_folder() / "labs"


@contextmanager
def locked(name: str, *, timeout_s: float) -> Iterator[None]:
    """Hold one of the lab's locks; the kernel releases it when the process dies.

    Raises:
        LabError: Another process held it for all of `timeout_s` seconds.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    path = cache_folder() / f"{name}.lock"
    deadline = time.monotonic() + timeout_s
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(f"Another process has held {path} for {timeout_s:g} s.") from None
                time.sleep(0.05)
        yield
