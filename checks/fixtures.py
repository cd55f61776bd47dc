"""Defines the types that checks use: what a check shows, and the values of its fixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from switchproof.deploy.observe.boot.chosen import Boot
from switchproof.deploy.target.types import Endpoint


class Show(Protocol):
    """Puts what a check expected and observed into the report, whether it passes or fails."""

    def __call__(
        self,
        *,
        expected: str,
        seen: str,
        evidence: Sequence[str] = (),
        command: str = "",
        took_s: float | None = None,
        limit_s: float | None = None,
    ) -> None:
        """Show what was expected, what was observed, and the evidence files that support it.

        Args:
            expected: The expected value.
            seen: The observed value.
            evidence: Paths of evidence files, relative to the run's folder.
            command: The command that asks the host the same, as a person would type it there.
            took_s: Duration of what is judged, in seconds; None if it does not matter.
            limit_s: The longest duration allowed, in seconds.
        """


class Shown(msgspec.Struct):
    """What a check has shown so far."""

    expected: str = ""
    seen: str = ""
    evidence: list[str] = msgspec.field(default_factory=list)
    command: str = ""
    took_s: float | None = None
    limit_s: float | None = None

    def __call__(
        self,
        *,
        expected: str,
        seen: str,
        evidence: Sequence[str] = (),
        command: str = "",
        took_s: float | None = None,
        limit_s: float | None = None,
    ) -> None:
        """See `Show`."""
        self.expected, self.seen, self.command = expected, seen, command
        self.evidence = list(evidence)
        self.took_s, self.limit_s = took_s, limit_s


class Booting(msgspec.Struct, frozen=True):
    """What a host boots, and what it should boot at this point of the run.

    Attributes:
        boot: What the host boots.
        expected: The system that it should boot.
        why: The reason why it should boot that one.
    """

    boot: Boot
    expected: str
    why: str


class RuntimeUnit(msgspec.Struct, frozen=True):
    """A runtime unit of the contract, for a team's own checks that run once for each unit.

    Attributes:
        name: Its name in the target file, such as `live`.
        want: Its values from the target file: systemd units, address, probe.
    """

    name: str
    want: Endpoint


class Diagnosis(msgspec.Struct, frozen=True):
    """Which diagnostics were emitted after a failure, or could have been emitted if nothing failed.

    Attributes:
        needed: Whether something failed, so that they had to be emitted.
        units: The units of the contract, each of which needs diagnostics.
        states: The units whose state was reported.
        logs: The units whose journal was reported.
        sockets: `sockets` if sockets were listed; else empty.
        machines: The endpoints with a virtual machine, which must be examined.
        seen: The endpoints whose virtual machine was examined.
        containers: The endpoints with a container, which must be examined from inside.
        entered: The endpoints whose container was examined from inside.
        parts: The evidence file of each part; empty if nothing failed.
        journal_works: Whether a line that was just written to the journal was also read from it.
    """

    needed: bool
    units: tuple[str, ...]
    states: frozenset[str]
    logs: frozenset[str]
    sockets: frozenset[str]
    machines: tuple[str, ...]
    seen: frozenset[str]
    containers: tuple[str, ...]
    entered: frozenset[str]
    parts: Mapping[str, str]
    journal_works: bool

    def missing(self, reported: frozenset[str]) -> list[str]:
        """Name the units that are not among those reported."""
        return [unit for unit in self.units if unit not in reported]

    def summary(self, names: frozenset[str]) -> str:
        """Say what was emitted, or would have been if something had failed."""
        how = "emitted" if self.needed else "nothing failed; would have been emitted"
        return f"{how}: {', '.join(sorted(names)) or 'nothing'}"

    def evidence(self, kind: str) -> list[str]:
        """Return the evidence files of a kind of diagnostics."""
        return [path for name, path in self.parts.items() if name.split("/", 1)[0] == kind]
