"""Writes the journal of a run: its events, flushed as they happen, and its evidence."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast, get_args

import msgspec
from msgspec.structs import replace

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.host import limits
from switchproof.deploy.record import facts
from switchproof.deploy.record.events import AnyEvent, EvidenceKept, Happened, LogLine, Noted
from switchproof.deploy.record.evidence import Shelf, shorten
from switchproof.deploy.record.room import Room
from switchproof.deploy.redact.redactor import Redactor


class Journal:
    """The events of one run, in its folder. Thread-safe.

    The redactor processes every string of every event, and every evidence file. A disk that fails during a run stops
    nothing: the events stay in memory, and `problem` names what could not be written.

    Args:
        folder: The run's folder, made if missing; `events.jsonl` and `evidence/` are written below it.
        redact: Removes secrets and control codes from text.
        room: Reserved disk space, used when the disk is full.

    Attributes:
        problem: The first file that could not be written, with the reason; empty without one.

    Raises:
        OSError: The files could not be created.
    """

    def __init__(self, folder: Path, redact: Redactor, room: Room | None = None) -> None:
        self.folder = folder
        self.redact = redact
        self.events: list[AnyEvent] = []
        self.problem = ""
        self._room = room
        self._torn = False
        self._watchers: list[Callable[[AnyEvent], None]] = []
        self._shelf = Shelf()
        self._full: set[str] = set()
        self._kept: Counter[str] = Counter()
        self._over: set[str] = set()
        self._lock = threading.RLock()
        (folder / "evidence").mkdir(parents=True, exist_ok=True)
        self._file = (folder / "events.jsonl").open("ab")

    def watch(self, watcher: Callable[[AnyEvent], None]) -> None:
        """Call `watcher` with every later event, from the thread in which it happens."""
        self._watchers.append(watcher)

    def emit(self, event: AnyEvent) -> None:
        """Append an event, and flush it to the file before the watchers get it."""
        cleaned = _cleaned(event, self.redact)
        with self._lock:
            fitting = self._fitting(cleaned)
            if fitting is None:
                return
            cleaned, line = fitting
            if not isinstance(cleaned, LogLine):
                self.events.append(cleaned)
                if not self._file.closed and not self._torn:
                    self._append(line)
            for watcher in self._watchers:
                watcher(cleaned)

    def _fitting(self, event: AnyEvent) -> tuple[AnyEvent, bytes] | None:
        """Return an event with its line; for a host over its budget, only deciding events, shortened."""
        line, host = msgspec.json.encode(event) + b"\n", getattr(event, "host", None)
        if host is None:
            return event, line
        if self._kept[host] + len(line) > limits.KEPT:
            self._note_over(host)
            if isinstance(event, Noted | Happened | LogLine):
                return None
            event = _cut(event)
            line = msgspec.json.encode(event) + b"\n"
        self._kept[host] += len(line)
        return event, line

    def _note_over(self, host: str) -> None:
        """Note once that a host has used up its budget."""
        if host not in self._over:
            self._over.add(host)
            text = f"{host} has used up the {limits.KEPT} bytes kept per host: its texts are cut from here on."
            self.emit(Noted(host=None, text=text))

    def _append(self, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
        except OSError:
            self._torn = True
            if self._room and self._room.release():
                self._torn = not self._rewrite()

    def _rewrite(self) -> bool:
        """Write all events again, because the file may end within a line; return whether that succeeded."""
        body = b"".join(msgspec.json.encode(event) + b"\n" for event in self.events)
        with suppress(OSError):
            self._file.close()
        try:
            # In place, because the process holds a lock on this very file.
            with (self.folder / "events.jsonl").open("r+b") as file:
                file.truncate()
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            self._file = (self.folder / "events.jsonl").open("ab")
        except OSError:
            return False
        return True

    def keep(self, host: str | None, name: str, title: str, content: str) -> str:
        """Keep a text as evidence.

        Args:
            host: The host that it is about, None for the run as a whole.
            name: The wanted name of the file, which may come from the host; the file gets a safe name.
            title: The content, for readers.
            content: The text as the host sent it.

        Returns:
            The file's path, relative to the run's folder; empty if there was no room for it.

        Raises:
            ValueError: The name leads out of the host's folder.
        """
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(
                f"evidence of {host or 'the run'} cannot be kept as {name!r}: its path leaves the folder"
            )
        about = host or "run"
        with self._lock:
            fitting = None if about in self._over else self._shelf.fit(about, content)
            full, self._full = about in self._full, self._full | ({about} if fitting is None else set())
            path = Path("evidence") / about / ("" if fitting is None else self._shelf.name(about, self.redact(name)))
        if fitting is None:
            if not full:
                limit = f"{limits.FILES} files, {limits.EVIDENCE} characters or {limits.KEPT} bytes with all events"
                self.emit(Noted(host=None, text=f"Evidence is missing: no more than {limit} are kept of {about}."))
            return ""
        if path.name != Path(name).name:
            fitting = f"{name}\n{fitting}"
        body = self.redact(fitting).encode()
        with self._lock:
            self._kept[about] += len(body)
        try:
            self._write_evidence(self.folder / path, body)
        except OSError as error:
            self._lack(f"{path}: {error.strerror}")
            self.emit(Noted(host=host, text=f"Evidence is missing: {path} could not be written: {error.strerror}"))
            return ""
        self.emit(
            EvidenceKept(
                host=host,
                title=title,
                path=str(path),
                sha256=hashlib.sha256(body).hexdigest(),
                bytes=len(body),
            )
        )
        return str(path)

    def _write_evidence(self, target: Path, body: bytes) -> None:
        partial = target.with_name(target.name + ".partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(body)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            if not (self._room and self._room.release()):
                raise
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(body)
        partial.replace(target)

    def _lack(self, problem: str) -> None:
        self.problem = self.problem or problem

    def settle(self) -> None:
        """Release the reserved space for the report, and try again to write the missing events."""
        with self._lock:
            if self._room:
                self._room.release()
            if self._torn:
                self._torn = not self._rewrite()
            if self._torn:
                self._lack("events.jsonl")

    def close(self) -> None:
        """Sync the file to disk. Watchers still get later events, but they are not written."""
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                self._lack(f"events.jsonl: {error.strerror}")
            with suppress(OSError):
                self._file.close()


def read_events(path: Path) -> Iterator[AnyEvent]:
    """Read the events of a run, also of a run that was killed within a line.

    Raises:
        ValueError: A line other than the last is no event; the message names file and line.
    """
    decoder = msgspec.json.Decoder(AnyEvent)
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            yield decoder.decode(line)
        except ValueError as error:
            if number == len(lines):
                return
            raise ValueError(f"{path}:{number}: not an event of a run: {error}") from error


_ENUM_VALUES = frozenset(
    {
        *(word for words in (facts.Leg, facts.Phase, facts.MomentKind) for word in get_args(words)),
        *("before", "after"),
    }
)
"""Values of the events' own enumerations, which stay unchanged even if a secret is spelled alike."""

