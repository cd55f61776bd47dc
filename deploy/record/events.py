"""What happens in a run, as events: the journal holds them, and the record is folded from them."""

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
    """Which system a host has.

    Attributes:
        toplevel: Store path of the running system.
        generation: Number of the system profile's current generation, None where there is none.
        revision: Full commit that the system says it was built from, None where it says nothing.
        boot_id: The kernel's id of this boot.
        nar_hash: Hash of the running system's archive as Nix spells it (`sha256:` and base 32), None if unknown.
    """

    toplevel: str | None
    generation: int | None
    revision: str | None
    boot_id: str | None
    nar_hash: str | None = None


class PromotedFrom(msgspec.Struct, frozen=True, kw_only=True):
    """The signed record that let a deploy through.

    Attributes:
        record: Where it was found.
        run: The id of its run.
        signer: The principal of the allowed signers who signed it.
        statement_sha256: Of the statement that was signed.
    """

    record: str
    run: str
    signer: str
    statement_sha256: str


class ExpectedCheck(msgspec.Struct, frozen=True):
    """A check that the target file calls for, whether or not it will be executed.

    Those of the legs `back` and `again` are called for once a host has begun them.
    """

    host: str
    leg: Leg
    clause: Clause | None
    """None for one of the team's own that belongs to an audit and to no clause."""
    id: str
    title: str
    last: bool = False
    """It is made only after all others of its host and leg passed; blocked by one, it says nothing of its clause."""
    why: str = ""
    """Why it matters."""
    severity: str = ""
    """How much it matters, in the word of whoever wrote it."""
    source: str = ""
    """The module of a check of the team's own; empty for one of the contract's."""


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_snake):
    """Something that happened, at one time (UTC)."""

    at: dt.datetime = msgspec.field(default_factory=lambda: dt.datetime.now(dt.UTC))


class RunStarted(Event, frozen=True, kw_only=True):
    """The run knows what it will do; nothing has been touched."""

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
    """The groups of every host, by its name."""
    promoted_from: PromotedFrom | None = None
    owner: str = ""
    """Who runs it, and where."""
    ci: facts.CiRun | None = None
    """The CI run that it belongs to; None for one by hand."""
    versions: dict[str, str] = {}
    """Versions of what the run is made with, by name."""
    waivers: tuple[facts.Waiver, ...] = ()
    """Those of the target file."""
    shard: facts.Shard | None = None
    """The part of the hosts that it is of; None for all of them."""
    merged: facts.Merged | None = None
    """What it was merged of; None for a run of its own."""


class Emulated(Event, frozen=True, kw_only=True):
    """Something stands in for the real thing, and does not do all that it does."""

    by: str
    not_modelled: tuple[str, ...]


class EarlierRead(Event, frozen=True, kw_only=True):
    """What the folder of runs says of earlier ones of the same hosts.

    `canonical` is the newest canonical run before this one, `previous` the newest of any verdict.
    """

    canonical: facts.EarlierRun | None
    previous: facts.EarlierRun | None
    typical: tuple[facts.Typical, ...]


class RevisionResolved(Event, frozen=True, kw_only=True):
    """The asked revision is one full commit. Whoever wrote it is named as the repository names them."""

    requested: str
    sha: str
    subject: str
    author: str = ""
    authored: dt.datetime | None = None


class SystemBuilt(Event, frozen=True, kw_only=True):
    """The runner has built the system of a configuration."""

    build: facts.Build


class Connected(Event, frozen=True, kw_only=True):
    """A new connection to a host stands."""

    host: str
    connection: ConnectionFacts


class Happened(Event, frozen=True, kw_only=True):
    """Something that a host's timeline marks."""

    host: str
    kind: facts.MomentKind
    text: str = ""


class ClockSeen(Event, frozen=True, kw_only=True):
    """How far a host's clock is from ours, more closely than was known before."""

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
    """What a switch changes in a host's closure is known."""

    host: str
    closure: facts.Closure


class PhaseStarted(Event, frozen=True, kw_only=True):
    """A host has entered a phase."""

    host: str
    phase: Phase
    leg: Leg = "forward"


class PhaseFinished(Event, frozen=True, kw_only=True):
    """A host has left a phase. `problem` says what kept it from ending well, `questions` how many it was asked."""

    host: str
    phase: Phase
    leg: Leg = "forward"
    seconds: float
    problem: str | None = None
    questions: int = 0


class SystemSeen(Event, frozen=True, kw_only=True):
    """Which system a host had before anything changed, or has now."""

    host: str
    when: Literal["before", "after"]
    system: SystemIdentity


class CheckFinished(Event, frozen=True, kw_only=True):
    """A check has its verdict.

    Attributes:
        seconds: How long the check itself took, with all that had to be asked for it first.
        remedy: What to try, where it did not pass.
        command: What asked the host, as a person would type it there.
        endpoint: Whose watch on this leg tells its attempts; None where there is no such.
        took_s: Seconds that what it judges took, None where that is no matter of time.
        limit_s: The most that they may be.
        waiver: The waiver that covers its failure, in words.
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
    """A file stands in the run's folder. `sha256` and `bytes` are of the file as kept."""

    host: str | None
    title: str
    path: str
    sha256: str
    bytes: int


class RollbackBegun(Event, frozen=True, kw_only=True):
    """A host is on its way back to `to`, a toplevel."""

    host: str
    reason: str
    to: str


class HostLeft(Event, frozen=True, kw_only=True):
    """The state that the run leaves a host in, and how that is known."""

    host: str
    state: HostState
    reason: str


class Noted(Event, frozen=True, kw_only=True):
    """Something that a reader should know and that decides nothing."""

    host: str | None
    text: str


class Warned(Event, frozen=True, kw_only=True):
    """Something about a host that everyone who hears of the run must hear."""

    host: str
    text: str


class LogLine(Event, frozen=True, kw_only=True):
    """A line of a host's log, for whoever watches; the whole log is evidence, so lines are not journaled."""

    host: str
    text: str


class CutoverJudged(Event, frozen=True, kw_only=True):
    """It is known how far the cutover is."""

    cutover: Cutover


class RunFinished(Event, frozen=True, kw_only=True):
    """The run has ended by itself. A journal without it is of a run that was killed.

    A second one replaces the first: the record could not be written, or not signed.
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
