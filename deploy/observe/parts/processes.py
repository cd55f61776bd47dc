"""The processes of the contract's units, and the store paths that they run from (pure)."""

from __future__ import annotations

import msgspec

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.parts.text import lines_of, pairs


class Process(msgspec.Struct, frozen=True):
    """A process of a unit.

    Attributes:
        unit: Its unit.
        pid: Its process id.
        executable: The file that it runs.
        strays: Store paths that it runs from, and that neither the running system contains nor the bridge installed.
        installed: Store paths that it runs from, and that the bridge installed.
        began_s: When it began, in seconds since the boot; None if it ended during the observation.
    """

    unit: str
    pid: int
    executable: str
    strays: tuple[str, ...]
    installed: tuple[str, ...] = ()
    began_s: float | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether the file that it runs was deleted, even if another file has the same path now."""
        return self.executable.endswith("_(deleted)")


class Program(msgspec.Struct, frozen=True):
    """The file that an `exec` probe runs.

    Attributes:
        file: The file that the probe's path resolves to; empty if there is none.
        origin: `system` if the running system contains it, `installed` if the bridge installed it, else `other`.
    """

    file: str
    origin: str


def read_processes(frame: Frame) -> tuple[Process, ...] | None:
    """Read the processes of all units; None if the host could not read the system's closure.

    Raises:
        FrameError: A part is missing.
        ValueError: A line is malformed.
    """
    if "processes" not in frame.sections:
        return None
    processes = []
    began = {int(pid): int(ticks) / 100 for pid, ticks in pairs(frame.get("processes.began")).items()}
    for line in lines_of(frame.text("processes")):
        unit, pid, executable, *paths = line.split(" ")
        strays = tuple(path for path in paths if path.startswith("/nix/store/"))
        installed = tuple(path.removeprefix("=") for path in paths if path.startswith("=/nix/store/"))
        processes.append(Process(unit, int(pid), executable, strays, installed, began.get(int(pid))))
    return tuple(processes)


def read_programs(frame: Frame) -> dict[str, Program]:
    """Read the files that `exec` probes run, by endpoint.

    Raises:
        ValueError: A line is malformed.
    """
    rows = (line.split(" ", 2) for line in lines_of(frame.get("programs")))
    return {name: Program(file, origin) for name, origin, file in rows}
