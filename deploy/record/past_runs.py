"""Reads the records of earlier runs: what they proved, and how long their phases took."""

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
from switchproof.deploy.record.facts import LOOKING_AHEAD, EarlierHost, EarlierRun, Leg, Phase, Typical
from switchproof.deploy.record.record import Host, PhaseTime, Record, read_record

LOOKED_AT = 300
"""Runs that are read for information only, the newest ones; reading them takes about a second at most."""

MEASURED = 20
"""Runs that a median is made from, the newest ones."""

NOT_PASSED_SHOWN = 200
"""Checks of one host that are listed as not passed in an earlier run."""


def proven(folder: Path, provider: str, host: str) -> list[Proven]:
    """Find the final systems of a host in canonical runs, the newest run first.

    Args:
        folder: The folder of runs; a missing one has none.
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
    """The part of a record that decides whether to read the rest; it is read many times faster."""

    run: _RunHead
    provider: str
    verdict: RunVerdict
    hosts: list[_HostHead]


def last_canonical(
    folder: Path, provider: str, hosts: Collection[str], before: dt.datetime
) -> tuple[Path, Record] | None:
    """Find the newest canonical run of at least these hosts that began before a time; None without one.

    Args:
        folder: The folder of runs.
        provider: Only runs of this provider count.
        hosts: Names of hosts.
        before: When the run began that is compared with it.

    Returns:
        Its `record.json`, and the record.
    """
    return _newest(_heads(folder, provider, hosts, before), {RunVerdict.CANONICAL})


def read_earlier(
    folder: Path, provider: str, hosts: Collection[str], mode: str, before: dt.datetime | None = None
) -> EarlierRead:
    """Read the runs to compare with: the newest canonical run, the newest of all, and usual durations.

    Args:
        folder: The folder of runs; a missing one has none.
        provider: Only runs of this provider count.
        hosts: Only runs of at least these hosts count.
        mode: Only phases of runs of this mode count for durations.
        before: When the run began that is compared with them; None for now.
    """
    began, hosts = before or dt.datetime.now(dt.UTC), frozenset(hosts)
    heads = list(_heads(folder, provider, hosts, began))
    return EarlierRead(
        canonical=_earlier(_newest(heads, {RunVerdict.CANONICAL}), hosts),
        previous=_earlier(_newest(heads, set(RunVerdict)), hosts),
        typical=tuple(_typical([head for _, head in heads if head.run.mode == mode], hosts)),
    )


def _typical(heads: list[_Head], hosts: Collection[str]) -> Iterator[Typical]:
    """Return the usual duration of phases that ended well, from the newest runs."""
    took: dict[tuple[str, Leg, Phase], list[float]] = {}
    for head in heads:
        for host in head.hosts:
            # A host may enter a phase several times on one leg; the sum counts.
            spent: dict[tuple[str, Leg, Phase], float] = {}
            for phase in host.phases if host.name in hosts else ():
                if phase.finished is not None and phase.problem is None:
                    key = (host.name, phase.leg, phase.phase)
                    spent[key] = spent.get(key, 0.0) + (phase.finished - phase.started).total_seconds()
            for key, seconds in spent.items():
                took.setdefault(key, []).append(seconds)
    for (name, leg, kind), row in took.items():
        newest = row[:MEASURED]
        yield Typical(host=name, leg=leg, phase=kind, median_s=round(median(newest), 3), runs=len(newest))


def _newest(heads: Iterable[tuple[Path, _Head]], verdicts: Collection[RunVerdict]) -> tuple[Path, Record] | None:
    """Read the first readable run with one of these verdicts."""
    for path, head in heads:
        if head.verdict in verdicts:
            with suppress(OSError, ValueError):
                return path, read_record(path)
    return None


def _earlier(newest: tuple[Path, Record] | None, hosts: Collection[str]) -> EarlierRun | None:
    if newest is None:
        return None
    path, record = newest
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
    """Yield the newest runs of at least these hosts, newest first, without those that prove nothing."""
    decoder = msgspec.json.Decoder(_Head)
    names = sorted((path for path in folder.glob("2*/record.json") if not path.parent.is_symlink()), reverse=True)
    matching = []
    for path in itertools.islice(names, LOOKED_AT):  # the name of a run's folder begins with its time
        try:
            head = decoder.decode(path.read_bytes())
        except (OSError, ValueError):  # an unreadable record proves nothing
            continue
        mine = head.provider == provider and head.run.mode not in LOOKING_AHEAD and head.run.started < before
        if mine and {host.name for host in head.hosts} >= set(hosts):
            matching.append((path, head))
    yield from sorted(matching, key=lambda each: each[1].run.started, reverse=True)


def _records(folder: Path) -> Iterator[Record]:
    for path in folder.glob("*/record.json"):
        if path.parent.is_symlink():
            continue
        try:
            yield read_record(path)
        except (OSError, ValueError):  # an unreadable record proves nothing
            continue
