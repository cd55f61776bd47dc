"""Folds the events of a run into its record (pure)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from switchproof.deploy.contract import (
    PROVEN_STATES,
    Clause,
    RunVerdict,
    Verdict,
    combine,
)
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts, waivers
from switchproof.deploy.record.learning import apply, mark
from switchproof.deploy.record.record import (
    Again,
    AuditResult,
    Check,
    ClauseResult,
    Covered,
    Host,
    Part,
    Record,
    Revision,
    Rollback,
    Run,
    WaiverResult,
)

_Of: TypeAlias = tuple[str, facts.Leg, Clause | None]
"""Host, leg and clause, as a key of checks: a search through all checks of 1,000 hosts takes a minute."""
_Expected: TypeAlias = dict[_Of, list[ev.ExpectedCheck]]
_Finished: TypeAlias = dict[_Of, list[ev.CheckFinished]]

NOT_RUN = "The check was expected and did not run."


def fold(events: Iterable[ev.AnyEvent]) -> Record:
    """Make the record of a run from its events, also of a run that is not over or was killed.

    An expected check that did not run is inconclusive, so silence never passes. A check that ran without being
    expected counts as well, and the worse verdict counts for a check that reported twice.

    Raises:
        ValueError: The events do not begin with the run's start, belong to several runs, or name a host that the run
            does not have.
    """
    stream = iter(events)
    begun = next(stream, None)
    if not isinstance(begun, ev.RunStarted):
        raise ValueError("the journal does not start with the start of a run")  # noqa: TRY004 - a file's content
    record = Record(
        run=Run(
            id=begun.id,
            mode=begun.mode,
            started=begun.at,
            harness=begun.harness,
            options=dict(begun.options),
            owner=begun.owner,
            ci=begun.ci,
            versions=dict(begun.versions),
            shard=begun.shard,
            merged=begun.merged,
            dirty=begun.dirty,
        ),
        provider=begun.provider,
        emulated=begun.emulated,
        verdict=RunVerdict.INCONCLUSIVE,
        revision=Revision(requested=begun.requested, repository=begun.repository),
        contract_sha256=begun.contract_sha256,
        hosts=[Host(name=name, groups=begun.groups.get(name, ())) for name in begun.hosts],
        evidence=[],
        notes=[],
        redactions={},
        promoted_from=begun.promoted_from,
    )
    hosts = {host.name: host for host in record.hosts}
    expected: _Expected = {}
    for want in begun.expected:
        expected.setdefault((want.host, want.leg, want.clause), []).append(want)
    checks: _Finished = {}
    rollbacks: dict[str, ev.RollbackBegun] = {}
    again: set[str] = set()
    for event in stream:
        host_name = getattr(event, "host", None)
        if host_name is not None and host_name not in hosts:
            raise ValueError(f"the journal names host {host_name!r}; the run has {', '.join(begun.hosts)}")
        if host_name is not None and getattr(event, "leg", None) == "again":
            again.add(host_name)
        match event:
            case ev.RunStarted():
                raise ValueError(f"the journal holds two runs, {begun.id!r} and {event.id!r}")
            case ev.CheckFinished():
                checks.setdefault((event.host, event.leg, event.clause), []).append(event)
            case ev.RollbackBegun():
                rollbacks[event.host] = event
                mark(hosts[event.host], event.at, "rollback-begun", "back", event.reason)
            case _:
                apply(record, hosts, event)
    for host in record.hosts:
        host.clauses = _clauses(expected, checks, host.name, "forward")
        host.audit = _audit(expected, checks, host.name)
        if back := rollbacks.get(host.name):
            clauses = _clauses(expected, checks, host.name, "back")
            host.rollback = Rollback(
                reason=back.reason,
                to=back.to,
                verdict=judge(clauses),
                clauses=clauses,
            )
        if host.name in again:
            clauses = _clauses(expected, checks, host.name, "again")
            host.again = Again(verdict=judge(clauses), clauses=clauses)
        host.verdict = _verdict(host, drill=begun.mode == "drill")
    record.waivers = _settled(begun.waivers, record)
    if begun.shard is not None:  # a waiver that is unused in this shard may be used in another one
        record.waivers = [
            replace(result, state="not-asked") if result.state == "unused" else result for result in record.waivers
        ]
    record.verdict = proven(record)
    unsettled = any(host.state not in PROVEN_STATES for host in record.hosts)
    run = record.run
    parts_missing = run.merged is not None and bool(run.merged.problems)
    incomplete = run.interrupted or run.unreported or run.selected or run.dirty or run.finished is None
    if incomplete or unsettled or parts_missing:
        record.verdict = min_verdict(record.judged)
    return record


def proven(record: Record) -> RunVerdict:
    """Return the verdict of a run's checks and waivers, as if the run had ended well."""
    verdict = record.judged
    if verdict.accepted and any(result.fails for result in record.waivers):
        return RunVerdict.NON_CANONICAL
    return verdict


