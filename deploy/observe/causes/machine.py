"""The virtual machine behind a workload, as the host saw it when the workload was not healthy (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

_LINE = re.compile(r"(\d{1,12}\.\d{1,9}) \S+ [^\[:]*(?:\[\d+\])?: (.*)")
_EXIT = re.compile(r"Main process exited, code=(\w+), status=(\d+)/(\w+)|Deactivated successfully")
_RESTART = re.compile(r"Scheduled restart job, restart counter is at \d+")
_GAVE_UP = re.compile(r"Start request repeated too quickly")
_PANIC = re.compile(r"Kernel panic - not syncing")

RECENT_S = 20.0
"""Seconds for which a machine that was started again is still in the trouble that ended it."""


@dataclass(frozen=True)
class Tap:
    """The machine's network interface on the host.

    Attributes:
        state: The kernel's operational state of it, such as `up`; `absent` where there is no such interface.
        carrier: Whether somebody holds its other end.
        master: The bridge that it is on, empty if it is on none.
    """

    state: str
    carrier: bool
    master: str


@dataclass(frozen=True)
class Machine:
    """What a host saw of a machine, and what systemd and the machine's own console had said in the minute before.

    Attributes:
        pid: The machine's process, None if there is none.
        process: That process's state in `ps`: `R`, `S`, `T` (stopped by a signal) and so on, with more letters.
        age_s: Seconds since that process was started.
        monitor: What the machine's monitor says: `running`, `paused` and others; `absent` without a socket, `silent`
            without an answer, empty if there is none to ask.
        tap: Its network interface, None if that was not asked for.
        neighbour: The kernel's state of its address: `REACHABLE`, `FAILED` and so on, empty if it is not known.
        exits: How its process ended, each time since somebody last stopped the unit, in systemd's words.
        restarts: How many times systemd started it again meanwhile.
        cycle_s: The longest time in seconds between two of those, None for fewer than two.
        gave_up: Whether systemd starts it no more, as it was started too often.
        panicked: Whether the guest's kernel panicked since somebody last stopped the unit.
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
        """Seconds for which it is in trouble still once started again; longer where it ends again more slowly."""
        return max(RECENT_S, 2 * (self.cycle_s or 0))

    @property
    def seen(self) -> str:
        """Everything that was seen, in one line."""
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
    """Read a machine from what the host said of it.

    Args:
        facts: A fact a line: `process PID STATE SECONDS WAITS`, `monitor WORD`, `tap STATE CARRIER BRIDGE`,
            `neighbour STATE`; what could not be seen is left out.
        systemd: systemd's lines about the machine's unit, as `journalctl -o short-unix` prints them.
        console: The machine's own lines, likewise.

    Raises:
        ValueError: A fact cannot be understood.
    """
    fact: dict[str, list[str]] = {}
    for line in facts.split("\n"):
        name, *values = line.split()[:5] or [""]
        fact[name] = values
    pid, process, age = _process(fact)
    journal = list(_lines(systemd))
    begun = _begun(journal)
    told = [line for at, line in journal if at > begun]
    restarts = [at for at, line in journal if at > begun and _RESTART.search(line)]
    lines = tuple(line for at, line in _lines(console) if at > begun and line.strip())
    return Machine(
        pid=pid,
        process=process,
        age_s=age,
        monitor=" ".join(fact.get("monitor", [])),
        tap=_tap(fact),
        neighbour=" ".join(fact.get("neighbour", [])),
        exits=tuple(_ended(found) for line in told if (found := _EXIT.search(line))),
        restarts=len(restarts),
        cycle_s=max((then - at for at, then in pairwise(restarts)), default=None),
        gave_up=any(_GAVE_UP.search(line) for line in told),
        panicked=any(_PANIC.search(line) for line in lines),
        console=lines,
    )


def _begun(journal: list[tuple[float, str]]) -> float:
    """When the present story began: what went before somebody stopped the unit is another one."""
    stopping = max((at for at, line in journal if line.startswith("Stopping ")), default=0.0)
    return min((at for at, line in journal if at > stopping > 0 and line.startswith("Stopped ")), default=stopping)


def _lines(journal: str) -> Iterator[tuple[float, str]]:
    for line in journal.split("\n"):
        if found := _LINE.fullmatch(line.rstrip("\r")):
            yield float(found[1]), found[2]


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


def _ended(found: re.Match[str]) -> str:
    how, status, name = found.groups()
    if how is None:  # systemd names no exit status that is a success
        return "exit status 0"
    return f"killed by signal {status} ({name})" if how in {"killed", "dumped"} else f"exit status {status}"
