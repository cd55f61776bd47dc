"""Report, summary and record tell how far the cutover is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.contract import ExitCode, RunVerdict
from switchproof.deploy.record import events as ev
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.record import Record
from switchproof.deploy.record.steps import Cutover, Lack, Missing
from switchproof.reports.page.conformance import render
from switchproof.reports.terminal.summary import render as summary
from tests.cutover.stories import after, step
from tests.reports import stories
from tests.schema import validate


def record_of(cutover: Cutover, code: ExitCode = ExitCode.CANONICAL) -> Record:
    """The record of an audit that came to this."""
    story = stories.canonical("a", "b", mode="audit")
    story.events.insert(-1, ev.CutoverJudged(at=story.at, cutover=cutover))
    record = story.record()
    record.run.exit_code = code
    return record


def test_the_steps_open_the_report() -> None:
    """The four steps stand above everything else of the run, with what proves each and when."""
    page = render(record_of(step(2).decide()))
    assert page.index('id="sp-verdict"') < page.index('id="sp-cutover"') < page.index("What, where, when and who")
    for title in ("AWS is canonical", "OVH is ready", "OVH is production", "AWS is gone"):
        assert title in page
    assert page.count("not proven") == 2
    assert "staging-drill" in page


def test_the_summary_tells_the_steps() -> None:
    """The last lines on the terminal name each step, what proves it, and what the next one lacks."""
    said = " ".join(summary(record_of(step(2).decide()), Path("runs/x")).split())
    assert "2 OVH is ready: proven" in said
    assert "3 OVH is production: not proven" in said
    assert "lacks: a canonical deploy to all of group production (a)" in said


def test_a_step_backwards_is_no_canonical_run() -> None:
    """However well the hosts are, a cutover that has gone backwards is not canonical, and every output says why."""
    story = after(4)
    story.entries = list(step(3).entries)
    record = record_of(story.decide(), ExitCode.SAFE_FAILURE)
    assert record.verdict is RunVerdict.NON_CANONICAL
    assert "gone backwards" in render(record)
    assert "gone backwards" in summary(record, Path("runs/x"))


def test_a_record_without_it_is_as_ever() -> None:
    """Runs that are no audits of the cutover say nothing of it."""
    record = stories.canonical("a").record()
    assert record.cutover is None
    assert "sp-cutover" not in render(record)
    assert "Cutover" not in summary(record, Path("runs/x"))


def test_the_record_is_as_published() -> None:
    """What is decided stands in `record.json` as its schema says, and comes back from there."""
    written = msgspec.json.encode(record_of(step(4).decide()))
    validate(written)
    assert msgspec.json.decode(written, type=Record).cutover == step(4).decide()


def test_a_journal_tells_it_again() -> None:
    """The record is a fold over the journal, the cutover included."""
    events = stories.canonical("a").events
    events.insert(-1, ev.CutoverJudged(at=events[-1].at, cutover=step(1).decide()))
    assert fold(events).cutover == step(1).decide()


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a\x1b[31m\u202eb", "x" * 5000])
def test_lines_of_a_repository_are_only_text(text: str) -> None:
    """What stood in somebody's repository is escaped, stripped and cut in the report and on the terminal."""
    cutover = step(3).decide()
    last = msgspec.structs.replace(cutover.steps[3], missing=(Missing(lack=Lack.REFUTED, words=text),))
    record = record_of(msgspec.structs.replace(cutover, steps=(*cutover.steps[:3], last), words=text))
    for said in (render(record), summary(record, Path("runs/x"))):
        assert "<script>alert" not in said or said.startswith("CANONICAL")
        assert "\x1b" not in said
        assert "x" * 2000 not in said
