"""What a run knows of itself and its hosts beside the contract: values that events carry and the record keeps.

All are optional in a record: one of an older version lacks them, and a run that was killed may not have come to them.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, TypeAlias

import msgspec

Time: TypeAlias = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""A time with its zone, which is UTC in everything that is written here."""


def after(moment: dt.datetime, seconds: float) -> dt.datetime:
    """Return the moment some seconds later; the calendar's last one where a damaged record leads beyond it."""
    try:
        return moment + dt.timedelta(seconds=seconds)
    except OverflowError:
        return dt.datetime.max.replace(tzinfo=moment.tzinfo)


Leg: TypeAlias = Literal["forward", "back", "again"]
"""`forward` is what was asked for, `back` the system that was there before, `again` a drill's second deploy."""

Phase: TypeAlias = Literal[
    "connect", "resolve", "converge", "observe", "diagnose", "rollback", "wait", "confirm", "plan"
]

MomentKind: TypeAlias = Literal[
    "connected",
    "lost",
    "connected-again",
    "asked-again",
    "switch-begun",
    "switch-ended",
    "watch-begun",
    "healthy",
    "watch-ended",
    "rollback-begun",
    "rollback-ended",
    "went-back",
    "rebooted",
    "confirmed",
]
"""What a host's timeline marks.

`lost` is a connection that ended before the answer did, `asked-again` a question whose answer never came,
`watch-ended` the end of the soak, `went-back` a host that returned to its earlier system by itself.
"""


class CiRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run of a CI system that a deploy belongs to.

    Attributes:
        system: `github`, `gitlab`, `jenkins`, or `ci` for one that only says that it is one.
        url: Where the run or job can be looked at; http or https.
        run: Its id there.
        job: The job's name.
        actor: Who, or what, started it.
        ref: The branch or tag that it runs for.
    """

    system: str
    url: str | None = None
    run: str | None = None
    job: str | None = None
    actor: str | None = None
    ref: str | None = None


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened on a host's way, at one time; `text` says more about it, if anything."""

    at: Time
    kind: MomentKind
    leg: Leg
    text: str = ""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of an endpoint.

    Attributes:
        at_s: Seconds since the watch began.
        good: Whether it was what the target file asks for.
        code: HTTP status, 0 if none came, and for what is not asked over HTTP.
        seconds: How long it took.
        words: The answer in words, such as `HTTP 503 in 2 ms` or `connection refused or no route`.
    """

    at_s: float
    good: bool
    code: int
    seconds: float
    words: str


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint's health over time, as the host asked it again and again.

    Attributes:
        leg: The leg that it is of.
        endpoint: `hypervisor`, or a runtime unit's name.
        settled: How it ended: healthy, unhealthy, restarted; unit-failed, failing-alike or same-answer where waiting
            could not mend it; cut-short where another endpoint was given up so; or unknown.
        began: When the watch began, by the clock of the machine that the run is on.
        seconds: How long it took.
        limit_s: The longest that it may take.
        samples: The answers, thinned where there were many: every change stays.
        left_out: How many answers are not among the samples.
        restarts: Every time that a unit behind it became another process, in words.
        probe: How it was asked: the kind of the probe and what that asks; empty in older records.
    """

    leg: Leg
    endpoint: str
    settled: str
    began: Time
    seconds: float
    limit_s: float
    samples: tuple[Sample, ...]
    left_out: int = 0
    restarts: tuple[str, ...] = ()
    probe: str = ""


class UnitState(msgspec.Struct, frozen=True, kw_only=True):
    """A systemd unit of the contract at one time.

    Attributes:
        name: The unit.
        state: Its state in systemd's words.
        definition: SHA-256 of the unit file and its drop-ins.
        invocation: systemd's id of this start of it.
        pid: Its main process, 0 if it has none.
        restarts: How often systemd restarted it by itself.
    """

    name: str
    state: str
    definition: str
    invocation: str
    pid: int
    restarts: int


