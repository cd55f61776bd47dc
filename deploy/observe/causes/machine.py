"""The virtual machine behind an unhealthy workload, as the host saw it (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

import msgspec

_LINE = re.compile(r"(\d{1,12}\.\d{1,9}) \S+ [^\[:]*(?:\[\d+\])?: (.*)")
_EXIT = re.compile(r"Main process exited, code=(\w+), status=(\d+)/(\w+)|Deactivated successfully")
_RESTART = re.compile(r"Scheduled restart job, restart counter is at \d+")
_GAVE_UP = re.compile(r"Start request repeated too quickly")
_PANIC = re.compile(r"Kernel panic - not syncing")

RECENT_S = 20.0
"""Seconds after a restart for which the cause of that restart still counts."""


class Tap(msgspec.Struct, frozen=True):
    """The machine's network interface on the host.

    Attributes:
        state: The kernel's operational state, such as `up`; `absent` if there is no such interface.
        carrier: Whether its other end is open.
        master: The bridge that it belongs to; empty without one.
    """

    state: str
    carrier: bool
    master: str


class Machine(msgspec.Struct, frozen=True):
    """A machine, and the messages of systemd and of its console in the minute before.

    Attributes:
        pid: The machine's process; None without one.
        process: That process's state in `ps`: `R`, `S`, `T` (stopped by a signal) and so on, with more letters.
        age_s: Seconds since that process was started; None if unknown.
        monitor: The answer of the machine's monitor, such as `running` or `paused`; `absent` without a socket,
            `silent`
            without an answer, empty if the machine has none.
        tap: Its network interface; None if it was not inspected.
        neighbour: The kernel's state of its address, such as `REACHABLE` or `FAILED`; empty if unknown.
        exits: How its process ended each time since a person last stopped the unit.
        restarts: How many times systemd started it again since then.
        cycle_s: The longest time between two of those starts, in seconds; None for fewer than two.
        gave_up: Whether systemd no longer starts it, because it was started too often.
        panicked: Whether the guest's kernel panicked since a person last stopped the unit.
        console: The console's last lines, oldest first.
    """

    pid: int | None
    process: str
    age_s: float | None
    monitor: str
    tap: Tap | None
    neighbour: str
    exits: tuple[str, ...]
    restarts: int
    cycle_s: float | None
    gave_up: bool
    panicked: bool
    console: tuple[str, ...]

    @property
    def recent_s(self) -> float:
        """Seconds after a restart for which its cause still counts; longer for a machine that restarts slowly."""
        return max(RECENT_S, 2 * (self.cycle_s or 0))

    @property
    def seen(self) -> str:
        """All of it as one line."""
        parts = [f"process {self.pid}, state {self.process or '?'}" if self.pid else "no process"]
        if self.age_s is not None:
            parts.append(f"started {self.age_s:.0f} s before")
        if self.monitor:
            parts.append(f"monitor {self.monitor}")
        if self.tap:
            where = f"on {self.tap.master}" if self.tap.master else "on no bridge"
            link = f"{self.tap.state}, {'carrier' if self.tap.carrier else 'no carrier'}, {where}"
            parts.append(f"tap {link if self.tap.state != 'absent' else 'absent'}")
        if self.neighbour:
            parts.append(f"neighbour {self.neighbour}")
        if self.restarts:
            parts.append(f"restarted {self.restarts} times")
        return "; ".join(parts)


def read_machine(facts: str, systemd: str, console: str) -> Machine:
    """Read a machine from the host's answer.

    Args:
        facts: One fact per line: `process PID STATE SECONDS WAITS`, `monitor WORD`, `tap STATE CARRIER BRIDGE`,
            `neighbour STATE`; unknown facts are left out.
        systemd: systemd's messages about the machine's unit, as `journalctl -o short-unix` prints them.
        console: The machine's own messages, in the same format.

    Raises:
        ValueError: A fact is malformed.
    """
    fact: dict[str, list[str]] = {}
    for line in facts.split("\n"):
        name, *values = line.split()[:5] or [""]
        fact[name] = values
    pid, process, age = _process(fact)
    journal = list(_lines(systemd))
    begun = _begun(journal)
    recent = [line for at, line in journal if at > begun]
    restarts = [at for at, line in journal if at > begun and _RESTART.search(line)]
    lines = tuple(line for at, line in _lines(console) if at > begun and line.strip())
    return Machine(
        pid=pid,
        process=process,
        age_s=age,
        monitor=" ".join(fact.get("monitor", [])),
        tap=_tap(fact),
        neighbour=" ".join(fact.get("neighbour", [])),
        exits=tuple(_ended(exited) for line in recent if (exited := _EXIT.search(line))),
        restarts=len(restarts),
        cycle_s=max((then - at for at, then in pairwise(restarts)), default=None),
        gave_up=any(_GAVE_UP.search(line) for line in recent),
        panicked=any(_PANIC.search(line) for line in lines),
        console=lines,
    )


def _begun(journal: list[tuple[float, str]]) -> float:
    """Return when a person last stopped the unit; earlier messages belong to another story."""
    stopping = max((at for at, line in journal if line.startswith("Stopping ")), default=0.0)
    return min((at for at, line in journal if at > stopping > 0 and line.startswith("Stopped ")), default=stopping)


def _lines(journal: str) -> Iterator[tuple[float, str]]:
    for line in journal.split("\n"):
        if match := _LINE.fullmatch(line.rstrip("\r")):
            yield float(match[1]), match[2]


def _process(fact: Mapping[str, list[str]]) -> tuple[int | None, str, float | None]:
    match fact.get("process"):
        case [pid, state, age, *_] if int(pid):
            return int(pid), state, float(age)
        case _:
            return None, "", None


def _tap(fact: Mapping[str, list[str]]) -> Tap | None:
    match fact.get("tap"):
        case ["absent"]:
            return Tap("absent", carrier=False, master="")
        case [state, carrier, *master]:
            return Tap(state, carrier == "1", master[0] if master else "")
        case _:
            return None


def _ended(exited: re.Match[str]) -> str:
    how, status, name = exited.groups()
    if how is None:  # systemd prints no exit status for success
        return "exit status 0"
    return f"killed by signal {status} ({name})" if how in {"killed", "dumped"} else f"exit status {status}"
