"""How long each phase took, beside what it took in earlier runs (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from switchproof.deploy.record.facts import Leg, Phase
from switchproof.deploy.record.record import Host, Record

SLOWER = 1.5
"""Times the median from which a phase is called slower than usual."""
SLOWER_S = 1.0
"""Seconds that it must be above the median for that."""


@dataclass(frozen=True)
class Duration:
    """A phase of a host on one leg, all times that it was in it together.

    Attributes:
        phase: The phase.
        leg: The leg.
        at_s: Seconds from the start of the run until it was first entered.
        took_s: How long it took; None if it never ended.
        times: How often the host was in it.
        questions: How many questions the host was asked in it.
        median_s: What it took in earlier runs of the same mode; None without any.
        runs: How many of those there were.
        problems: What kept it from ending well.
    """

    phase: Phase
    leg: Leg
    at_s: float
    took_s: float | None
    times: int
    questions: int
    median_s: float | None
    runs: int
    problems: tuple[str, ...]

    @property
    def word(self) -> str:
        """How it compares with the median, in words; empty where there is nothing to compare."""
        if self.took_s is None or self.median_s is None:
            return ""
        if self.took_s > self.median_s * SLOWER and self.took_s - self.median_s > SLOWER_S:
            return (
                f"slower than usual, {self.took_s / self.median_s:.1f} times"
                if self.median_s
                else "slower than usual"
            )
        if self.median_s > self.took_s * SLOWER and self.median_s - self.took_s > SLOWER_S:
            return "faster than usual"
        return "as usual"


def durations(record: Record, host: Host) -> list[Duration]:
    """Add up the phases of a host, in the order in which it first entered them."""
    rows = []
    for leg, name in dict.fromkeys((phase.leg, phase.phase) for phase in host.phases):
        phases = [phase for phase in host.phases if (phase.leg, phase.phase) == (leg, name)]
        spent = [(phase.finished - phase.started).total_seconds() for phase in phases if phase.finished]
        usual = record.earlier.usual(host.name, phases[0])
        rows.append(
            Duration(
                phase=name,
                leg=leg,
                at_s=(phases[0].started - record.run.started).total_seconds(),
                took_s=sum(spent) if len(spent) == len(phases) else None,
                times=len(phases),
                questions=sum(phase.questions for phase in phases),
                median_s=usual.median_s if usual else None,
                runs=usual.runs if usual else 0,
                problems=tuple(phase.problem for phase in phases if phase.problem),
            )
        )
    return rows