def _settled(given: Iterable[facts.Waiver], record: Record) -> list[WaiverResult]:
    seen = [
        waivers.Seen(host.name, leg, check.id, check.verdict)
        for host in record.hosts
        for leg, parts in legs(host)
        for part in parts
        for check in part.checks
    ]
    return [
        WaiverResult(
            waiver=waiver,
            state=waivers.state(waiver, seen),
            covered=tuple(
                Covered(host=check.host, leg=check.leg)
                for check in seen
                if check.verdict is Verdict.WAIVED and waivers.covers(waiver, check.host, check.check)
            ),
        )
        for waiver in given
    ]


def legs(host: Host) -> Iterator[tuple[facts.Leg, Sequence[Part]]]:
    """Yield the judged parts of every leg of a host, in order."""
    yield "forward", host.parts
    if host.rollback:
        yield "back", host.rollback.clauses
    if host.again:
        yield "again", host.again.clauses


def judge(clauses: Sequence[Part]) -> Verdict:
    """Judge a leg by its clauses and all of their checks."""
    checks = (check.verdict for clause in clauses for check in clause.checks)
    return combine([*(clause.verdict for clause in clauses), *checks])


def _verdict(host: Host, *, drill: bool) -> Verdict:
    """Judge a host by its leg `forward`, and in a drill by all three legs, of which none may be missing."""
    forward = judge(host.parts)
    if not drill or not forward.accepted:
        return forward
    later = (host.rollback, host.again)
    return combine([forward, *(leg.verdict if leg else Verdict.INCONCLUSIVE for leg in later)])


def min_verdict(verdict: RunVerdict) -> RunVerdict:
    """Return the verdict of a run that did not finish, or that left a host in an unproven state."""
    return RunVerdict.INCONCLUSIVE if verdict.accepted else verdict


def _clauses(
    expected: _Expected,
    finished: _Finished,
    host: str,
    leg: facts.Leg,
) -> list[ClauseResult]:
    results = []
    for clause in Clause:
        checks, last = _checks(expected, finished, host, leg, clause)
        began, ended = _span(checks)
        results.append(
            ClauseResult(
                id=clause,
                verdict=combine(
                    check.verdict for check in checks if check.id not in last or check.verdict is not Verdict.BLOCKED
                ),
                started=began,
                finished=ended,
                checks=checks,
            )
        )
    return results


def _audit(
    expected: _Expected,
    finished: _Finished,
    host: str,
) -> AuditResult | None:
    checks, _ = _checks(expected, finished, host, "forward", None)
    if not checks:
        return None
    began, ended = _span(checks)
    return AuditResult(
        verdict=combine(check.verdict for check in checks), started=began, finished=ended, checks=checks
    )


def _checks(
    expected: _Expected,
    finished: _Finished,
    host: str,
    leg: facts.Leg,
    clause: Clause | None,
) -> tuple[list[Check], set[str]]:
    """Make the checks of a clause, and return the ids of those that wait for all others."""
    reported: dict[str, list[ev.CheckFinished]] = {}
    for event in finished.get((host, leg, clause), ()):
        reported.setdefault(event.id, []).append(event)
    wanted = expected.get((host, leg, clause), ())
    due = Counter(want.id for want in wanted)
    wants = {want.id: want for want in wanted}
    checks = [
        _check(check, wants.get(check), reported.get(check, ()), due[check])
        for check in dict.fromkeys([*wants, *reported])
    ]
    return checks, {want.id for want in wanted if want.last}


def _span(checks: Sequence[Check]) -> tuple[dt.datetime | None, dt.datetime | None]:
    """Return when the first of some checks began, and when the last one ended."""
    began = [check.started for check in checks if check.started is not None]
    ended = [facts.after(check.started, check.seconds) for check in checks if check.started is not None]
    return min(began, default=None), max(ended, default=None)


def _check(check: str, want: ev.ExpectedCheck | None, events: Sequence[ev.CheckFinished], due: int) -> Check:
    """Make a check from its events; `due` is how many times the contract requires its id."""
    why, severity, source = (want.why, want.severity, want.source) if want else ("", "", "")
    if want and len(events) < due:
        return Check(
            id=check,
            title=want.title,
            verdict=Verdict.INCONCLUSIVE,
            message=NOT_RUN,
            why=why,
            severity=severity,
            source=source,
        )
    worst = combine(event.verdict for event in events)
    event = next(event for event in events if event.verdict is worst)
    return Check(
        id=event.id,
        title=event.title,
        verdict=event.verdict,
        started=event.started,
        seconds=event.seconds,
        message=event.message,
        expected=event.expected,
        seen=event.seen,
        evidence=event.evidence,
        why=why,
        remedy=event.remedy,
        command=event.command,
        endpoint=event.endpoint,
        took_s=event.took_s,
        limit_s=event.limit_s,
        severity=severity,
        source=source,
        waiver=event.waiver,
    )
