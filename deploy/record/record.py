"""The record of a run: the whole run as data, and the file that it is kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.contract import (
    Clause,
    HostState,
    RunVerdict,
    Verdict,
    run_verdict,
)
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts, waivers
from switchproof.deploy.record.steps import Cutover


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
        shard: The part of the hosts that it is of; None for all of them.
        merged: What it was merged of; None for a run of its own.
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
    shard: facts.Shard | None = None
    merged: facts.Merged | None = None


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

    phase: facts.Phase
    leg: facts.Leg
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
    before: ev.SystemIdentity | None = None
    after: ev.SystemIdentity | None = None
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
        """How many of them were asked again, because no answer came or the connection was lost."""
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
    promoted_from: ev.PromotedFrom | None = None
    earlier: Earlier = msgspec.field(default_factory=Earlier)
    waivers: list[WaiverResult] = msgspec.field(default_factory=list)
    cutover: Cutover | None = None
    builds: list[facts.Build] = msgspec.field(default_factory=list)

    @property
    def judged(self) -> RunVerdict:
        """What the hosts and, in an audit of the cutover, its steps come to."""
        return run_verdict(
            [*(host.verdict for host in self.hosts), *([self.cutover.verdict] if self.cutover else [])]
        )

    def host(self, name: str) -> Host:
        """Return the host of that name."""
        return next(host for host in self.hosts if host.name == name)


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
                raise ValueError(f"{path}: not a record of a run: {host.name} does not have the contract's clauses")
    return record
