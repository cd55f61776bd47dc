"""Finds what a host lacks for a deploy, before the deploy begins there (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.parts.system import System
from switchproof.deploy.record.facts import Clock
from switchproof.deploy.target.types import Finding, Preflight

_MIB = 2**20
_PLACES: tuple[tuple[str, Finding], ...] = (
    ("/nix/store", "store"),
    ("/var/lib", "var"),
    ("/boot", "boot"),
    ("/boot/efi", "boot"),
    ("/efi", "boot"),
)
_REMEDIES: dict[Finding, str] = {
    "store": "free space in the Nix store, for example with nix-collect-garbage",
    "var": "free space in /var/lib",
    "boot": "free space on the boot partition, for example by deleting old generations",
    "inodes": "delete files that are not needed any more",
    "memory": "free memory or add swap",
    "clock": "correct the clock, unless the runner's is wrong",
    "reboot": "reboot the host",
    "failed": "repair the failed units, or run systemctl reset-failed",
}
_DF = re.compile(r"^(/\S+) +(/.*?) +([0-9]{1,20}) +([0-9]{1,20}|-) +([0-9]{1,20}|-)$", re.MULTILINE)
_MEMORY = re.compile(r"^(MemAvailable|SwapFree): +([0-9]{1,15}) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Problem:
    """A reason not to begin a deploy on a host.

    Attributes:
        finding: Its kind, as the target file calls it.
        text: The expected and the observed value, to follow "before this run, ".
    """

    finding: Finding
    text: str

    @property
    def remedy(self) -> str:
        """The remedy, as an imperative."""
        return _REMEDIES[self.finding]


@dataclass(frozen=True)
class _Room:
    mount: str
    free: int
    inodes: int | None


def find_room_problems(frame: Frame, limits: Preflight) -> list[Problem]:
    """Find too little disk, inodes or memory; a value that the host did not report is no problem."""
    report = frame.get("room")
    rooms = {
        place: _Room(mount, int(free), int(inodes) if inodes.isdecimal() and total not in {"0", "-"} else None)
        for place, mount, free, inodes, total in _DF.findall(report)
    }
    return [*_disk_problems(rooms, limits), *_inode_problems(rooms, limits), *_memory_problems(report, limits)]


def find_clock_problems(clock: Clock | None, limits: Preflight) -> list[Problem]:
    """Find a host's clock that certainly differs from the runner's."""
    if clock is None or not limits.clock_s or abs(clock.offset_s) - clock.uncertainty_s <= limits.clock_s:
        return []
    way = "ahead of" if clock.offset_s > 0 else "behind"
    text = f"the host's clock is {abs(clock.offset_s):.0f} s {way} the runner's, by more than {limits.clock_s:g} s"
    return [Problem("clock", text)]


def find_state_problems(system: System, failed: tuple[str, ...]) -> list[Problem]:
    """Find a pending reboot and failed units."""
    problems = []
    if system.reboot_parts:
        problems.append(Problem("reboot", f"the host waits for a reboot ({', '.join(system.reboot_parts)})"))
    if failed:
        problems.append(Problem("failed", f"units have failed already: {', '.join(failed)}"))
    return problems


def _disk_problems(rooms: dict[str, _Room], limits: Preflight) -> Iterator[Problem]:
    wanted = {"store": limits.store_mib, "var": limits.var_mib, "boot": limits.boot_mib}
    seen: set[tuple[Finding, str]] = set()
    for place, finding in _PLACES:
        room = rooms.get(place)
        # A folder on another file system is judged as part of that.
        if room is None or (finding == "boot" and room.mount != place) or (finding, room.mount) in seen:
            continue
        seen.add((finding, room.mount))
        if room.free < wanted[finding] * _MIB:
            yield Problem(
                finding,
                f"{room.free // _MIB} MiB are free for {place} (on {room.mount}), "
                f"at least {wanted[finding]} MiB are needed",
            )


def _inode_problems(rooms: dict[str, _Room], limits: Preflight) -> Iterator[Problem]:
    left = {room.mount: room.inodes for room in rooms.values() if room.inodes is not None}
    for mount, inodes in left.items():
        if inodes < limits.inodes:
            yield Problem("inodes", f"{inodes} inodes are free on {mount}, at least {limits.inodes} are needed")


def _memory_problems(report: str, limits: Preflight) -> Iterator[Problem]:
    amounts = {name: int(amount) for name, amount in _MEMORY.findall(report)}
    if "MemAvailable" in amounts and (left := sum(amounts.values()) // 1024) < limits.memory_mib:
        yield Problem(
            "memory", f"{left} MiB of memory and swap are available, at least {limits.memory_mib} MiB are needed"
        )
