"""Facts about a run and its hosts besides the contract: values that events carry and the record keeps (pure).

All are optional in a record: an older record lacks them, and a killed run may not have reached them.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, TypeAlias

import msgspec

Time: TypeAlias = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""A time with its zone, which is UTC in everything that Switchproof writes."""


def after(moment: dt.datetime, seconds: float) -> dt.datetime:
    """Return the moment some seconds later; the calendar's last moment if a damaged record leads beyond it."""
    try:
        return moment + dt.timedelta(seconds=seconds)
    except OverflowError:
        return dt.datetime.max.replace(tzinfo=moment.tzinfo)


Leg: TypeAlias = Literal["forward", "back", "again"]
"""`forward` is the requested change, `back` the return to the earlier system, `again` a drill's second deploy."""

Phase: TypeAlias = Literal[
    "connect", "resolve", "converge", "observe", "diagnose", "rollback", "wait", "confirm", "plan", "preflight"
]

LOOKING_AHEAD = frozenset({"plan", "preflight"})
"""The modes of runs that verify no system, and so prove nothing."""

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
"""The kinds of moments in a host's timeline.

`lost` is a connection that ended before the answer, `asked-again` a question that was repeated without an answer,
`watch-ended` the end of the soak, `went-back` a host that returned to its earlier system by itself.
"""


class CiRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run of a CI system that a deploy belongs to.

    Attributes:
        system: `github`, `gitlab`, `jenkins`, or `ci` for any other.
        url: The page of the run or job; http or https.
        run: Its id there.
        job: The job's name.
        actor: The person or program that started it.
        ref: The branch or tag that it runs for.
    """

    system: str
    url: str | None = None
    run: str | None = None
    job: str | None = None
    actor: str | None = None
    ref: str | None = None


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A moment in a host's timeline; `text` has details, if any."""

    at: Time
    kind: MomentKind
    leg: Leg
    text: str = ""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of an endpoint.

    Attributes:
        at_s: Seconds since the watch began.
        good: Whether it was as the target file asks.
        code: HTTP status; 0 without one, and for probes without HTTP.
        seconds: How long it took.
        words: The answer as text, such as `HTTP 503 in 2 ms` or `connection refused or no route`.
    """

    at_s: float
    good: bool
    code: int
    seconds: float
    words: str


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint's health over time, from repeated probes on the host.

    Attributes:
        leg: The leg of the watch.
        endpoint: `hypervisor`, or a runtime unit's name.
        settled: How it ended: healthy, unhealthy or restarted; unit-failed, failing-alike or same-answer if waiting
            longer could not help; cut-short if the watch of another endpoint ended for that reason; or unknown.
        began: When the watch began, by the runner's clock.
        seconds: How long it took.
        limit_s: Seconds after which it ends at the latest.
        samples: The answers; of many equal ones only some are kept.
        left_out: The number of answers that were not kept.
        restarts: Each moment when a unit behind it became another process, as text.
        probe: The kind of the probe, and its address, URL or command; empty in older records.
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
        state: Its state as systemd reports it.
        definition: SHA-256 of the unit file and its drop-ins.
        invocation: systemd's id of its current start.
        pid: Its main process; 0 without one.
        restarts: How often systemd restarted it automatically.
    """

    name: str
    state: str
    definition: str
    invocation: str
    pid: int
    restarts: int


class UnitChange(msgspec.Struct, kw_only=True):
    """A unit before the deploy and at the last observation; None if it was not seen."""

    name: str
    before: UnitState | None = None
    after: UnitState | None = None

    @property
    def redefined(self) -> bool:
        """Whether its unit file or drop-ins have changed."""
        return bool(self.before and self.after and self.before.definition != self.after.definition)

    @property
    def restarted(self) -> bool:
        """Whether it was started again."""
        return bool(self.before and self.after and self.before.invocation != self.after.invocation)


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """The offset of a host's clock from the runner's.

    Attributes:
        offset_s: Seconds that the host is ahead; negative if it is behind.
        uncertainty_s: Seconds by which the true offset may differ from `offset_s`.
    """

    offset_s: float
    uncertainty_s: float


class Closure(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of a switch in the system's closure, as `nix store diff-closures` prints them.

    Attributes:
        leg: The leg of the switch.
        before: The toplevel that ran.
        after: The toplevel that was switched to.
        lines: The first packages that differ, one per line; empty if the closures are equal.
        left_out: The number of further lines, in the evidence file.
        evidence: The file with all lines; None if nothing differs.
    """

    leg: Leg
    before: str
    after: str
    lines: tuple[str, ...]
    left_out: int = 0
    evidence: str | None = None


class EarlierHost(msgspec.Struct, frozen=True, kw_only=True):
    """A host in an earlier run: its final system, and its checks of the leg `forward` that did not pass."""

    name: str
    toplevel: str | None = None
    generation: int | None = None
    not_passed: dict[str, str] = {}


class EarlierRun(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier run of at least the same hosts; a check that is not among `not_passed` passed or was not due.

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
    """The usual duration of a host's phase: the median of `runs` earlier runs of the same mode, in seconds."""

    host: str
    leg: Leg
    phase: Phase
    median_s: float
    runs: int


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """A system that one machine built once for every host of its configuration.

    Attributes:
        configuration: Its name among the flake's nixosConfigurations.
        toplevel: The store path that each of these hosts is switched to.
        on: The machine that built it: `runner`, or the name of a host or builder.
        nix: The version of nix that built it, as nix reports it.
        paths: The number of store paths in its closure.
        seconds: Seconds to fetch and build.
    """

    configuration: str
    toplevel: str
    on: str = "runner"
    nix: str
    paths: int
    seconds: float


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run was refused before anything was touched.

    Attributes:
        kind: The kind of refusal, to follow "nothing was touched: ".
        message: The error, with a remedy.
    """

    kind: str
    message: str


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """The shard of hosts of one audit.

    Attributes:
        index: The number of the shard, from 1.
        count: The number of shards.
        hosts: The hosts of all shards.
        targets_sha256: SHA-256 of the target file, which must be the same in all shards.
    """

    index: int
    count: int
    hosts: tuple[str, ...]
    targets_sha256: str


class MergedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was merged into another record."""

    run: str
    shard: int
    exit_code: int | None


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that a record was merged from.

    Attributes:
        count: The number of runs that there must be.
        runs: The merged runs.
        problems: Why they are not one complete run, one sentence each; empty if they are.
    """

    count: int
    runs: tuple[MergedRun, ...]
    problems: tuple[str, ...] = ()


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """A waiver of the target file, as it applied to a run.

    Attributes:
        check: The id of the check whose failure it covers.
        host: The host that it is for; None for every host.
        reason: Why the failure is accepted.
        owner: Who is responsible for it.
        expires: When it stops to cover failures.
        expired: Whether it had expired when the run began, which counts for the whole run.
    """

    check: str
    host: str | None = None
    reason: str
    owner: str
    expires: Time
    expired: bool = False
