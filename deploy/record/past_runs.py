"""What earlier runs proved: the records that a folder of runs holds."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median

import msgspec

from switchproof.deploy.contract import HostState, RunVerdict, Verdict
from switchproof.deploy.observe.earlier import Proven
from switchproof.deploy.record.events import EarlierRead
from switchproof.deploy.record.facts import EarlierHost, EarlierRun, Leg, Phase, Typical
from switchproof.deploy.record.record import Host, PhaseTime, Record, read_record

LOOKED_AT = 300
"""Runs that are looked at for what is only told, the newest ones: reading them takes about a second at most."""

MEASURED = 20
"""Runs that a median is made of, the newest ones."""

NOT_PASSED_SHOWN = 200
"""Checks of one host that are named as not passed in an earlier run."""


def proven(folder: Path, provider: str, host: str) -> list[Proven]:
    """Find the systems that canonical runs left a host with, the newest run first.

    Args:
        folder: Where runs are kept; one that is not there holds none.
        provider: Only runs of this provider count.
        host: The host's name.
    """
    return [
        Proven(left.after.toplevel, record.run.id)
        for record in sorted(_records(folder), key=lambda record: record.run.started, reverse=True)
        if record.verdict is RunVerdict.CANONICAL and record.provider == provider
        for left in record.hosts
        if left.name == host and left.state is HostState.CONVERGED and left.after and left.after.toplevel
    ]


class _RunHead(msgspec.Struct):
    mode: str
    started: dt.datetime


class _HostHead(msgspec.Struct):
    name: str
    phases: list[PhaseTime] = []


class _Head(msgspec.Struct):
    """The part of a record that tells whether the rest is worth reading; it is read many times faster."""

    run: _RunHead
    provider: str
    verdict: RunVerdict
    hosts: list[_HostHead]


def last_canonical(
    folder: Path, provider: str, hosts: Collection[str], before: dt.datetime
) -> tuple[Path, Record] | None:
    """Find the newest canonical run of at least these hosts that began before a time, None if there is none.

    Args:
        folder: Where runs are kept.
        provider: Only runs of this provider count.
        hosts: Names of hosts.
        before: When the run began that is held against it.

    Returns:
        Its `record.json`, and the record.
    """
    return _newest(_heads(folder, provider, hosts, before), {RunVerdict.CANONICAL})


def read_earlier(
    folder: Path, provider: str, hosts: Collection[str], mode: str, before: dt.datetime | None = None
) -> EarlierRead:
    """Read what a run is held against: the newest canonical run, the newest of all, and how long phases took.

    Args:
        folder: Where runs are kept; one that is not there holds none.
        provider: Only runs of this provider count.
        hosts: Only runs of at least these hosts count.
        mode: Phases of other modes take their own time and do not count.
        before: When the run began that is held against them; None for now.
    """
    began, hosts = before or dt.datetime.now(dt.UTC), frozenset(hosts)
    heads = list(_heads(folder, provider, hosts, began))
    return EarlierRead(
        canonical=_earlier(_newest(heads, {RunVerdict.CANONICAL}), hosts),
        previous=_earlier(_newest(heads, set(RunVerdict)), hosts),
        typical=tuple(_typical([head for _, head in heads if head.run.mode == mode], hosts)),
    )


def _typical(heads: list[_Head], hosts: Collection[str]) -> Iterator[Typical]:
    """Say how long phases that ended well took, from the newest runs."""
    took: dict[tuple[str, Leg, Phase], list[float]] = {}
    for head in heads:
        for host in head.hosts:
            # A host may be in a phase several times on one leg; then it is the whole that takes its time.
            spent: dict[tuple[str, Leg, Phase], float] = {}
            for one in host.phases if host.name in hosts else ():
                if one.finished is not None and one.problem is None:
                    key = (host.name, one.leg, one.phase)
                    spent[key] = spent.get(key, 0.0) + (one.finished - one.started).total_seconds()
            for key, seconds in spent.items():
                took.setdefault(key, []).append(seconds)
    for (name, leg, phase), row in took.items():
        newest = row[:MEASURED]
        yield Typical(host=name, leg=leg, phase=phase, median_s=round(median(newest), 3), runs=len(newest))


def _newest(heads: Iterable[tuple[Path, _Head]], verdicts: Collection[RunVerdict]) -> tuple[Path, Record] | None:
    """Read the first run with one of these verdicts that can be read."""
    for path, head in heads:
        if head.verdict in verdicts:
            with suppress(OSError, ValueError):
                return path, read_record(path)
    return None


def _earlier(found: tuple[Path, Record] | None, hosts: Collection[str]) -> EarlierRun | None:
    if found is None:
        return None
    path, record = found
    return EarlierRun(
        run=record.run.id,
        folder=path.parent.name,
        mode=record.run.mode,
        started=record.run.started,
        verdict=record.verdict,
        sha=record.revision.sha,
        contract_sha256=record.contract_sha256,
        hosts=tuple(_earlier_host(host) for host in record.hosts if host.name in hosts),
    )


def _earlier_host(host: Host) -> EarlierHost:
    bad = [check for part in host.parts for check in part.checks if check.verdict is not Verdict.PASSED]
    return EarlierHost(
        name=host.name,
        toplevel=host.after.toplevel if host.after else None,
        generation=host.after.generation if host.after else None,
        not_passed={check.id: str(check.verdict) for check in bad[:NOT_PASSED_SHOWN]},
    )


def _heads(folder: Path, provider: str, hosts: Collection[str], before: dt.datetime) -> Iterator[tuple[Path, _Head]]:
    """Give the newest runs of at least these hosts, newest first; plans change and prove nothing."""
    decoder = msgspec.json.Decoder(_Head)
    names = sorted((path for path in folder.glob("2*/record.json") if not path.parent.is_symlink()), reverse=True)
    found = []
    for path in itertools.islice(names, LOOKED_AT):  # a run's folder begins with when it began
        try:
            head = decoder.decode(path.read_bytes())
        except (OSError, ValueError):  # not ours to judge: a record that cannot be read proves nothing
            continue
        mine = head.provider == provider and head.run.mode != "plan" and head.run.started < before
        if mine and {host.name for host in head.hosts} >= set(hosts):
            found.append((path, head))
    yield from sorted(found, key=lambda one: one[1].run.started, reverse=True)


def _records(folder: Path) -> Iterator[Record]:
    for path in folder.glob("*/record.json"):
        if path.parent.is_symlink():
            continue
        try:
            yield read_record(path)
        except (OSError, ValueError):  # not ours to judge: a record that cannot be read proves nothing
            continue
