"""The whole run as data: the record, as a fold over the journal's events."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.contract import (
    PROVEN_STATES,
    Clause,
    ExitCode,
    HostState,
    RunVerdict,
    Verdict,
    combine,
    run_verdict,
)
from switchproof.deploy.record import facts, waivers
from switchproof.deploy.record import journal as j
from switchproof.deploy.record.steps import Cutover

NOT_RUN = "The check was expected and did not run."


class Run(msgspec.Struct, kw_only=True):
    """Which run this was.

    Attributes:
        finished: None for a run that was killed.
        interrupted: What ended it early, None if nothing did.
        refusal: For what it was refused, so that nothing was touched; None if it was not.
        unreported: What of its report could not be written, and why; None if everything was.
        selected: How the command line left checks out, such as `-k`; None if it did not.
        harness: This program and its version.
        options: The command line, and the values that it led to.
        owner: Who ran it, and where.
        ci: The CI run that it belongs to; None for one by hand.
        versions: Versions of what it was made with, by name.
    """

    id: str
    mode: str
    started: facts.Time
    finished: facts.Time | None = None
    exit_code: int | None = None
    interrupted: str | None = None
    refusal: facts.Refusal | None = None
    unreported: str | None = None
    selected: str | None = None
    harness: str
    options: dict[str, str]
    owner: str = ""
    ci: facts.CiRun | None = None
    versions: dict[str, str] = msgspec.field(default_factory=dict)


class Revision(msgspec.Struct, kw_only=True):
    """What was asked for, the full commit that it was resolved to, and what the repository says of that."""

    requested: str | None
    sha: str | None = None
    subject: str | None = None
    author: str | None = None
    authored: facts.Time | None = None
    repository: str


class Check(msgspec.Struct, kw_only=True):
    """One check of one clause on one host.

    Attributes:
        id: The same in every run.
        started: None if it did not run.
        seconds: How long the check itself took, with all that had to be asked for it first.
        why: Why it matters.
        remedy: What to try, where it did not pass.
        command: What asked the host, as a person would type it there.
        endpoint: Whose watch on this leg tells its attempts; None where there is no such.
        took_s: Seconds that what it judges took, None where that is no matter of time.
        limit_s: The most that they may be.
        severity: How much it matters, in the word of whoever wrote it; it changes no verdict.
        source: The module of a check of the team's own; empty for one of the contract's.
        waiver: The waiver that covers its failure, in words.
    """

    id: str
    title: str
    verdict: Verdict
    started: facts.Time | None = None
    seconds: float = 0.0
    message: str = ""
    expected: str = ""
    seen: str = ""
    evidence: tuple[str, ...] = ()
    why: str = ""
    remedy: str = ""
    command: str = ""
    endpoint: str | None = None
    took_s: float | None = None
    limit_s: float | None = None
    severity: str = ""
    source: str = ""
    waiver: str = ""


class ClauseResult(msgspec.Struct, kw_only=True):
    """One clause on one host."""

    id: Clause
    verdict: Verdict
    started: facts.Time | None = None
    finished: facts.Time | None = None
    checks: list[Check]


class AuditResult(msgspec.Struct, kw_only=True):
    """The team's own checks of an audit on one host, which belong to no clause of the contract."""

    id: Literal["audit"] = "audit"
    verdict: Verdict
    started: facts.Time | None = None
    finished: facts.Time | None = None
    checks: list[Check]


Part: TypeAlias = ClauseResult | AuditResult
"""What a leg of a host is judged by."""


class Rollback(msgspec.Struct, kw_only=True):
    """The way back of one host, verified by the same checks."""

    reason: str
    to: str
    verdict: Verdict
    clauses: list[ClauseResult]


class Again(msgspec.Struct, kw_only=True):
    """A drill's second deploy of one host, after its way back, verified by the same checks."""

    verdict: Verdict
    clauses: list[ClauseResult]


class PhaseTime(msgspec.Struct, kw_only=True):
    """When a host was in a phase, and how many questions it was asked; `finished` is None if it never left."""

    phase: j.Phase
    leg: j.Leg
    started: facts.Time
    finished: facts.Time | None = None
    problem: str | None = None
    questions: int = 0


