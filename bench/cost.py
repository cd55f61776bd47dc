"""Measures the resources of a command: processor, memory, file descriptors and threads."""

from __future__ import annotations

import contextlib
import re
import resource
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from switchproof.deploy.providers.lab.cgroup import Cgroup
from switchproof.deploy.providers.lab.lab import Lab

PERIOD_S = 0.05
"""Seconds between two samples of a process."""


@dataclass(frozen=True)
class Cost:
    """The resources of a command.

    Attributes:
        processor_s: Seconds of processor time, including all processes that it waited for.
        memory: The most bytes of memory of its first process.
        descriptors: The most open files and sockets of its first process, as sampled.
        threads: The most threads of its first process, as sampled.
    """

    processor_s: float = 0.0
    memory: int = 0
    descriptors: int = 0
    threads: int = 0


class Most:
    """The highest samples of a process."""

    def __init__(self, pid: int) -> None:
        self.cost = Cost()
        self._process = Path("/proc") / str(pid)

    def look(self) -> None:
        """Sample the process while it exists."""
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
    """Sample a process until it is waited for."""
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
    """Return the seconds of processor time of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def hosts_processor_s(lab: Lab, names: Iterable[str]) -> float:
    """Return the seconds of processor time that hosts of a lab have used since they were started, in all."""
    machines = {host.name: host.machine for host in lab.state.hosts}
    return sum(used_s(Cgroup(machines[name]).directories()[0]) for name in names)


def used_s(unified: Path) -> float:
    """Return the seconds of user and system time of all processes ever in a cgroup, by its directory in cgroup v2.

    The kernel counts this in cgroup v2 also where the processor's controller is in v1.
    """
    values = dict(line.split() for line in (unified / "cpu.stat").read_text("utf-8").splitlines())
    return int(values["usage_usec"]) / 1e6