_NO_TEXT = frozenset({bool, int, float, dt.datetime, type(None)})
"""Types of values that hold no text."""

_T = TypeVar("_T")


def _cut(value: _T) -> _T:
    """Return a copy with long texts shortened, and only the first items of long lists."""
    cut: object = value
    match value:
        case enum.Enum():
            pass
        case str():
            cut = shorten(value, limits.CUT)
        case dict():
            cut = {key: _cut(item) for key, item in list(value.items())[: limits.CUT_ITEMS]}
        case tuple():
            cut = tuple(_cut(item) for item in value[: limits.CUT_ITEMS])
        case msgspec.Struct():
            fields = {name: _cut(getattr(value, name)) for name in value.__struct_fields__}
            cut = replace(value, **fields)
        case _:
            pass
    return cast("_T", cut)


def _cleaned(value: _T, redact: Redactor) -> _T:
    """Return a value with all free text redacted: itself if that changes nothing, else a copy."""
    cleaned: object = value
    match value:
        case enum.Enum():
            pass
        case str() if value not in _ENUM_VALUES:
            cleaned = redact(value)
        case dict():
            cleaned = {key: _cleaned(item, redact) for key, item in value.items()}
        case tuple():
            items = tuple(_cleaned(item, redact) for item in value)
            if any(item is not old for item, old in zip(items, value, strict=True)):
                cleaned = items
        case msgspec.Struct():
            kept = {"kind"} if isinstance(value, ConnectionFacts) else set[str]()
            changed = {}
            for name in value.__struct_fields__:
                field = getattr(value, name)
                if not field or type(field) in _NO_TEXT or name in kept:
                    continue
                if (clean := _cleaned(field, redact)) is not field:
                    changed[name] = clean
            cleaned = replace(value, **changed) if changed else value
    return cast("_T", cleaned)
