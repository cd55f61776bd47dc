"""Splits a host's part of the record into legs: the requested deploy, the rollback and a second deploy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record.facts import LOOKING_AHEAD, Phase
from switchproof.deploy.record.facts import Leg as LegName
from switchproof.deploy.record.fold import judge
from switchproof.deploy.record.record import Again, AuditResult, ClauseResult, Host, Part, Record, Rollback
from switchproof.reports import text


class Leg(msgspec.Struct, frozen=True):
    """One leg of one host.

    Attributes:
        host: The host.
        name: `forward` for what was requested, `back` for the rollback, `again` for a second deploy.
        label: The host's name, with the leg unless it is the first.
        anchor: An HTML id, unique in the record and the same in every run; only its joints are a `_`.
        verdict: The combined verdict of all clauses of the leg.
        clauses: The clauses that the run looks at, in the contract's order.
        audit: The team's own checks of an audit; None without any.
        seconds: The duration in seconds; 0 if it is unknown.
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
        """The clauses, and the team's audit if there is one: together, every check of the leg."""
        return [*self.clauses, self.audit] if self.audit else [*self.clauses]


LEG_WORDS: dict[LegName, str] = {"forward": "deploy", "back": "rollback", "again": "again"}
"""The word for each leg beside a host's name."""


def phase_name(phase: Phase, leg: LegName) -> str:
    """Return the name of a phase, with its leg unless that is the first or says the same."""
    return phase if leg == "forward" or phase == LEG_WORDS[leg] else f"{phase} ({LEG_WORDS[leg]})"


_LEG_TITLES = {
    "forward": {
        "audit": "Audit",
        "rollback": "Rollback",
        "plan": "Plan",
        "preflight": "Preflight",
        "drill": "First deploy",
    },
    "back": {"drill": "Way back, on purpose"},
}


def leg_title(record: Record, leg: Leg) -> str:
    """Return the heading of a leg: what was done on it."""
    usual = {"forward": "Deploy", "back": "Way back", "again": "Second deploy"}
    return _LEG_TITLES.get(leg.name, {}).get(record.run.mode, usual[leg.name])


_ANCHOR = 24
"""Letters of a host's name in its anchors; they are short because a page has many."""


def host_anchor(name: str) -> str:
    """Return the HTML id of a host, which depends on its name alone, so that links to it stay valid over runs."""
    slug = text.slug(name)
    if slug == name and len(name) <= _ANCHOR:
        return f"h-{name}"
    return f"h-{slug[:_ANCHOR]}_{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def clauses_of(record: Record) -> list[Clause]:
    """Return the clauses that a run looks at: all five, but only those with a check in a plan or a preflight.

    `converge` is always among them, so that a plan or a preflight without any check is still inconclusive.
    """
    if record.run.mode not in LOOKING_AHEAD:
        return list(Clause)
    checked = {clause.id for host in record.hosts for clause in host.clauses if clause.checks}
    return [clause for clause in Clause if clause in checked | {Clause.CONVERGE}]


def legs_of(record: Record) -> Iterator[Leg]:
    """Yield every leg of every host, in the order in which they ran."""
    looked_at = set(clauses_of(record))
    for host in record.hosts:
        anchor = host_anchor(host.name)
        clauses = [clause for clause in host.clauses if clause.id in looked_at]
        verdict = judge([*clauses, *([host.audit] if host.audit else [])])
        yield Leg(host, "forward", host.name, anchor, verdict, clauses, host.audit, _took(host, "forward"))
        later: list[tuple[LegName, Rollback | Again | None]] = [("back", host.rollback), ("again", host.again)]
        for name, leg in later:
            if leg is not None:
                word = LEG_WORDS[name]
                label = f"{host.name} ({word})"
                yield Leg(host, name, label, f"{anchor}_{word}", leg.verdict, leg.clauses, seconds=_took(host, name))


def _took(host: Host, leg: LegName) -> float:
    """Return the seconds from the start of a leg's first phase to the end of its last one."""
    phases = [phase for phase in host.phases if phase.leg == leg]
    ends = [phase.finished for phase in phases if phase.finished]
    return (max(ends) - min(phase.started for phase in phases)).total_seconds() if ends else 0.0
