"""The events of a run, which the journal keeps and the record is folded from (pure)."""

from __future__ import annotations

import datetime as dt
import re
from typing import Literal, TypeAlias

import msgspec

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.record import facts
from switchproof.deploy.record.facts import Leg, Phase
from switchproof.deploy.record.steps import Cutover


class SystemIdentity(msgspec.Struct, frozen=True):
    """The system of a host.

    Attributes:
        toplevel: Store path of the running system.
        generation: Number of the system profile's current generation; None without one.
        revision: Full commit that the system reports; None without one.
        boot_id: The kernel's id of this boot.
        nar_hash: Hash of the running system as a Nix archive (`sha256:` and base 32); None if unknown.
        specialisation: The name of the profile's specialisation that runs; None if none of them does.
    """

    toplevel: str | None
    generation: int | None
    revision: str | None
    boot_id: str | None
    nar_hash: str | None = None
    specialisation: str | None = None


class PromotedFrom(msgspec.Struct, frozen=True, kw_only=True):
    """The signed record that permitted a deploy.

    Attributes:
        record: Its path.
        run: The id of its run.
        signer: Its signer, a principal of the allowed signers.
        statement_sha256: SHA-256 of the signed statement.
    """

    record: str
    run: str
    signer: str
    statement_sha256: str


class ExpectedCheck(msgspec.Struct, frozen=True):
    """A check that the run must make, whether or not it will be executed.

    Checks of the legs `back` and `again` are due once a host has begun the leg.
    """

    host: str
    leg: Leg
    clause: Clause | None
    """None for a check of the team's own that belongs to an audit and to no clause."""
    id: str
    title: str
    last: bool = False
    """Whether it runs only after all others of its host and leg passed; blocked, it does not count for its clause."""
    why: str = ""
    """Why it matters."""
    severity: str = ""
    """Its severity, in the author's word."""
    source: str = ""
    """The module of a check of the team's own; empty for a check of the contract."""


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_snake):
    """Something that happened at one time (UTC)."""

    at: dt.datetime = msgspec.field(default_factory=lambda: dt.datetime.now(dt.UTC))


class RunStarted(Event, frozen=True, kw_only=True):
    """The run has a plan; nothing has been touched."""

    id: str
    mode: str
    provider: str
    emulated: bool
    requested: str | None
    repository: str
    hosts: tuple[str, ...]
    expected: tuple[ExpectedCheck, ...]
    contract_sha256: str
    options: dict[str, str]
    harness: str
    groups: dict[str, tuple[str, ...]] = {}
    """The groups of every host, by name."""
    promoted_from: PromotedFrom | None = None
    owner: str = ""
    """Who started it, and where."""
    ci: facts.CiRun | None = None
    """The CI run that it belongs to; None for a run by hand."""
    versions: dict[str, str] = {}
    """Versions of the programs that made the run, by name."""
    waivers: tuple[facts.Waiver, ...] = ()
    """The waivers of the target file."""
    shard: facts.Shard | None = None
    """The shard of hosts that it audits; None for all hosts."""
    merged: facts.Merged | None = None
    """The runs that it was merged from; None for a run of its own."""
    dirty: str | None = None
    """The hash of the working tree that it deploys, which is not committed; None for a commit."""


class Emulated(Event, frozen=True, kw_only=True):
    """A stand-in replaces the real thing, and does not model all of its behaviour."""

    by: str
    not_modelled: tuple[str, ...]


class EarlierRead(Event, frozen=True, kw_only=True):
    """The earlier runs of the same hosts, from the folder of runs.

    `canonical` is the newest canonical run before this one, `previous` the newest of any verdict.
    """

    canonical: facts.EarlierRun | None
    previous: facts.EarlierRun | None
    typical: tuple[facts.Typical, ...]


class RevisionResolved(Event, frozen=True, kw_only=True):
    """The requested revision is one full commit; its author has the name that the repository gives."""

    requested: str
    sha: str
    subject: str
    author: str = ""
    authored: dt.datetime | None = None


class SystemBuilt(Event, frozen=True, kw_only=True):
    """The runner has built the system of a configuration."""

    build: facts.Build


class Connected(Event, frozen=True, kw_only=True):
    """A new connection to a host was made."""

    host: str
    connection: ConnectionFacts


