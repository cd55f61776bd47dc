"""Reads all runs of a folder into the summaries that lists and the index need."""

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
"""Version of the file of digests; a file of another version is made again."""


class KeptHost(msgspec.Struct, kw_only=True, frozen=True):
    """A host of a kept run; `toplevel` is the store path of its last system."""

    name: str
    state: HostState
    verdict: Verdict
    toplevel: str | None = None


class Digest(msgspec.Struct, kw_only=True, frozen=True):
    """The summary of a readable run.

    Attributes:
        word: The verdict in one word, from `reading.verdict_word`.
        sentence: The reason for the verdict.
        took_s: Seconds from its start to its end; None if it did not finish.
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
        folder: The name of the run's folder.
        end: `over`: has a record; `going-on`: has none yet, and its process lives; `killed`: has none and never
            will; `unreadable`: its files cannot be read as a run.
        started: Its start, from the record or else the folder's name; None if neither has it.
        digest: Its summary; None if it is unreadable.
        problem: The reason why it cannot be read.
    """

    folder: str
    end: Literal["over", "going-on", "killed", "unreadable"]
    started: dt.datetime | None
    mode: str
    provider: str
    digest: Digest | None = None
    problem: str = ""


class _Stamp(msgspec.Struct, frozen=True, array_like=True):
    """The file from which a digest was made, with its time and size."""

    name: str
    modified_ns: int
    size: int


_Known: TypeAlias = dict[str, tuple[_Stamp, Digest]]
"""Digests by folder name."""


class _Digests(msgspec.Struct):
    form: int
    runs: _Known


def read_kept(folder: Path) -> list[Kept]:
    """Return all runs of a folder, the newest first.

    Each run's files are read once and again when they change; the digests are kept in the folder.

    Args:
        folder: The folder of kept runs; a missing folder has none.
    """
    known = _known(folder)
    digests: _Known = {}
    runs = [_kept(place, known, digests) for place in _places(folder)]
    if digests != known:
        with suppress(OSError):  # without the file, the digests are made again next time
            files.write_text(folder / _DIGESTS, msgspec.json.encode(_Digests(_FORM, digests)).decode())
    never = dt.datetime.min.replace(tzinfo=dt.UTC)
    return sorted(runs, key=lambda run: (run.started or never, run.folder), reverse=True)


def is_run_name(name: str) -> bool:
    """Whether a folder's name is that of a run."""
    return _NAME.match(name) is not None


def _places(folder: Path) -> list[Path]:
    """Return the run folders, known by their names or their files; links are skipped as second names."""
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


def _kept(place: Path, known: _Known, digests: _Known) -> Kept:
    """Read one folder, and add its digest to `digests`."""
    stamp = _stamp(place)
    over = stamp is not None and stamp.name == "record.json"
    going_on = not over and is_held(place)
    parts = _NAME.match(place.name)
    name_parts = parts.groupdict() if parts else {}
    by_name = Kept(
        folder=place.name,
        end="going-on" if going_on else "unreadable",
        started=_started(name_parts.get("at")),
        mode=name_parts.get("mode") or "",
        provider=name_parts.get("provider") or "",
    )
    if stamp is None:
        return replace(by_name, problem="there is neither a record.json nor an events.jsonl in it")
    was = known.get(place.name)
    try:
        digest = was[1] if was is not None and was[0] == stamp else _digest(read_run(str(place)))
    except UsageError as error:
        return replace(by_name, problem=str(error).replace(f"{place}/", ""))
    digests[place.name] = (stamp, digest)
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
            status = (place / name).stat()
            return _Stamp(name, status.st_mtime_ns, status.st_size)
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
    except (OSError, ValueError):  # no file yet, or not one of ours
        return {}
    return digests.runs if digests.form == _FORM else {}
