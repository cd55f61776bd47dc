"""Compares the duration of each phase with earlier runs (pure)."""

from __future__ import annotations

import msgspec

from switchproof.deploy.record.facts import Leg, Phase
from switchproof.deploy.record.record import Host, Record

SLOWER = 1.5
"""Multiple of the median above which a phase is slower than usual."""
SLOWER_S = 1.0
"""Seconds above the median that it must also take for that."""


class Duration(msgspec.Struct, frozen=True):
    """The total time of a host in one phase on one leg.

    Attributes:
        phase: The phase.
        leg: The leg.
        at_s: Seconds from the start of the run to the start of the phase.
        took_s: Seconds in the phase; None if it never ended.
        times: Number of times that the host entered it.
        questions: Number of questions to the host.
        median_s: Median of earlier runs of the same mode, in seconds; None without any.
        runs: Number of these runs.
        problems: The problems with which it ended.
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
        """The comparison with the median in words; empty without a median."""
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
    """Return the durations of a host's phases, in the order in which it first entered them."""
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
