"""What a command takes of the machine: processor, memory, file descriptors, threads."""

from __future__ import annotations

import contextlib
import re
import resource
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PERIOD_S = 0.05
"""Seconds between two looks at a process."""


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        processor_s: Seconds of processor, of all processes that it waited for.
        memory: The most bytes that its first process had in memory.
        descriptors: The most files and sockets that its first process was seen to have open.
        threads: The most threads that its first process was seen to have.
    """

    processor_s: float = 0.0
    memory: int = 0
    descriptors: int = 0
    threads: int = 0


class Most:
    """The most that a process was seen to have."""

    def __init__(self, pid: int) -> None:
        self.cost = Cost()
        self._process = Path("/proc") / str(pid)

    def look(self) -> None:
        """Look at the process, as long as it is there."""
        with contextlib.suppress(OSError):
            status = (self._process / "status").read_text("utf-8", "replace")
            memory, threads = (re.search(rf"^{name}:\s*(\d+)", status, re.MULTILINE) for name in ("VmHWM", "Threads"))
            self.cost = Cost(
                memory=max(self.cost.memory, 1024 * int(memory[1]) if memory else 0),
                descriptors=max(self.cost.descriptors, len(list((self._process / "fd").iterdir()))),
                threads=max(self.cost.threads, int(threads[1]) if threads else 0),
            )


@contextlib.contextmanager
def watching(pid: int) -> Iterator[Most]:
    """Look at a process again and again until it is waited for."""
    most, over = Most(pid), threading.Event()

    def watch() -> None:
        while not over.wait(PERIOD_S):
            most.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def processor_s() -> float:
    """Return the seconds of processor of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
