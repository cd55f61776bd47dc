"""One host costs a run no more than one host may, and the verdict of others and of itself stays."""

from __future__ import annotations

import datetime as dt
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.host import limits
from switchproof.deploy.host.budget import Budget, OverBudget, longest_s
from switchproof.deploy.host.dialogue import Dialogue
from switchproof.deploy.providers import load
from switchproof.deploy.record.events import CheckFinished, Happened, LogLine, Noted
from switchproof.deploy.record.journal import Journal, read_events
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.settings import TARGETS
from tests.host.test_dialogue import Host


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_host_has_so_many_bytes_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many answers that each are small enough are too many together; then the host is not asked any more."""
    monkeypatch.setattr(limits, "RECEIVED", 1000)
    budget = Budget("a", 60.0)
    for _ in range(10):
        with budget.waiting():
            budget.take(100)
    with pytest.raises(OverBudget, match="a: it sent 1001 bytes, more than the 1000 accepted"):
        budget.take(1)
    with pytest.raises(OverBudget), budget.waiting():
        pytest.fail("the host is asked again")


def test_a_host_has_so_much_time_in_all() -> None:
    """Only waiting for answers counts, also for those that fail; what is between them is nobody's fault."""
    clock = Clock()
    budget = Budget("a", 10.0, clock)
    for _ in range(3):
        with suppress(TimeoutError), budget.waiting():
            clock.now += 4.0
            raise TimeoutError
        clock.now += 1000.0
    with pytest.raises(OverBudget, match="a: the run waited 12 s for its answers, more than 10 s"), budget.waiting():
        pytest.fail("the host is asked again")


def test_no_honest_host_comes_near_it() -> None:
    """Every leg of a drill and its way back fits, each with its longest switch, watch and wait."""
    target = load(TARGETS / "lab.toml", {})
    leg = target.converge.timeout_s + target.health.longest_s
    assert longest_s(target) > 4 * leg + 2 * target.confirm_s + 900.0


def test_a_run_asks_no_host_over_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer that is too much is not believed, and the next question is not asked."""
    monkeypatch.setattr(limits, "RECEIVED", 500)
    host = Host(*[b"ok"] * 10)
    dialogue = Dialogue("a", host, Journal(tmp_path, Redactor()), stop=threading.Event(), values={})
    with suppress(OverBudget):
        for _ in range(10):
            dialogue.ask("confirm", {})
    left = len(host.answers)
    assert 0 < left < 10
    with pytest.raises(OverBudget):
        dialogue.ask("confirm", {})
    assert len(host.answers) == left


def finished(host: str, message: str) -> CheckFinished:
    return CheckFinished(
        host=host,
        leg="forward",
        clause=Clause.RUNTIME,
        id="runtime/live/x",
        title="x",
        verdict=Verdict.FAILED,
        started=dt.datetime.now(dt.UTC),
        seconds=1.0,
        message=message,
        expected="",
        seen="",
        evidence=(),
    )


def test_what_is_kept_of_a_host_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events, evidence and shown lines share one budget. Beyond it verdicts stay, this host's texts are cut."""
    monkeypatch.setattr(limits, "KEPT", 20_000)
    journal = Journal(tmp_path, Redactor())
    shown: list[str] = []
    journal.watch(lambda event: shown.append(event.text) if isinstance(event, LogLine) else None)
    journal.keep("a", "log", "", "x" * 8000)
    for number in range(100):
        journal.emit(LogLine(host="a", text=f"{number} {'y' * 100}"))
        journal.emit(Happened(host="a", kind="lost", text="z" * 100))
    journal.emit(finished("a", "m" * 100_000))
    assert journal.keep("a", "more", "", "x") == ""
    assert 0 < len(shown) < 100
    journal.emit(finished("b", "m" * 10_000))
    journal.close()
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size < 20_000 + 2 * 10_000
    events = list(read_events(tmp_path / "events.jsonl"))
    verdicts = {event.host: event for event in events if isinstance(event, CheckFinished)}
    assert verdicts["a"].verdict is Verdict.FAILED
    assert "characters are left out here" in verdicts["a"].message
    assert verdicts["b"].message == "m" * 10_000
    notes = [event.text for event in events if isinstance(event, Noted)]
    assert [note.split(":")[0] for note in notes] == [
        "a has used up the 20000 bytes kept per host",
        "Evidence is missing",
    ]
