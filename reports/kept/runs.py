"""The runs that a folder keeps, as much of each as a list of them needs; none is passed over."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from switchproof.deploy.contract import HostState, RunVerdict, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.hold import is_held
from switchproof.deploy.record.record import Record
from switchproof.reports import files, reading
from switchproof.reports.kept.lookup import read_run

_NAME = re.compile(r"(?P<at>\d{8}T\d{6}Z)-(?P<mode>[a-z]+)(?:-(?P<provider>[A-Za-z0-9_.]+))?")
_DIGESTS = ".digests.json"
_FORM = 1
"""Of the digests; those of another form are made again."""


class KeptHost(msgspec.Struct, kw_only=True, frozen=True):
    """A host of a kept run; `toplevel` is the system that it was left with."""

    name: str
    state: HostState
    verdict: Verdict
    toplevel: str | None = None


class Digest(msgspec.Struct, kw_only=True, frozen=True):
    """What is told of a run whose files can be read.

    Attributes:
        word: The verdict in one word, as `reading.verdict_word` has it.
        sentence: Why the verdict is what it is.
        took_s: Seconds from its beginning to its end; None for a run that has none.
    """

    id: str
    mode: str
    provider: str
    emulated: bool
    started: dt.datetime
    took_s: float | None
    verdict: RunVerdict
    word: str
    sentence: str
    requested: str | None
    sha: str | None
    subject: str | None
    hosts: tuple[KeptHost, ...]


class Kept(msgspec.Struct, kw_only=True, frozen=True):
    """One entry of a folder of runs.

    Attributes:
        folder: Its name.
        end: `over`: it has a record; `going-on`: it has none yet, and its process lives; `killed`: it has none and
            never will; `unreadable`: what is there cannot be read as a run.
        started: When it began, as its record says, or else its name; None where neither does.
        digest: None of an unreadable one.
        problem: Why it cannot be read.
    """

    folder: str
    end: Literal["over", "going-on", "killed", "unreadable"]
    started: dt.datetime | None
    mode: str
    provider: str
    digest: Digest | None = None
    problem: str = ""


class _Stamp(msgspec.Struct, frozen=True, array_like=True):
    """Which file a digest was made of, and as it was when."""

    name: str
    modified_ns: int
    size: int


_Known: TypeAlias = dict[str, tuple[_Stamp, Digest]]
"""Digests by the names of the folders."""


class _Digests(msgspec.Struct):
    form: int
    runs: _Known


def read_kept(folder: Path) -> list[Kept]:
    """Read which runs a folder keeps, the newest first.

    Each run's files are read once; what was learnt is kept beside them, and read again when they change.

    Args:
        folder: Where runs are kept; one that is not there holds none.
    """
    known = _known(folder)
    found: _Known = {}
    runs = [_kept(place, known, found) for place in _places(folder)]
    if found != known:
        with suppress(OSError):  # then they are made again next time
            files.write_text(folder / _DIGESTS, msgspec.json.encode(_Digests(_FORM, found)).decode())
    never = dt.datetime.min.replace(tzinfo=dt.UTC)
    return sorted(runs, key=lambda run: (run.started or never, run.folder), reverse=True)


def is_run_name(name: str) -> bool:
    """Whether a folder is named as runs name theirs."""
    return _NAME.match(name) is not None


def _places(folder: Path) -> list[Path]:
    """Find what is a run's folder by its name or by what it holds; links are other names of the same."""
    if not folder.is_dir():
        return []
    return [
        place
        for place in folder.iterdir()
        if not place.name.startswith(".")
        and not place.is_symlink()
        and place.is_dir()
        and (is_run_name(place.name) or any((place / name).exists() for name in ("record.json", "events.jsonl")))
    ]


def _kept(place: Path, known: _Known, found: _Known) -> Kept:
    """Say what an entry of the folder is, and put its digest among those found."""
    stamp = _stamp(place)
    over = stamp is not None and stamp.name == "record.json"
    going_on = not over and is_held(place)
    parts = _NAME.match(place.name)
    told = parts.groupdict() if parts else {}
    by_name = Kept(
        folder=place.name,
        end="going-on" if going_on else "unreadable",
        started=_started(told.get("at")),
        mode=told.get("mode") or "",
        provider=told.get("provider") or "",
    )
    if stamp is None:
        return replace(by_name, problem="there is neither a record.json nor an events.jsonl in it")
    was = known.get(place.name)
    try:
        digest = was[1] if was is not None and was[0] == stamp else _digest(read_run(str(place)))
    except UsageError as error:
        return replace(by_name, problem=str(error).replace(f"{place}/", ""))
    found[place.name] = (stamp, digest)
    return Kept(
        folder=place.name,
        end="over" if over else "going-on" if going_on else "killed",
        started=digest.started,
        mode=digest.mode,
        provider=digest.provider,
        digest=digest,
    )


def _stamp(place: Path) -> _Stamp | None:
    for name in ("record.json", "events.jsonl"):
        with suppress(OSError):
            found = (place / name).stat()
            return _Stamp(name, found.st_mtime_ns, found.st_size)
    return None


def _digest(record: Record) -> Digest:
    run = record.run
    return Digest(
        id=run.id,
        mode=run.mode,
        provider=record.provider,
        emulated=record.emulated,
        started=run.started,
        took_s=(run.finished - run.started).total_seconds() if run.finished else None,
        verdict=record.verdict,
        word=reading.verdict_word(record),
        sentence=reading.sentence(record),
        requested=record.revision.requested,
        sha=record.revision.sha,
        subject=record.revision.subject,
        hosts=tuple(
            KeptHost(
                name=host.name,
                state=host.state,
                verdict=host.verdict,
                toplevel=host.after.toplevel if host.after else None,
            )
            for host in record.hosts
        ),
    )


def _started(at: str | None) -> dt.datetime | None:
    with suppress(ValueError, TypeError):
        return dt.datetime.strptime(at or "", "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    return None


def _known(folder: Path) -> _Known:
    try:
        digests = msgspec.json.decode((folder / _DIGESTS).read_bytes(), type=_Digests)
    except (OSError, ValueError):  # there are none yet, or somebody else's
        return {}
    return digests.runs if digests.form == _FORM else {}
