"""Finds what keeps a deploy from beginning on a host (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.parts.units import read_failed
from switchproof.deploy.record.facts import Clock
from switchproof.deploy.target.types import Finding, Preflight

_MIB = 2**20
_UNTOLD = "? "
"""What a line about secrets begins with that the host can neither call decryptable nor not."""

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
    "nix": "install a newer nix",
    "clock": "correct the clock, unless the runner's is wrong",
    "reboot": "reboot the host",
    "failed": "repair the failed units, or run systemctl reset-failed",
    "secrets": "encrypt the secrets for this host's key as well, or put back the key that they are encrypted for",
}
_DF = re.compile(r"^(/\S+) +(/.*?) +([0-9]{1,20}) +([0-9]{1,20}|-) +([0-9]{1,20}|-)$", re.MULTILINE)
_NIX = re.compile(r"^nix \(.{1,80}\) ([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?", re.MULTILINE)
_MEMORY = re.compile(r"^(MemAvailable|SwapFree): +([0-9]{1,15}) kB$", re.MULTILINE)


class Problem(msgspec.Struct, frozen=True):
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


def describe(problems: Sequence[Problem]) -> str:
    """Return what was found and what to do about it, to follow "the host cannot be deployed to: "."""
    texts = "; ".join(problem.text for problem in problems)
    remedies = "; ".join(dict.fromkeys(problem.remedy for problem in problems))
    return f"{texts}. On the host: {remedies}. Or change [preflight] in the target file"


class Readiness(msgspec.Struct, frozen=True):
    """What a host answered to a preflight.

    Attributes:
        problems: Everything that was found, whether it refuses a deploy or warns.
        unseen: The findings that could not be looked for, each with the reason.
        holder: Who holds the host; empty if it is free.
        commands: The commands that a deploy needs and that the host lacks.
        limits: The limits that were compared with, and the findings that refuse.
    """

    problems: tuple[Problem, ...]
    unseen: Mapping[Finding, str]
    holder: str
    commands: tuple[str, ...]
    limits: Preflight

    def of(self, findings: Sequence[Finding]) -> list[Problem]:
        """Return the problems of these kinds."""
        return [problem for problem in self.problems if problem.finding in findings]


class _Room(msgspec.Struct, frozen=True):
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
    return [
        *_disk_problems(rooms, limits),
        *_inode_problems(rooms, limits),
        *_memory_problems(report, limits),
        *_nix_problems(report, limits),
    ]


def read_nix(frame: Frame) -> str:
    """Return the host's nix as it names itself; empty if the host did not report it."""
    return next((line for line in frame.get("room").splitlines() if _NIX.match(line)), "")


def find_clock_problems(clock: Clock | None, limits: Preflight) -> list[Problem]:
    """Find a host's clock that certainly differs from the runner's."""
    if clock is None or not limits.clock_s or abs(clock.offset_s) - clock.uncertainty_s <= limits.clock_s:
        return []
    way = "ahead of" if clock.offset_s > 0 else "behind"
    text = f"the host's clock is {abs(clock.offset_s):.0f} s {way} the runner's, by more than {limits.clock_s:g} s"
    return [Problem("clock", text)]


def find_state_problems(reboot_parts: Sequence[str], failed: Sequence[str]) -> list[Problem]:
    """Find a pending reboot and failed units.

    Args:
        reboot_parts: The parts of the running system that only a reboot brings.
        failed: The units that have failed.
    """
    problems = []
    if reboot_parts:
        problems.append(Problem("reboot", f"the host waits for a reboot ({', '.join(reboot_parts)})"))
    if failed:
        problems.append(Problem("failed", f"units have failed already: {', '.join(failed)}"))
    return problems


def read_readiness(frame: Frame, clock: Clock | None, limits: Preflight) -> Readiness:
    """Read a host's answer to a preflight.

    Args:
        frame: The answer.
        clock: The host's clock beside the runner's; None if it is unknown.
        limits: The limits of the target file.

    Raises:
        FrameError: A part is missing.
    """
    problems = [*find_room_problems(frame, limits), *find_clock_problems(clock, limits)]
    problems += find_state_problems(frame.text("system.reboot").split(), read_failed(frame))
    locked = [line for line in frame.get("secrets").splitlines() if not line.startswith(_UNTOLD)]
    problems += [Problem("secrets", f"the host cannot decrypt {line}") for line in locked]
    return Readiness(
        problems=tuple(problems),
        unseen=dict(_unseen(frame, clock, limits)),
        holder=frame.text("holder").strip(),
        commands=tuple(frame.text("commands").split()),
        limits=limits,
    )


def _unseen(frame: Frame, clock: Clock | None, limits: Preflight) -> Iterator[tuple[Finding, str]]:
    """Yield each finding that nothing in the answer shows; one whose limit is off is not looked for."""
    report = frame.get("room")
    places = {place for place, *_ in _DF.findall(report)}
    if limits.store_mib and "/nix/store" not in places:
        yield "store", "the host did not report the free space of /nix/store"
    if limits.var_mib and "/var/lib" not in places:
        yield "var", "the host did not report the free space of /var/lib"
    if limits.inodes and not places:
        yield "inodes", "the host did not report its free inodes"
    if limits.memory_mib and "MemAvailable" not in dict(_MEMORY.findall(report)):
        yield "memory", "the host did not report its memory"
    if limits.nix and not _NIX.search(report):
        yield "nix", "nix did not print its version"
    if limits.clock_s and clock is None:
        yield "clock", "the host did not report its clock"
    if "secrets" not in frame.sections:
        yield "secrets", "the host did not report whether it can decrypt its secrets"
    untold = [line.removeprefix(_UNTOLD) for line in frame.get("secrets").splitlines() if line.startswith(_UNTOLD)]
    if untold and "secrets" in limits.refuse:
        yield "secrets", f"it is unknown whether the host can decrypt its secrets: {'; '.join(untold)}"
    if problem := frame.get("units.problem").strip():
        yield "failed", problem


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


def _nix_problems(report: str, limits: Preflight) -> Iterator[Problem]:
    version, wanted = _NIX.search(report), tuple(int(part) for part in limits.nix.split(".") if part)
    if version is None or not wanted:
        return
    if tuple(int(part or 0) for part in version.groups()) < wanted:
        shown = ".".join(part for part in version.groups() if part)
        yield Problem("nix", f"nix is {shown}, at least {limits.nix} is needed")