class UnitChange(msgspec.Struct, kw_only=True):
    """A unit before the deploy and as it was seen last; None where it was not seen."""

    name: str
    before: UnitState | None = None
    after: UnitState | None = None

    @property
    def redefined(self) -> bool:
        """Whether its unit file or drop-ins are others than before."""
        return bool(self.before and self.after and self.before.definition != self.after.definition)

    @property
    def restarted(self) -> bool:
        """Whether it was started anew."""
        return bool(self.before and self.after and self.before.invocation != self.after.invocation)


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """A host's clock beside that of the machine that the run is on.

    Attributes:
        offset_s: Seconds that the host is ahead; negative if it is behind.
        uncertainty_s: The true offset is at most this far from `offset_s`.
    """

    offset_s: float
    uncertainty_s: float


class Closure(msgspec.Struct, frozen=True, kw_only=True):
    """What a switch changes in the system's closure, in the words of `nix store diff-closures`.

    Attributes:
        leg: On which leg.
        before: The toplevel that ran.
        after: The toplevel that was switched to.
        lines: The first packages that differ, one a line; none if the closures are equal.
        left_out: How many more there are, in the evidence file.
        evidence: The file with all of them; None if nothing differs.
    """

    leg: Leg
    before: str
    after: str
    lines: tuple[str, ...]
    left_out: int = 0
    evidence: str | None = None


class EarlierHost(msgspec.Struct, frozen=True, kw_only=True):
    """A host in an earlier run: what it was left with, and its checks of the way forward that did not pass."""

    name: str
    toplevel: str | None = None
    generation: int | None = None
    not_passed: dict[str, str] = {}


class EarlierRun(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier run of at least the same hosts; what is not among `not_passed` passed, or was not asked for.

    Attributes:
        run: Its id.
        folder: The name of its folder, beside this run's.
    """

    run: str
    folder: str
    mode: str
    started: Time
    verdict: str
    sha: str | None
    contract_sha256: str
    hosts: tuple[EarlierHost, ...]


class Typical(msgspec.Struct, frozen=True, kw_only=True):
    """How long a phase of a host took in earlier runs of the same mode: the median of `runs` of them, in seconds."""

    host: str
    leg: Leg
    phase: Phase
    median_s: float
    runs: int


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """A system that the runner built once, for every host of its configuration.

    Attributes:
        configuration: Its name among the flake's nixosConfigurations.
        toplevel: The store path that each of these hosts is switched to.
        nix: The nix that built it, as it says itself.
        paths: How many store paths belong to it.
        seconds: How long fetching and building took.
    """

    configuration: str
    toplevel: str
    nix: str
    paths: int
    seconds: float


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The reason for which a run was refused before anything was touched.

    Attributes:
        kind: What kind of thing was refused, in words that follow "nothing was touched: ".
        message: The error, with what would help.
    """

    kind: str
    message: str


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the hosts that an audit is of.

    Attributes:
        index: Which part, from 1.
        count: Of how many.
        hosts: The hosts of all parts.
        targets_sha256: Digest of the target file, which must be the same in all parts.
    """

    index: int
    count: int
    hosts: tuple[str, ...]
    targets_sha256: str


class MergedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that became a part of another record."""

    run: str
    shard: int
    exit_code: int | None


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """What a record was merged of.

    Attributes:
        count: How many parts there must be.
        runs: The runs of the parts.
        problems: What keeps them from being one complete run, a sentence each; empty if nothing does.
    """

    count: int
    runs: tuple[MergedRun, ...]
    problems: tuple[str, ...] = ()


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """A waiver of the target file, as a run took it.

    Attributes:
        check: The id of the check whose failure it covers.
        host: The host that it is for; None for every one.
        reason: Why the failure is borne.
        owner: Who answers for it.
        expires: From when on it covers nothing any more.
        expired: Whether that was so when the run began, which counts for the whole of it.
    """

    check: str
    host: str | None = None
    reason: str
    owner: str
    expires: Time
    expired: bool = False
