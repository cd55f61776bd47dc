"""The words that checks speak in: what they show, and what diagnostics there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from switchproof.deploy.observe.boot.chosen import Boot
from switchproof.deploy.target.types import Endpoint


class Show(Protocol):
    """Puts what a check expected and saw into the report, whether it passes or fails."""

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
        """Show what was expected, what was seen, and which evidence files bear on it.

        Args:
            expected: What must be.
            seen: What is.
            evidence: Files of the run.
            command: What asked the host, as a person would type it there.
            took_s: Seconds that what is judged took, where that matters.
            limit_s: The most that they may be.
        """


@dataclass
class Shown:
    """What a check has shown so far."""

    expected: str = ""
    seen: str = ""
    evidence: list[str] = field(default_factory=list)
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


@dataclass(frozen=True)
class Booting:
    """What a host boots, and what it should boot at this point of the run.

    Attributes:
        boot: What the host boots.
        expected: The system that it should boot.
        why: Why that one.
    """

    boot: Boot
    expected: str
    why: str


@dataclass(frozen=True)
class RuntimeUnit:
    """A runtime unit of the contract, for checks of the team's own that are made of each.

    Attributes:
        name: Its name in the target file, such as `live`.
        want: What the target file says of it: its systemd units, where it listens, what it is asked.
    """

    name: str
    want: Endpoint


@dataclass(frozen=True)
class Diagnosis:
    """Whether diagnostics were emitted; or, where nothing failed, whether they could have been.

    Attributes:
        needed: Whether something failed, so that they had to be emitted.
        units: The units that are owed diagnostics.
        states: Units whose state was told.
        logs: Units whose journal was told.
        sockets: What of the sockets was told; empty if nothing.
        machines: The endpoints whose virtual machine is owed a look.
        seen: The endpoints whose virtual machine was looked at.
        containers: The endpoints whose container is owed a look inside.
        entered: The endpoints whose container was looked into.
        parts: Evidence files by part, empty if nothing failed.
        journal_works: Whether a line that was written at that moment came back from the journal.
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

    def missing(self, told: frozenset[str]) -> list[str]:
        """Units of which nothing was told."""
        return [unit for unit in self.units if unit not in told]

    def told(self, what: frozenset[str]) -> str:
        """What was told, and whether that was the real thing or the proof that it would have been."""
        how = "emitted" if self.needed else "nothing failed; would have been emitted"
        return f"{how}: {', '.join(sorted(what)) or 'nothing'}"

    def kept(self, kind: str) -> list[str]:
        """Evidence files of a kind of diagnostics."""
        return [path for name, path in self.parts.items() if name.split("/", 1)[0] == kind]
