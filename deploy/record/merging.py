"""Merges the runs of an audit's shards into the events of one run, complete or inconclusive (pure)."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import msgspec
from msgspec.structs import replace

from switchproof.deploy.contract import ExitCode, HostState, exit_code
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record import events as ev
from switchproof.deploy.record.facts import Merged, MergedRun, Shard
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.record import Record

_OF_THE_WHOLE = (ev.RunStarted, ev.RunFinished, ev.RevisionResolved, ev.EarlierRead, ev.Emulated)
_APART = dt.timedelta(hours=24)
"""Time between the starts of two parts after which they no longer show one state of the hosts."""
_DIGITS = 12
"""Digits of a digest in a message."""


class Part(msgspec.Struct, frozen=True):
    """The run of one shard.

    Attributes:
        begun: Its first event.
        shard: The shard.
        events: All of its events.
        record: Its record.
    """

    begun: ev.RunStarted
    shard: Shard
    events: tuple[ev.AnyEvent, ...]
    record: Record

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"shard {self.shard.index}/{self.shard.count} (run {self.begun.id})"

    def place_of(self, kept: ev.EvidenceKept) -> str:
        """Return the path of a part's file in the merged run; parts share no host, but files of the run."""
        path = PurePosixPath(kept.path)
        return str(path if kept.host else path.with_name(f"shard-{self.shard.index}-{path.name}"))


def read_part(name: str, events: Sequence[ev.AnyEvent]) -> Part:
    """Make a part from a run's events.

    Args:
        name: The run's name on the command line.
        events: Its events.

    Raises:
        UsageError: It is not the run of a shard.
    """
    try:
        record = fold(events)
    except ValueError as error:
        raise UsageError(f"{name}: cannot be read as a run: {error}") from error
    begun = events[0]
    assert isinstance(begun, ev.RunStarted)  # or it could not be folded
    if begun.shard is None:
        raise UsageError(f"{name}: run {begun.id} is not a part of an audit: merge runs of `audit --shard=K/N`")
    shard = begun.shard
    if (
        not 1 <= shard.index <= shard.count <= len(shard.hosts)
        or begun.hosts != shard.hosts[shard.index - 1 :: shard.count]
    ):
        raise UsageError(
            f"{name}: run {begun.id} is not of the hosts of shard {shard.index}/{shard.count}: "
            "its events were changed; audit this part again"
        )
    if any(event.at.tzinfo is None for event in events):
        raise UsageError(f"{name}: run {begun.id} has times without a time zone: its events were changed")
    for kept in events:
        path = PurePosixPath(kept.path) if isinstance(kept, ev.EvidenceKept) else None
        if path is not None and (path.is_absolute() or ".." in path.parts or path.parts[:1] != ("evidence",)):
            raise UsageError(f"{name}: run {begun.id} names evidence outside of its folder: {str(path)!r}")
        if path is not None and "\0" in str(path):
            raise UsageError(f"{name}: run {begun.id} names evidence that cannot be a file: {str(path)!r}")
    return Part(begun, begun.shard, tuple(events), record)


def merge(parts: Sequence[Part], run: str, damaged: Sequence[str] = ()) -> list[ev.AnyEvent]:
    """Make the events of one run from those of its parts.

    A host of a missing part is inconclusive in the record, with every check of the other hosts.

    Args:
        parts: The parts, at least one.
        run: The id of the merged run.
        damaged: Problems of the parts' files, one sentence each.

    Raises:
        UsageError: They are not parts of one audit.
    """
    parts = sorted(parts, key=lambda part: part.shard.index)
    _refuse_other_audits(parts)
    _refuse_overlaps(parts)
    problems = (*_problems(parts), *damaged)
    first, last = parts[0].begun, max(parts, key=lambda part: part.begun.at).begun
    hosts = tuple(dict.fromkeys(name for part in parts for name in (*part.shard.hosts, *part.begun.hosts)))
    seen = {name for part in parts for name in part.begun.hosts}
    example = [want for want in first.expected if want.host == first.hosts[0]]
    missing = (replace(want, host=name) for name in hosts if name not in seen for want in example)
    begun = replace(
        first,
        at=min(part.begun.at for part in parts),
        id=run,
        emulated=any(part.begun.emulated for part in parts),
        hosts=hosts,
        expected=(*(want for part in parts for want in part.begun.expected), *missing),
        options={name: value for name, value in first.options.items() if name not in {"shard", "args"}},
        groups={name: groups for part in parts for name, groups in part.begun.groups.items()},
        waivers=last.waivers,
        shard=None,
        merged=Merged(
            count=parts[0].shard.count,
            runs=tuple(
                MergedRun(run=part.begun.id, shard=part.shard.index, exit_code=part.record.run.exit_code)
                for part in parts
            ),
            problems=problems,
        ),
    )
    events: list[ev.AnyEvent] = [begun, *_shared(parts, begun.at)]
    events += sorted((event for part in parts for event in _own(part)), key=lambda event: event.at)
    redactions: dict[str, int] = {}
    for part in parts:
        for name, count in part.record.redactions.items():
            redactions[name] = redactions.get(name, 0) + count
    at = max(part.record.run.finished or part.events[-1].at for part in parts)
    reason = "None of the merged parts of the audit has verified this host."
    events += [
        ev.HostLeft(at=at, host=name, state=HostState.UNKNOWN, reason=reason) for name in hosts if name not in seen
    ]
    ended = ev.RunFinished(at=at, exit_code=ExitCode.INCONCLUSIVE, redactions=redactions)
    record = fold([*events, ended])  # the verdict of a run that has ended, which its code follows from
    left = {host.state for host in record.hosts} - {HostState.UNKNOWN}
    return [*events, replace(ended, exit_code=exit_code(record.verdict, left))]


