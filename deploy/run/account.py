"""Writes the observations of one host to the journal, for the record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.observe.parts.system import System
from switchproof.deploy.observe.parts.units import Unit
from switchproof.deploy.observe.watching import read_states, read_watches
from switchproof.deploy.record.events import ClosureCompared, Happened, SystemSeen, UnitsSeen, Watched
from switchproof.deploy.record.facts import Closure, Leg, MomentKind
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.target.types import Endpoint

CLOSURE_LINES = 40
"""Lines of a closure's difference that the record holds; the whole text is evidence."""


class Account:
    """The journal of one host's observations.

    Args:
        host: Its name.
        journal: Receives the events.
    """

    def __init__(self, host: str, journal: Journal) -> None:
        self._host, self._journal = host, journal
        self._boot = ""

    def mark(self, kind: MomentKind, text: str = "") -> None:
        """Mark a moment in the host's timeline."""
        self._journal.emit(Happened(host=self._host, kind=kind, text=text))

    def boot(self, boot: str) -> None:
        """Mark a reboot, if the boot differs from the last one."""
        if boot and self._boot and boot != self._boot:
            self.mark("rebooted", f"boot {boot}")
        self._boot = boot or self._boot

    def before(self, system: System, units: Mapping[str, Unit]) -> None:
        """Record the host's system and units before anything changed."""
        self.boot(system.boot_id)
        self._journal.emit(SystemSeen(host=self._host, when="before", system=system.identity))
        self._journal.emit(UnitsSeen(host=self._host, when="before", units=read_states(units)))

    def seen(self, observation: Observation) -> None:
        """Record the state of the host's units now."""
        self.boot(observation.system.boot_id)
        self._journal.emit(UnitsSeen(host=self._host, when="after", units=read_states(observation.units)))

    def watched(
        self,
        observation: Observation,
        endpoints: Mapping[str, Endpoint],
        *,
        leg: Leg,
        began: dt.datetime,
        limit_s: float,
    ) -> None:
        """Record the health of every endpoint over time; see `read_watches`."""
        for watch in read_watches(observation, endpoints, leg=leg, began=began, limit_s=limit_s):
            self._journal.emit(Watched(host=self._host, watch=watch))

    def closure(self, leg: Leg, before: str, ended: Convergence) -> None:
        """Record how a switch from `before` changed the closure, if the host compared the two."""
        if ended.closure is None:
            return
        lines = [line for line in ended.closure.splitlines() if line.strip()]
        name = "closure.txt" if leg == "forward" else f"closure-{leg}.txt"
        title = "what the switch changes in the closure"
        path = self._journal.keep(self._host, name, title, ended.closure) or None if lines else None
        closure = Closure(
            leg=leg,
            before=before,
            after=ended.expected,
            lines=tuple(lines[:CLOSURE_LINES]),
            left_out=max(0, len(lines) - CLOSURE_LINES),
            evidence=path,
        )
        self._journal.emit(ClosureCompared(host=self._host, closure=closure))