class Happened(Event, frozen=True, kw_only=True):
    """A moment in a host's timeline."""

    host: str
    kind: facts.MomentKind
    text: str = ""


class ClockSeen(Event, frozen=True, kw_only=True):
    """The offset of a host's clock, known more precisely than before."""

    host: str
    clock: facts.Clock


class UnitsSeen(Event, frozen=True, kw_only=True):
    """The contract's units before anything changed, or as they are now."""

    host: str
    when: Literal["before", "after"]
    units: tuple[facts.UnitState, ...]


class Watched(Event, frozen=True, kw_only=True):
    """The watch of an endpoint has ended."""

    host: str
    watch: facts.Watch


class ClosureCompared(Event, frozen=True, kw_only=True):
    """The changes of a switch in a host's closure are known."""

    host: str
    closure: facts.Closure


class PhaseStarted(Event, frozen=True, kw_only=True):
    """A host has entered a phase."""

    host: str
    phase: Phase
    leg: Leg = "forward"


class PhaseFinished(Event, frozen=True, kw_only=True):
    """A host has left a phase. `problem` is why it failed, `questions` how many questions the host was asked."""

    host: str
    phase: Phase
    leg: Leg = "forward"
    seconds: float
    problem: str | None = None
    questions: int = 0


class SystemSeen(Event, frozen=True, kw_only=True):
    """The system of a host before anything changed, or now."""

    host: str
    when: Literal["before", "after"]
    system: SystemIdentity


class CheckFinished(Event, frozen=True, kw_only=True):
    """A check has its verdict.

    Attributes:
        seconds: Seconds of the check itself, with all questions that it needed.
        remedy: A remedy if it did not pass.
        command: The command with which a person asks the host the same.
        endpoint: The endpoint whose watch on this leg has its attempts; None without one.
        took_s: Seconds of the judged process; None if the check judges no duration.
        limit_s: The limit of these seconds.
        waiver: The waiver that covers its failure, as text.
    """

    host: str
    leg: Leg
    clause: Clause | None
    id: str
    title: str
    verdict: Verdict
    started: dt.datetime
    seconds: float
    message: str
    expected: str
    seen: str
    evidence: tuple[str, ...]
    remedy: str = ""
    command: str = ""
    endpoint: str | None = None
    took_s: float | None = None
    limit_s: float | None = None
    waiver: str = ""


class EvidenceKept(Event, frozen=True, kw_only=True):
    """A file was stored in the run's folder; `sha256` and `bytes` are of the stored file."""

    host: str | None
    title: str
    path: str
    sha256: str
    bytes: int


class RollbackBegun(Event, frozen=True, kw_only=True):
    """A host is being rolled back to `to`, a toplevel."""

    host: str
    reason: str
    to: str


class HostLeft(Event, frozen=True, kw_only=True):
    """The state that the run leaves a host in, with the reason."""

    host: str
    state: HostState
    reason: str


class Noted(Event, frozen=True, kw_only=True):
    """A note for readers that decides nothing."""

    host: str | None
    text: str


class Warned(Event, frozen=True, kw_only=True):
    """A warning about a host for every reader of the run."""

    host: str
    text: str


class LogLine(Event, frozen=True, kw_only=True):
    """A line of a host's log, for display; the whole log is evidence, so lines are not journaled."""

    host: str
    text: str


class CutoverJudged(Event, frozen=True, kw_only=True):
    """The cutover was judged."""

    cutover: Cutover


class RunFinished(Event, frozen=True, kw_only=True):
    """The run has ended by itself; the journal of a killed run lacks this event.

    A second one replaces the first, if the record could not be written or signed.
    """

    exit_code: ExitCode
    interrupted: str | None = None
    refusal: facts.Refusal | None = None
    unreported: str | None = None
    selected: str | None = None
    redactions: dict[str, int]


AnyEvent: TypeAlias = (
    RunStarted
    | Emulated
    | EarlierRead
    | RevisionResolved
    | SystemBuilt
    | Connected
    | Happened
    | ClockSeen
    | UnitsSeen
    | Watched
    | ClosureCompared
    | PhaseStarted
    | PhaseFinished
    | SystemSeen
    | CheckFinished
    | EvidenceKept
    | RollbackBegun
    | HostLeft
    | Noted
    | Warned
    | LogLine
    | CutoverJudged
    | RunFinished
)