def _refuse_overlaps(parts: Sequence[Part]) -> None:
    for part, following in itertools.pairwise(parts):
        if part.shard.index == following.shard.index and part.shard.count == following.shard.count:
            raise UsageError(f"{part.name} and {following.name} are the same part: name one of them")
    part_of: dict[str, Part] = {}
    for part in parts:
        for host in part.begun.hosts:
            if (other_part := part_of.setdefault(host, part)) is not part:
                raise UsageError(
                    f"host {host} is in {other_part.name} and in {part.name}: they are of different selections; "
                    "audit all parts with the same target file and the same --host options"
                )
    kept_by: dict[str, Part] = {}
    for part in parts:
        for kept in part.events:
            if isinstance(kept, ev.EvidenceKept) and kept_by.setdefault(part.place_of(kept), part) is not part:
                raise UsageError(
                    f"{part.name} names evidence of another part: {kept.path}: its events were changed; "
                    "audit this part again"
                )


def _refuse_other_audits(parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        for what, expected, value in (
            ("of a number of parts", first.shard.count, part.shard.count),
            ("of a provider", first.begun.provider, part.begun.provider),
        ):
            if expected != value:
                raise UsageError(
                    f"{first.name} is {what} {expected}, {part.name} {what} {value}: they are not parts of one audit"
                )


def _problems(parts: Sequence[Part]) -> Iterator[str]:
    """Describe why the parts are not one complete audit, one sentence each."""
    count = parts[0].shard.count
    for index in sorted({*range(1, count + 1)} - {part.shard.index for part in parts}):
        yield f"shard {index}/{count} is missing"
    for what, values in (
        ("is of commit", [part.record.revision.sha or "" for part in parts]),
        ("was asked for revision", [part.begun.requested or "" for part in parts]),
        ("has the target file with digest", [part.shard.targets_sha256 for part in parts]),
        ("has the contract with digest", [part.begun.contract_sha256 for part in parts]),
    ):
        for part, value in zip(parts, values, strict=True):
            if value != values[0]:
                yield f"{part.name} {what} {_short(value)}, {parts[0].name} {what} {_short(values[0])}"
    oldest = min(parts, key=lambda part: part.begun.at)
    for part in parts:
        if (apart := part.begun.at - oldest.begun.at) > _APART:
            hours = apart / dt.timedelta(hours=1)
            yield f"{part.name} began {hours:.0f} h after {oldest.name}; hosts may have changed in between"
        run = part.record.run
        if part.shard.hosts != parts[0].shard.hosts:
            yield f"{part.name} is of another selection of hosts than {parts[0].name}"
        if run.exit_code == ExitCode.INTERNAL:
            yield f"{part.name} ended with a defect of Switchproof (exit code {ExitCode.INTERNAL:d})"
        if run.finished is None:
            yield f"{part.name} did not finish"
        for what, reason in (
            ("was interrupted", run.interrupted),
            ("has an incomplete report", run.unreported),
            ("skipped checks", run.selected),
            ("was refused", run.refusal.message if run.refusal else None),
        ):
            if reason:
                yield f"{part.name} {what}: {reason}"


def _short(value: str) -> str:
    return value[:_DIGITS] or "none"


def _shared(parts: Sequence[Part], at: dt.datetime) -> Iterator[ev.AnyEvent]:
    """Yield once the events that every part has about the run as a whole."""
    stood_in = {event.by: event for part in parts for event in part.events if isinstance(event, ev.Emulated)}
    yield from (replace(event, at=at) for event in stood_in.values())
    resolved = [event for part in parts for event in part.events if isinstance(event, ev.RevisionResolved)]
    if resolved and {part.record.revision.sha for part in parts} == {resolved[0].sha}:
        yield replace(resolved[0], at=at)


def _own(part: Part) -> Iterator[ev.AnyEvent]:
    """Yield the events of a part about its hosts, with the paths of evidence in the merged run."""
    for event in part.events:
        if isinstance(event, ev.EvidenceKept):
            yield replace(event, path=part.place_of(event))
        elif not isinstance(event, _OF_THE_WHOLE):
            yield event
