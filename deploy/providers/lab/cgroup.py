"""One host's cgroup: it contains exactly the host's processes, so that it can kill them all."""

import contextlib
import errno
import os
import time
from pathlib import Path

import msgspec

from switchproof.deploy.providers.lab import mounts
from switchproof.deploy.providers.lab.errors import LabError


def hierarchies() -> tuple[Path | None, Path | None]:
    """Return the mount points of cgroup v2 and, if there is one, of systemd's v1 hierarchy.

    A host needs its own cgroup in both, because two hosts in one cgroup would share the cgroups of their units.
    """
    unified = named = None
    for point, kind, options in mounts.mount_points():
        if kind == "cgroup2" and unified is None:
            unified = point
        if kind == "cgroup" and "name=systemd" in options.split(","):
            named = point
    return unified, named


class Cgroup(msgspec.Struct, frozen=True):
    """A cgroup by name, directly below the root of each hierarchy; its sub-groups are `keeper` and `host`."""

    name: str

    def directories(self) -> list[Path]:
        """Return its directory in cgroup v2 first, then in systemd's v1 hierarchy if there is one."""
        return [root / self.name for root in hierarchies() if root is not None]

    def create(self) -> None:
        """Make the cgroup, with a place for the process that keeps the host."""
        for directory in self.directories():
            (directory / "keeper").mkdir(parents=True, exist_ok=True)

    def processes(self) -> list[int]:
        """Return the process ids in it, including `keeper` and nested containers."""
        pids: list[int] = []
        for directory, _, _ in os.walk(self._unified()):  # which skips folders that disappear meanwhile
            with contextlib.suppress(OSError):
                pids.extend(int(line) for line in Path(directory, "cgroup.procs").read_text("utf-8").split())
        return pids

    def populated(self) -> bool:
        """Whether any process is left in it."""
        try:
            events = (self._unified() / "cgroup.events").read_text("utf-8")
        except OSError:
            return False
        return "populated 1" in events

    def leader(self) -> int | None:
        """Return the host's first process (number 1 inside); None without one."""
        for pid in self.processes():
            try:
                status = Path(f"/proc/{pid}/status").read_text("utf-8")
            except OSError:
                continue
            numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
            if len(numbers) == 2 and numbers[1] == "1":  # noqa: PLR2004 - a nested container's has three
                return pid
        return None

    def kill(self, *, timeout_s: float = 15) -> None:
        """Kill every process in it at once, and wait until they are gone."""
        try:
            (self._unified() / "cgroup.kill").write_text("1", "utf-8")
        except FileNotFoundError:
            return
        if not self.wait_empty(timeout_s=timeout_s):
            pids = ", ".join(map(str, self.processes()))
            raise LabError(f"Processes {pids} of {self.name} were killed, but still exist.")

    def wait_empty(self, *, timeout_s: float) -> bool:
        """Wait until no process is left; return whether that happened in time."""
        deadline = time.monotonic() + timeout_s
        while self.populated():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def remove(self, *, timeout_s: float = 10) -> None:
        """Remove the directories of a host that has ended, and kill processes that entered them last."""
        deadline = time.monotonic() + timeout_s
        for directory in self.directories():
            while directory.exists():
                try:
                    _remove_tree(directory)
                except OSError as error:
                    if error.errno not in {errno.EBUSY, errno.ENOTEMPTY} or time.monotonic() > deadline:
                        raise LabError(f"The cgroup {directory} could not be removed: {error}.") from error
                    time.sleep(0.02)
                    self.kill()

    def _unified(self) -> Path:
        root, _ = hierarchies()
        if root is None:
            raise LabError("No cgroup v2 hierarchy is mounted.")
        return root / self.name


def _remove_tree(top: Path) -> None:
    # systemd inside may be removing the same directories.
    for directory, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            Path(directory).rmdir()
