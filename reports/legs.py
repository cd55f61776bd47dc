"""The legs of each host's way: what was asked for, the way back, and a second deploy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from switchproof.deploy.contract import Verdict
from switchproof.deploy.record.facts import Leg as LegName
from switchproof.deploy.record.fold import judge
from switchproof.deploy.record.record import Again, AuditResult, ClauseResult, Host, Part, Record, Rollback
from switchproof.reports import text


@dataclass(frozen=True)
class Leg:
    """One leg of one host's way.

    Attributes:
        host: The host.
        name: `forward` for what was asked for, `back` for the system from before, `again` for a second deploy.
        label: The host's name, with the leg where it is not the first.
        anchor: A piece of an id, unique in the record.
        verdict: What all clauses of the leg come to.
        clauses: The five clauses, in the contract's order.
        audit: The team's own checks of an audit; None where there are none.
        seconds: How long it took, as far as that is known.
    """

    host: Host
    name: LegName
    label: str
    anchor: str
    verdict: Verdict
    clauses: list[ClauseResult]
    audit: AuditResult | None = None
    seconds: float = 0.0

    @property
    def parts(self) -> list[Part]:
        """Everything that it is judged by, and so every check of it."""
        return [*self.clauses, self.audit] if self.audit else [*self.clauses]


LEG_WORDS: dict[LegName, str] = {"forward": "deploy", "back": "rollback", "again": "again"}
"""What each leg is called beside a host's name."""


_LEG_TITLES = {
    "forward": {"audit": "Audit", "rollback": "Rollback", "plan": "Plan", "drill": "First deploy"},
    "back": {"drill": "Way back, on purpose"},
}


def leg_title(record: Record, leg: Leg) -> str:
    """Say what was done on a leg, as a heading."""
    usual = {"forward": "Deploy", "back": "Way back", "again": "Second deploy"}
    return _LEG_TITLES.get(leg.name, {}).get(record.run.mode, usual[leg.name])


_ANCHOR = 12
"""Letters of a host's name in its anchors, of which a page has many."""


def legs_of(record: Record) -> Iterator[Leg]:
    """Yield every leg of every host, in the order in which a host takes them."""
    for index, host in enumerate(record.hosts, 1):
        anchor = f"h{index}-{text.slug(host.name)[:_ANCHOR]}"
        verdict, took = judge(host.parts), _took(host, "forward")
        yield Leg(host, "forward", host.name, anchor, verdict, host.clauses, host.audit, took)
        later: list[tuple[LegName, Rollback | Again | None]] = [("back", host.rollback), ("again", host.again)]
        for name, leg in later:
            if leg is not None:
                word = LEG_WORDS[name]
                label = f"{host.name} ({word})"
                yield Leg(host, name, label, f"{anchor}-{word}", leg.verdict, leg.clauses, seconds=_took(host, name))


def _took(host: Host, leg: LegName) -> float:
    """Seconds from the beginning of a leg's first phase to the end of its last one."""
    phases = [phase for phase in host.phases if phase.leg == leg]
    ends = [phase.finished for phase in phases if phase.finished]
    return (max(ends) - min(phase.started for phase in phases)).total_seconds() if ends else 0.0
