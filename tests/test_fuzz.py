"""Whatever is read back or comes from outside, a reader ends with a result or with an error that people can read."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.host.frame import parse, read_sections
from switchproof.deploy.providers import load
from switchproof.reports.kept.lookup import read_run
from switchproof.reports.terminal import summary
from tests.answers import NONCE, SECTIONS, packed, payload
from tests.reports import stories

STORY = stories.rolled_back()
RECORD = json.loads(msgspec.json.encode(STORY.record()))
EVENTS = [json.loads(msgspec.json.encode(event)) for event in STORY.events]
TARGETS = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "deploy" / "targets").glob("*.toml"))]
SAID = {name: body if isinstance(body, bytes) else body.encode() for name, body in SECTIONS.items()}
WHOLE = packed(payload(SAID))

JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    10**400,
    "",
    "\u00b2",
    "9" * 5000,
    "x" * 5000,
    [],
    {},
    [[]],
    "../../x",
    "\u202e",
)
TIMES = ("2026-13-45T99:99:99Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")
BYTES = (b"", b"\xff", b'"', b"[", b"]", b"=", b"9" * 400, b"\n", b"1e999", b"nan", b"\\u0000", b"-1")
junk = st.sampled_from((*JUNK, *TIMES))
pieces = st.sampled_from(BYTES)
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[Any] = list(value.items()) if isinstance(value, dict) else []
    inner = inner or (list(enumerate(value)) if isinstance(value, list) else [])
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def spoiled(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    """The same, with something else at a place."""
    if not place:
        return other
    fresh = dict(value) if isinstance(value, dict) else list(value)
    fresh[place[0]] = spoiled(value[place[0]], place[1:], other)
    return fresh


@few
@given(place=st.sampled_from(places(RECORD)), other=junk)
def test_a_record_with_anything_in_it(tmp_path: Path, place: tuple[Any, ...], other: Any) -> None:
    """A record in which one value is another is shown, or refused by its path."""
    (tmp_path / "record.json").write_text(json.dumps(spoiled(RECORD, place, other)))
    with suppress(SwitchproofError):
        summary.render(read_run(str(tmp_path)), tmp_path, colour=False)


def test_a_record_without_the_contract_s_clauses_is_none(tmp_path: Path) -> None:
    """Fuzzing found it: a host without clauses ended the summary with an IndexError."""
    place = next(place for place in places(RECORD) if place[-1:] == ("clauses",))
    (tmp_path / "record.json").write_text(json.dumps(spoiled(RECORD, place, [])))
    with pytest.raises(SwitchproofError, match="does not have the contract's clauses"):
        read_run(str(tmp_path))


@few
@given(number=st.integers(0, len(EVENTS) - 1), other=junk, data=st.data())
def test_events_with_anything_in_them(tmp_path: Path, number: int, other: Any, data: st.DataObject) -> None:
    """Events of which one is another, or is missing, become a record, or are refused by their path."""
    place = data.draw(st.sampled_from(places(EVENTS[number])))
    lines = [spoiled(event, place, other) if at == number else event for at, event in enumerate(EVENTS)]
    (tmp_path / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with suppress(SwitchproofError):
        read_run(str(tmp_path / "events.jsonl"))


@pytest.mark.parametrize("seconds", [1e308, -1e308, 3e11])
@pytest.mark.parametrize("kind", ["check_finished", "watched"])
def test_a_duration_beyond_the_calendar_ends_nothing(tmp_path: Path, kind: str, seconds: float) -> None:
    """Fuzzing found it: a time and such a duration ended the reader with an OverflowError."""
    at, event = next((at, event) for at, event in enumerate(EVENTS) if event["event"] == kind)
    place = next(place for place in places(event) if place[-1:] == ("seconds",))
    lines = [spoiled(event, place, seconds) if number == at else event for number, event in enumerate(EVENTS)]
    (tmp_path / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    record = read_run(str(tmp_path / "events.jsonl"))
    assert summary.render(record, tmp_path, colour=False)


def spoil(text: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    for at, size, piece in cuts:
        begin = at % (len(text) + 1)
        text = text[:begin] + piece + text[begin + size :]
    return text


cuts = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 30), pieces | st.binary(max_size=4)), max_size=3)


@few
@given(text=st.sampled_from(TARGETS), cut=cuts)
def test_a_target_file_with_anything_in_it(tmp_path: Path, text: bytes, cut: list[tuple[int, int, bytes]]) -> None:
    """A target file in which some bytes are others is read, or refused with what is wrong."""
    (tmp_path / "target.toml").write_bytes(spoil(text, cut))
    with suppress(SwitchproofError):
        load(tmp_path / "target.toml", {})


@few
@given(cut=cuts, times=st.integers(1, 3))
def test_an_answer_with_anything_in_it(cut: list[tuple[int, int, bytes]], times: int) -> None:
    """An answer in which some bytes are others is the answer that it was, or none."""
    with suppress(SwitchproofError):
        assert parse(spoil(WHOLE * times, cut), nonce=NONCE, verb="observe").sections == SAID
    with suppress(SwitchproofError):
        read_sections("observe", spoil(payload(SAID), cut))
