"""Writes folders of made-up runs, for the tests of listing, showing and tidying them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from switchproof.deploy.record.events import AnyEvent
from switchproof.deploy.record.record import Evidence, Record, write_record
from switchproof.reports import files
from switchproof.reports.page import layout
from tests.reports.story import Story


def keep(folder: Path, story: Story, hours: float = 0, **changes: object) -> Path:
    """Keep a run that began some hours after the stories do; one that has no end leaves only its events."""
    events = [later(event, hours) for event in story.events]
    record = msgspec.structs.replace(at(story.record(), hours), **changes)
    name = files.run_name(record.run.started, record.run.mode, record.provider, record.revision.sha)
    place = files.make_folder(folder, name)
    lines = b"\n".join(msgspec.json.encode(event) for event in events)
    (place / "events.jsonl").write_bytes(lines + (b"\n" if record.run.finished else b'\n{"event":'))
    if record.run.finished:
        write_record(record, place / "record.json")
        (place / "report.html").write_text(layout.standalone(record, place), encoding="utf-8")
    return place


def with_files(record: Record, place: Path, content: Callable[[Evidence], bytes]) -> Record:
    """Write the evidence of a record below a folder, and return the record with the files' own sizes and digests."""
    kept = []
    for evidence in record.evidence:
        if ".." not in evidence.path:
            file, body = place / evidence.path, content(evidence)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
            digest = hashlib.sha256(body).hexdigest()
            kept.append(msgspec.structs.replace(evidence, sha256=digest, bytes=len(body)))
    return msgspec.structs.replace(record, evidence=kept)


def at(record: Record, hours: float) -> Record:
    """Return a record whose run began and ended later."""
    shift, run = dt.timedelta(hours=hours), record.run
    finished = run.finished + shift if run.finished else None
    return msgspec.structs.replace(
        record, run=msgspec.structs.replace(run, started=run.started + shift, finished=finished)
    )


def later(event: AnyEvent, hours: float) -> AnyEvent:
    """Return an event that happened later."""
    return msgspec.structs.replace(event, at=event.at + dt.timedelta(hours=hours))
