"""What happens is written down at once, clean, and can be read back."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import threading
from pathlib import Path

import pytest

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.contract import Clause, HostState, Verdict
from switchproof.deploy.record import facts
from switchproof.deploy.record.events import (
    AnyEvent,
    Connected,
    LogLine,
    Noted,
    PhaseStarted,
    SystemIdentity,
    SystemSeen,
    Watched,
)
from switchproof.deploy.record.journal import Journal, read_events
from switchproof.deploy.redact.redactor import Redactor
from tests.reports import stories
from tests.reports.story import BEGIN, Story

STORIES = [stories.canonical, stories.rolled_back, stories.unsafe, stories.inconclusive, stories.killed]


def written(folder: Path, events: list[AnyEvent], redact: Redactor | None = None) -> Path:
    journal = Journal(folder, redact or Redactor())
    for event in events:
        journal.emit(event)
    journal.close()
    return folder / "events.jsonl"


def note(text: str) -> Noted:
    return Noted(at=BEGIN, host=None, text=text)


@pytest.mark.parametrize("story", STORIES)
def test_events_are_read_back_as_they_were(story: type[Story], tmp_path: Path) -> None:
    """Every kind of event comes back from the file as it was, type and order included."""
    events = story().events
    path = written(tmp_path, events)
    assert list(read_events(path)) == events
    assert len(path.read_bytes().splitlines()) == len(events)


def test_event_cut_short_at_the_end_is_forgiven(tmp_path: Path) -> None:
    """A journal that ends in the middle of its last line, even of a character, is read up to that line."""
    path = written(tmp_path, [note("one"), note("zwei → 漢字 ✓")])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert list(read_events(path)) == [note("one")], whole[:end]
    path.write_bytes(whole[:-1])
    assert list(read_events(path)) == [note("one"), note("zwei → 漢字 ✓")]
    path.write_bytes(whole + b"\0\0\0")
    assert len(list(read_events(path))) == 2


@pytest.mark.parametrize(
    "damage",
    [
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"event":"noted","at":"2026-11-23T15:12:03Z","host":null,"text":"\xe2\x28"}',
        b'{"event":"noted"}',
        b'{"event":"none of ours"}',
        b"null",
        b'{"at":"2026-11-23T15:12:03Z"}',
    ],
)
@pytest.mark.parametrize(
    "ends", [b"\n", b'\n{"event":"noted","at":"2026-11-23T15:12:03Z","host":null,"text":"x"}\n', b"\n{"]
)
def test_damage_elsewhere_is_refused(damage: bytes, ends: bytes, tmp_path: Path) -> None:
    """A whole line that is no event is refused by file and line, wherever it stands."""
    path = written(tmp_path, [note("one")])
    path.write_bytes(path.read_bytes() + damage + ends)
    with pytest.raises(ValueError, match=r"events\.jsonl:2: not an event of a run"):
        list(read_events(path))


def test_event_is_in_the_file_before_anyone_sees_it(tmp_path: Path) -> None:
    """A run that is killed at once has still written what it told."""
    journal = Journal(tmp_path, Redactor())
    seen: list[list[AnyEvent]] = []
    journal.watch(lambda _: seen.append(list(read_events(tmp_path / "events.jsonl"))))
    journal.emit(note("one"))
    journal.emit(note("two"))
    assert seen == [[note("one")], [note("one"), note("two")]]


def test_log_lines_are_watched_and_not_kept(tmp_path: Path) -> None:
    """A line of a log is shown, redacted, and stands in no file."""
    journal = Journal(tmp_path, Redactor([("TOKEN", "s3cr3t")]))
    seen: list[AnyEvent] = []
    journal.watch(seen.append)
    journal.emit(LogLine(at=BEGIN, host="a", text="\x1b[31mit is s3cr3t"))
    assert seen == [LogLine(at=BEGIN, host="a", text="it is [redacted: TOKEN]")]
    assert journal.events == []
    assert (tmp_path / "events.jsonl").read_bytes() == b""


def test_every_text_of_an_event_is_redacted(tmp_path: Path) -> None:
    """A secret is in no part of what is kept: not in texts, nested data, options or evidence."""
    story = Story("a", options={"args": "--x=s3cr3t"}).resolved("subject s3cr3t")
    story.check(
        "a", Clause.CONVERGE, "switched", Verdict.FAILED, "m s3cr3t", expected="s3cr3t", seen="\\u0073 s3cr3t"
    )
    story.tell(note("s3cr3t")).left("a", HostState.UNSAFE, "s3cr3t")
    story.seen("a", "before", "/nix/store/s3cr3t", 1)
    sample = facts.Sample(at_s=0.1, good=False, code=0, seconds=0.0, words="s3cr3t")
    watch = facts.Watch(
        leg="forward",
        endpoint="live",
        settled="unhealthy",
        began=BEGIN,
        seconds=1.0,
        limit_s=1.0,
        samples=(sample,),
        restarts=("s3cr3t",),
    )
    story.tell(Watched(host="a", watch=watch)).happened("a", "lost", "s3cr3t")
    path = written(tmp_path, story.events, Redactor([("TOKEN", "s3cr3t")]))
    assert b"s3cr3t" not in path.read_bytes()
    assert path.read_text().count("[redacted: TOKEN]") == 11


@pytest.mark.parametrize(
    "word",
    [
        "2026",
        "passed",
        "forward",
        "back",
        "converge",
        "before",
        "connected",
        "local",
        "deploy",
        "true",
        "null",
        "+00:00",
    ],
)
def test_secret_that_is_an_ordinary_word_breaks_nothing(word: str, tmp_path: Path) -> None:
    """A secret that happens to be a date, a verdict or a word of the journal changes no such thing."""
    story = stories.canonical("a").check("a", Clause.CONVERGE, "runs", Verdict.FAILED, f"it is {word}!", leg="back")
    events = list(read_events(written(tmp_path, story.events, Redactor([("WORD", word)]))))
    assert [type(event) for event in events] == [type(event) for event in story.events]
    assert [event.at for event in events] == [event.at for event in story.events]
    assert events[-1].message == "it is [redacted: WORD]!"  # type: ignore[union-attr]
    assert events[-1].verdict is Verdict.FAILED  # type: ignore[union-attr]
    assert events[-1].leg == "back"  # type: ignore[union-attr]


def test_secret_that_is_the_name_of_a_kind_of_provider_breaks_nothing(tmp_path: Path) -> None:
    """The word for the way to a host stays what it is; who we are on that way is text."""
    reached = Connected(at=BEGIN, host="a", connection=ConnectionFacts(kind="local", user="local"))
    (event,) = read_events(written(tmp_path, [reached], Redactor([("WORD", "local")])))
    assert isinstance(event, Connected)
    assert (event.connection.kind, event.connection.user) == ("local", "[redacted: WORD]")


@pytest.mark.parametrize(("host", "folder"), [("a", "a"), (None, "run")])
def test_evidence_is_kept_clean_and_with_its_digest(host: str | None, folder: str, tmp_path: Path) -> None:
    """Evidence stands redacted under its host, with the size and digest of what stands there."""
    journal = Journal(tmp_path, Redactor([("TOKEN", "s3cr3t")]))
    path = journal.keep(host, "diagnostics/journal/x\\x2d@1.service.txt", "a log", "é \x1b[0m\ud800s3cr3t\r\n")
    assert path == f"evidence/{folder}/diagnostics/journal/x\\x2d@1.service.txt"
    body = (tmp_path / path).read_bytes()
    assert body.decode() == "é \ufffd[redacted: TOKEN]\n"
    (kept,) = journal.events
    assert json.loads((tmp_path / "events.jsonl").read_text()) | {"at": ""} == {
        "event": "evidence_kept",
        "at": "",
        "host": host,
        "title": "a log",
        "path": path,
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
    }
    assert [found.name for found in tmp_path.rglob("*.partial")] == []
    assert kept in list(read_events(tmp_path / "events.jsonl"))


@pytest.mark.parametrize("name", ["../x.txt", "diagnostics/../../../x.txt", "/etc/x.txt"])
def test_evidence_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    """What a host calls its evidence cannot lead out of the run's folder."""
    journal = Journal(tmp_path / "run", Redactor())
    with pytest.raises(ValueError, match="its path leaves the folder"):
        journal.keep("a", name, "t", "x")
    assert list(tmp_path.rglob("x.txt")) == []


