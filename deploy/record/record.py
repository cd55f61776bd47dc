"""The record of a run as published data, and its file."""

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
    """The run itself.

    Attributes:
        finished: None for a run that was killed.
        interrupted: What ended it early; None if nothing did.
        refusal: Why it was refused before anything was touched; None if it was not.
        unreported: The part of its report that could not be written, with the reason; None if all was.
        selected: The option that left checks out, such as `-k`; None if none did.
        harness: This program and its version.
        options: The command line, and the resulting values.
        owner: Who started it, and where.
        ci: The CI run that it belongs to; None for a run by hand.
        versions: Versions of the programs that made it, by name.
        shard: The shard of hosts that it audits; None for all hosts.
        merged: The runs that it was merged from; None for a run of its own.
        dirty: The hash of the working tree that was deployed, which is not committed; None for a commit.
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
    dirty: str | None = None


class Revision(msgspec.Struct, kw_only=True):
    """The requested revision, its full commit, and the repository's data about that."""

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
        started: When it began; None if it did not run.
        seconds: Seconds of the check itself, with all questions that it needed.
        why: Why it matters.
        remedy: A remedy if it did not pass.
        command: The command with which a person asks the host the same.
        endpoint: The endpoint whose watch on this leg has its attempts; None without one.
        took_s: Seconds of the judged process; None if the check judges no duration.
        limit_s: The limit of these seconds.
        severity: Its severity, in the author's word; it changes no verdict.
        source: The module of a check of the team's own; empty for a check of the contract.
        waiver: The waiver that covers its failure, as text.
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
"""A judged part of a host's leg."""


class Rollback(msgspec.Struct, kw_only=True):
    """The rollback of one host, verified by the same checks."""

    reason: str
    to: str
    verdict: Verdict
    clauses: list[ClauseResult]


class Again(msgspec.Struct, kw_only=True):
    """A drill's second deploy of one host, after its rollback, verified by the same checks."""

    verdict: Verdict
    clauses: list[ClauseResult]


class PhaseTime(msgspec.Struct, kw_only=True):
    """A phase of a host, with the number of questions; `finished` is None if it never ended."""

    phase: facts.Phase
    leg: facts.Leg
    started: facts.Time
    finished: facts.Time | None = None
    problem: str | None = None
    questions: int = 0


class Host(msgspec.Struct, kw_only=True):
    """One host of the run.

    Attributes:
        audit: The team's own checks of an audit; None without any.
        connection: The last connection; None if there was none.
        connections: The number of connections.
        clock: The offset of its clock; None if unknown.
        timeline: The moments of its run, ordered by time.
        watches: The health of every endpoint over time, on every leg.
        units: The contract's units before the run and at the last observation.
        closures: The changes of each switch in the system's closure.
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
        """The judged parts of its leg `forward`: the five clauses, and the team's own audit if there is one."""
        return [*self.clauses, self.audit] if self.audit else [*self.clauses]

    @property
    def questions(self) -> int:
        """The number of questions that it was asked."""
        return sum(phase.questions for phase in self.phases)

    @property
    def retries(self) -> int:
        """The number of questions that were repeated, without an answer or after a lost connection."""
        return sum(moment.kind in {"lost", "asked-again"} for moment in self.timeline)

    def watch(self, leg: facts.Leg, endpoint: str | None) -> facts.Watch | None:
        """Return the last watch of an endpoint on a leg; None without one."""
        watches = (watch for watch in reversed(self.watches) if (watch.leg, watch.endpoint) == (leg, endpoint))
        return next(watches, None)


class Earlier(msgspec.Struct, kw_only=True):
    """Earlier runs of the same hosts, as known when this one began.

    Attributes:
        canonical: The newest canonical run.
        previous: The newest run of any verdict.
        typical: The usual durations of phases.
    """

    canonical: facts.EarlierRun | None = None
    previous: facts.EarlierRun | None = None
    typical: tuple[facts.Typical, ...] = ()

    def usual(self, host: str, phase: PhaseTime) -> facts.Typical | None:
        """Return the usual duration of a phase; None if no earlier run had it."""
        wanted = (host, phase.leg, phase.phase)
        return next((each for each in self.typical if (each.host, each.leg, each.phase) == wanted), None)


class Evidence(msgspec.Struct, kw_only=True):
    """A file stored with the run; the digest is of the stored file."""

    path: str
    title: str
    host: str | None
    sha256: str
    bytes: int


class Covered(msgspec.Struct, frozen=True, kw_only=True):
    """A host and leg where a waiver covered a failure."""

    host: str
    leg: facts.Leg


class WaiverResult(msgspec.Struct, kw_only=True):
    """A waiver of the target file, and its effect on the run.

    Attributes:
        waiver: The waiver.
        state: `used`: it covered a failure. `unused`: its check passed everywhere. `expired`: its check was due, but
            it had expired. `open`: its check was due and gave no answer. `not-asked`: its check was not due.
        covered: Where it covered a failure.
    """

    waiver: facts.Waiver
    state: waivers.State
    covered: tuple[Covered, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether the run is not canonical because of it."""
        return self.state in {"unused", "expired"}


class Emulation(msgspec.Struct, kw_only=True):
    """A stand-in for the real thing, and the behaviour that it does not model."""

    by: str
    not_modelled: tuple[str, ...]


class Record(msgspec.Struct, kw_only=True):
    """A whole run; every output is made from it. Times are UTC."""

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
        """The verdict of all hosts and, in an audit of the cutover, of its steps."""
        return run_verdict(
            [*(host.verdict for host in self.hosts), *([self.cutover.verdict] if self.cutover else [])]
        )

    def host(self, name: str) -> Host:
        """Return a host by its name."""
        return next(host for host in self.hosts if host.name == name)


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, completely or not at all."""
    body = msgspec.json.format(msgspec.json.encode(record), indent=2)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(body + b"\n")
    partial.replace(path)


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        ValueError: The file is not a record; the message names the file and the key.
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
