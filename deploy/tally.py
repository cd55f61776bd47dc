"""What follows from a record: how much was checked, and what was not seen (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from switchproof.deploy.contract import Verdict
from switchproof.deploy.facts import Leg
from switchproof.deploy.record import Check, Host, Record, legs


@dataclass(frozen=True)
class Counts:
    """How many checks there were, on all legs that hosts were on.

    Attributes:
        expected: Those that the contract called for, and any that ran without being called for.
        executed: Those that were made, whatever came of them.
        passed: Those that passed.
        failed: Those that failed.
        blocked: Those not tried, as something before them did not pass.
        inconclusive: Those whose answer could not be had, and those that never ran.
        waived: Those that failed, and whose failure the target file waives.
    """

    expected: int
    executed: int
    passed: int
    failed: int
    blocked: int
    inconclusive: int
    waived: int = 0


@dataclass(frozen=True)
class Unmade:
    """A check that was not made, and why."""

    host: str
    leg: Leg
    check: Check


@dataclass(frozen=True)
class Unseen:
    """What a run did not see.

    Attributes:
        unreached: Hosts that no connection was made to, with what kept it from being made.
        unmade: Checks that were expected and not made; their messages say why.
    """

    unreached: dict[str, str]
    unmade: tuple[Unmade, ...]


def count(record: Record) -> Counts:
    """Count the checks of a run."""
    checks = [check for host in record.hosts for _, clauses in legs(host) for one in clauses for check in one.checks]
    verdicts = [check.verdict for check in checks]
    return Counts(
        expected=len(checks),
        executed=sum(_made(check) for check in checks),
        passed=verdicts.count(Verdict.PASSED),
        failed=verdicts.count(Verdict.FAILED),
        blocked=verdicts.count(Verdict.BLOCKED),
        inconclusive=verdicts.count(Verdict.INCONCLUSIVE),
        waived=verdicts.count(Verdict.WAIVED),
    )


def unseen(record: Record) -> Unseen:
    """Say what a run did not see."""
    return Unseen(
        unreached={host.name: _kept_from(host) for host in record.hosts if not _reached(host)},
        unmade=tuple(
            Unmade(host.name, leg, check)
            for host in record.hosts
            for leg, clauses in legs(host)
            for clause in clauses
            for check in clause.checks
            if not _made(check)
        ),
    )


def _made(check: Check) -> bool:
    return check.started is not None and check.verdict is not Verdict.BLOCKED


def _reached(host: Host) -> bool:
    """Whether a host was ever reached; a record from before connections were counted tells it by its phases."""
    ended_well = any(phase.finished and not phase.problem for phase in host.phases)
    return host.connections > 0 or host.before is not None or host.after is not None or ended_well


def _kept_from(host: Host) -> str:
    problems = [phase.problem for phase in host.phases if phase.problem]
    return problems[0] if problems else "It was never tried."