def test_hosts_may_tell_at_the_same_time(tmp_path: Path) -> None:
    """Events of several threads stand in the file each in its own line, in the order in which they were watched."""
    journal = Journal(tmp_path, Redactor())
    seen: list[AnyEvent] = []
    journal.watch(seen.append)

    def tell(host: str) -> None:
        for _ in range(50):
            journal.emit(PhaseStarted(host=host, phase="observe"))

    threads = [threading.Thread(target=tell, args=(host,)) for host in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(read_events(tmp_path / "events.jsonl")) == seen == journal.events
    assert len(seen) == 200


def test_event_after_the_end_is_only_watched(tmp_path: Path) -> None:
    """What is told after the journal was closed harms neither the file nor the teller."""
    journal = Journal(tmp_path, Redactor())
    journal.close()
    seen: list[AnyEvent] = []
    journal.watch(seen.append)
    journal.emit(note("late"))
    assert seen == [note("late")]
    assert (tmp_path / "events.jsonl").read_bytes() == b""


def test_times_are_utc(tmp_path: Path) -> None:
    """An event's time is in UTC, and written so."""
    system = SystemIdentity(toplevel=None, generation=None, revision=None, boot_id=None)
    path = written(tmp_path, [SystemSeen(host="a", when="before", system=system)])
    (event,) = read_events(path)
    assert event.at.tzinfo is dt.UTC
    assert json.loads(path.read_text())["at"].endswith("Z")