class Host(msgspec.Struct, kw_only=True):
    """One host of the run.

    Attributes:
        audit: The team's own checks of an audit; None where there are none.
        connection: How it was reached last; None if it never was.
        connections: How many connections were made.
        clock: Its clock beside ours, None where nothing was learnt of it.
        timeline: What happened on its way, in the order of time.
        watches: The health of every endpoint over time, on every leg.
        units: The contract's units before the run and as they were seen last.
        closures: What each switch changed in the system's closure.
    """

    name: str
    groups: tuple[str, ...] = ()
    state: HostState = HostState.UNKNOWN
    state_reason: str = "The run ended before the host's state was established."
    verdict: Verdict = Verdict.INCONCLUSIVE
    before: j.SystemIdentity | None = None
    after: j.SystemIdentity | None = None
    clauses: list[ClauseResult] = msgspec.field(default_factory=list)
    audit: AuditResult | None = None
    rollback: Rollback | None = None
    again: Again | None = None
    phases: list[PhaseTime] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)
    connection: ConnectionFacts | None = None
    connections: int = 0
    clock: facts.Clock | None = None
    timeline: list[facts.Moment] = msgspec.field(default_factory=list)
    watches: list[facts.Watch] = msgspec.field(default_factory=list)
    units: list[facts.UnitChange] = msgspec.field(default_factory=list)
    closures: list[facts.Closure] = msgspec.field(default_factory=list)

    @property
    def parts(self) -> list[Part]:
        """What its way forward is judged by: the five clauses, and the team's own audit where there is one."""
        return [*self.clauses, self.audit] if self.audit else [*self.clauses]

    @property
    def questions(self) -> int:
        """How many questions it was asked."""
        return sum(phase.questions for phase in self.phases)

    @property
    def retries(self) -> int:
        """How many of them were asked again, as no answer came or the connection was lost."""
        return sum(moment.kind in {"lost", "asked-again"} for moment in self.timeline)

    def watch(self, leg: facts.Leg, endpoint: str | None) -> facts.Watch | None:
        """Return the last watch of an endpoint on a leg, which tells a check's attempts; None if there was none."""
        found = (watch for watch in reversed(self.watches) if (watch.leg, watch.endpoint) == (leg, endpoint))
        return next(found, None)


class Earlier(msgspec.Struct, kw_only=True):
    """Earlier runs of the same hosts, as they were known when this one began.

    Attributes:
        canonical: The newest canonical one.
        previous: The newest of any verdict.
        typical: How long phases took.
    """

    canonical: facts.EarlierRun | None = None
    previous: facts.EarlierRun | None = None
    typical: tuple[facts.Typical, ...] = ()

    def usual(self, host: str, phase: PhaseTime) -> facts.Typical | None:
        """Return how long such a phase of a host took, None where no earlier run had it."""
        wanted = (host, phase.leg, phase.phase)
        return next((one for one in self.typical if (one.host, one.leg, one.phase) == wanted), None)


class Evidence(msgspec.Struct, kw_only=True):
    """A file kept with the run; the digest is of the file as kept."""

    path: str
    title: str
    host: str | None
    sha256: str
    bytes: int


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """Where a waiver covered a failure."""

    host: str
    leg: facts.Leg


class WaiverResult(msgspec.Struct, kw_only=True):
    """A waiver of the target file, and what became of it.

    Attributes:
        waiver: The waiver.
        state: `used`: it covered a failure. `unused`: its check passed everywhere. `expired`: its check was due, and
            it covered nothing any more. `open`: its check was due and gave no answer. `not-asked`: it was not due.
        covered: Where it covered a failure.
    """

    waiver: facts.Waiver
    state: waivers.State
    covered: tuple[Covered, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether the run is not canonical for it."""
        return self.state in {"unused", "expired"}


class Emulation(msgspec.Struct, kw_only=True):
    """What stood in for the real thing, and what of it that proves nothing about."""

    by: str
    not_modelled: tuple[str, ...]


class Record(msgspec.Struct, kw_only=True):
    """A run, whole. Every output is made from it. Times are UTC."""

    schema: Literal["switchproof/record/v1"] = "switchproof/record/v1"
    run: Run
    provider: str
    emulated: bool
    verdict: RunVerdict
    revision: Revision
    contract_sha256: str
    hosts: list[Host]
    evidence: list[Evidence]
    notes: list[str]
    redactions: dict[str, int]
    emulations: list[Emulation] = msgspec.field(default_factory=list)
    promoted_from: j.PromotedFrom | None = None
    earlier: Earlier = msgspec.field(default_factory=Earlier)
    waivers: list[WaiverResult] = msgspec.field(default_factory=list)
    cutover: Cutover | None = None

    @property
    def judged(self) -> RunVerdict:
        """What the hosts and, in an audit of the cutover, its steps come to."""
        return run_verdict(
            [*(host.verdict for host in self.hosts), *([self.cutover.verdict] if self.cutover else [])]
        )

    def host(self, name: str) -> Host:
        """Return the host of that name."""
        return next(host for host in self.hosts if host.name == name)


def fold(events: Iterable[j.AnyEvent]) -> Record:
    """Make the record of a run from its events, also of a run that is not over or was killed.

    What was expected and did not run stands in the record as inconclusive, so silence never passes. What ran
    without being expected counts like everything else, and of a check that reported twice the worse verdict counts.

    Raises:
        ValueError: The events do not begin with the run's start, hold another run's, or tell of a host that the
            run does not have.
    """
    stream = iter(events)
    begun = next(stream, None)
    if not isinstance(begun, j.RunStarted):
        raise ValueError("the journal does not begin with the start of a run")  # noqa: TRY004 - a file's content
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
    checks: dict[tuple[str, j.Leg], list[j.CheckFinished]] = {}
    rollbacks: dict[str, j.RollbackBegun] = {}
    again: set[str] = set()
    for event in stream:
        host_name = getattr(event, "host", None)
        if host_name is not None and host_name not in begun.hosts:
            raise ValueError(f"the journal tells of host {host_name!r}; the run has {', '.join(begun.hosts)}")
        if host_name is not None and getattr(event, "leg", None) == "again":
            again.add(host_name)
        match event:
            case j.RunStarted():
                raise ValueError(f"the journal holds two runs, {begun.id!r} and {event.id!r}")
            case j.CheckFinished():
                checks.setdefault((event.host, event.leg), []).append(event)
            case j.RollbackBegun():
                rollbacks[event.host] = event
                _mark(record.host(event.host), event.at, "rollback-begun", "back", event.reason)
            case _:
                _apply(record, event)
    for host in record.hosts:
        host.clauses = _clauses(begun.expected, checks, host.name, "forward")
        host.audit = _audit(begun.expected, checks, host.name)
        if back := rollbacks.get(host.name):
            clauses = _clauses(begun.expected, checks, host.name, "back")
            host.rollback = Rollback(
                reason=back.reason,
                to=back.to,
                verdict=judge(clauses),
                clauses=clauses,
            )
        if host.name in again:
            clauses = _clauses(begun.expected, checks, host.name, "again")
            host.again = Again(verdict=judge(clauses), clauses=clauses)
        host.verdict = _verdict(host, drill=begun.mode == "drill")
    record.waivers = _settled(begun.waivers, record)
    record.verdict = proven(record)
    unsettled = any(host.state not in PROVEN_STATES for host in record.hosts)
    run = record.run
    if run.interrupted or run.unreported or run.selected or run.finished is None or unsettled:
        record.verdict = min_verdict(record.judged)
    return record


def proven(record: Record) -> RunVerdict:
    """Say what the checks and the waivers of a run come to, as if it had ended well."""
    verdict = record.judged
    if verdict.accepted and any(one.fails for one in record.waivers):
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
                Covered(host=one.host, leg=one.leg)
                for one in seen
                if one.verdict is Verdict.WAIVED and waivers.covers(waiver, one.host, one.check)
            ),
        )
        for waiver in given
    ]


def legs(host: Host) -> Iterator[tuple[facts.Leg, Sequence[Part]]]:
    """Give what every leg that a host was on is judged by, in order."""
    yield "forward", host.parts
    if host.rollback:
        yield "back", host.rollback.clauses
    if host.again:
        yield "again", host.again.clauses


def judge(clauses: Sequence[Part]) -> Verdict:
    """Judge a leg by its clauses and by every one of its checks."""
    checks = (check.verdict for clause in clauses for check in clause.checks)
    return combine([*(clause.verdict for clause in clauses), *checks])


def _verdict(host: Host, *, drill: bool) -> Verdict:
    """Judge a host: by its way forward, and in a drill by all of its three legs, of which none may be missing."""
    forward = judge(host.parts)
    if not drill or not forward.accepted:
        return forward
    later = (host.rollback, host.again)
    return combine([forward, *(leg.verdict if leg else Verdict.INCONCLUSIVE for leg in later)])


def min_verdict(verdict: RunVerdict) -> RunVerdict:
    """Return what is left of a verdict when the run did not come to its end, or a host's state is not proven."""
    return RunVerdict.INCONCLUSIVE if verdict.accepted else verdict


def _apply(record: Record, event: j.AnyEvent) -> None:
    match event:
        case j.Emulated():
            record.emulated = True
            record.emulations.append(Emulation(by=event.by, not_modelled=event.not_modelled))
        case j.CutoverJudged():
            record.cutover = event.cutover
        case j.RevisionResolved():
            record.revision.sha = event.sha
            record.revision.subject = event.subject
            record.revision.author = event.author or None
            record.revision.authored = event.authored
        case j.EarlierRead():
            record.earlier = Earlier(canonical=event.canonical, previous=event.previous, typical=event.typical)
        case j.PhaseStarted():
            record.host(event.host).phases.append(PhaseTime(phase=event.phase, leg=event.leg, started=event.at))
        case j.PhaseFinished():
            for phase in reversed(record.host(event.host).phases):
                if (phase.phase, phase.leg) == (event.phase, event.leg) and phase.finished is None:
                    phase.finished = event.at
                    phase.problem = event.problem
                    phase.questions = event.questions
                    break
            if (event.phase, event.leg) == ("rollback", "back"):
                _mark(record.host(event.host), event.at, "rollback-ended", event.leg, event.problem or "")
        case j.SystemSeen():
            setattr(record.host(event.host), event.when, event.system)
        case j.EvidenceKept():
            record.evidence.append(
                Evidence(
                    path=event.path,
                    title=event.title,
                    host=event.host,
                    sha256=event.sha256,
                    bytes=event.bytes,
                )
            )
        case j.HostLeft():
            host = record.host(event.host)
            host.state, host.state_reason = event.state, event.reason
        case j.Noted():
            (record.notes if event.host is None else record.host(event.host).notes).append(event.text)
        case j.Warned():
            record.host(event.host).warnings.append(event.text)
        case j.RunFinished():
            record.run.finished = event.at
            record.run.exit_code = int(event.exit_code)
            record.run.interrupted = event.interrupted
            record.run.refusal = event.refusal if event.exit_code is ExitCode.USAGE else None
            record.run.unreported, record.run.selected = event.unreported, event.selected
            record.redactions = dict(event.redactions)
        case _:
            _learn(record, event)


def _learn(record: Record, event: j.AnyEvent) -> None:
    """Take in what was learnt of a host beside the contract."""
    match event:
        case j.Connected():
            host = record.host(event.host)
            host.connection, host.connections = event.connection, host.connections + 1
            _mark(host, event.at, "connected" if host.connections == 1 else "connected-again", _leg_of(host))
        case j.Happened():
            host = record.host(event.host)
            _mark(host, event.at, event.kind, _leg_of(host), event.text)
        case j.ClockSeen():
            record.host(event.host).clock = event.clock
        case j.UnitsSeen():
            _note_units(record.host(event.host), event)
        case j.Watched():
            _note_watch(record.host(event.host), event.watch)
        case j.ClosureCompared():
            record.host(event.host).closures.append(event.closure)


def _leg_of(host: Host) -> facts.Leg:
    """The leg that a host is on, as far as its phases tell."""
    return host.phases[-1].leg if host.phases else "forward"


def _mark(host: Host, at: dt.datetime, kind: facts.MomentKind, leg: facts.Leg, text: str = "") -> None:
    host.timeline.append(facts.Moment(at=at, kind=kind, leg=leg, text=text))
    host.timeline.sort(key=lambda moment: moment.at)


def _note_units(host: Host, event: j.UnitsSeen) -> None:
    for unit in event.units:
        change = next((each for each in host.units if each.name == unit.name), None)
        if change is None:
            change = facts.UnitChange(name=unit.name)
            host.units.append(change)
        setattr(change, event.when, unit)


def _note_watch(host: Host, watch: facts.Watch) -> None:
    """Keep a watch, and mark in the timeline when it began, when its last row of good answers did, and its end."""
    host.watches.append(watch)
    ended = watch.began + dt.timedelta(seconds=watch.seconds)
    _mark(host, watch.began, "watch-begun", watch.leg, watch.endpoint)
    bad = [sample.at_s for sample in watch.samples if not sample.good]
    if healthy := [sample.at_s for sample in watch.samples if sample.good and sample.at_s > max(bad, default=-1.0)]:
        _mark(host, watch.began + dt.timedelta(seconds=healthy[0]), "healthy", watch.leg, watch.endpoint)
    _mark(host, ended, "watch-ended", watch.leg, f"{watch.endpoint}: {watch.settled}")


def _clauses(
    expected: tuple[j.ExpectedCheck, ...],
    finished: dict[tuple[str, j.Leg], list[j.CheckFinished]],
    host: str,
    leg: j.Leg,
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
    expected: tuple[j.ExpectedCheck, ...],
    finished: dict[tuple[str, j.Leg], list[j.CheckFinished]],
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
    expected: tuple[j.ExpectedCheck, ...],
    finished: dict[tuple[str, j.Leg], list[j.CheckFinished]],
    host: str,
    leg: j.Leg,
    clause: Clause | None,
) -> tuple[list[Check], set[str]]:
    """Make the checks of a clause, and name those among them that wait for all others."""
    told: dict[str, list[j.CheckFinished]] = {}
    for event in finished.get((host, leg), ()):
        if event.clause is clause:
            told.setdefault(event.id, []).append(event)
    wanted = [want for want in expected if (want.host, want.leg, want.clause) == (host, leg, clause)]
    due = Counter(want.id for want in wanted)
    wants = {want.id: want for want in wanted}
    titles = {want.id: want.title for want in wanted}
    titles.update({check: events[0].title for check, events in told.items() if check not in titles})
    checks = [
        _check(check, title, wants.get(check), told.get(check, ()), due[check]) for check, title in titles.items()
    ]
    return checks, {want.id for want in wanted if want.last}


def _span(checks: Sequence[Check]) -> tuple[dt.datetime | None, dt.datetime | None]:
    """When the first of some checks began, and the last one ended."""
    began = [check.started for check in checks if check.started is not None]
    ended = [check.started + dt.timedelta(seconds=check.seconds) for check in checks if check.started is not None]
    return min(began, default=None), max(ended, default=None)


def _check(check: str, title: str, want: j.ExpectedCheck | None, told: Sequence[j.CheckFinished], due: int) -> Check:
    """Make a check of what was told of it; `due` is how many times the contract calls for its id."""
    why, severity, source = (want.why, want.severity, want.source) if want else ("", "", "")
    if len(told) < due:
        return Check(
            id=check,
            title=title,
            verdict=Verdict.INCONCLUSIVE,
            message=NOT_RUN,
            why=why,
            severity=severity,
            source=source,
        )
    worst = combine(event.verdict for event in told)
    event = next(event for event in told if event.verdict is worst)
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


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    body = msgspec.json.format(msgspec.json.encode(record), indent=2)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(body + b"\n")
    partial.replace(path)


def read_record(path: Path) -> Record:
    """Read a record back.

    Raises:
        ValueError: The file is no record; the message names the file and the key.
    """
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except ValueError as error:
        raise ValueError(f"{path}: not a record of a run: {error}") from error
    for host in record.hosts:
        for leg in (host, host.rollback, host.again):
            if leg is not None and len(leg.clauses) != len(Clause):
                raise ValueError(f"{path}: not a record of a run: {host.name} has not the contract's clauses")
    return record
