"""What is asked of a host is answered whole, or it is not known."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from pathlib import Path

import pytest

from deploy.connection import Completed, ConnectionLost, Program, text_of
from deploy.dialogue import Dialogue
from deploy.facts import ConnectionFacts
from deploy.frame import FrameError
from deploy.journal import ClockSeen, Happened, Journal, Noted
from deploy.redact import Redactor
from tests.answers import packed, payload


class Host:
    """A host that answers as it is told; None is no word at all."""

    def __init__(self, *answers: bytes | None) -> None:
        self.host = "a"
        self.facts = ConnectionFacts(kind="local")
        self.answers = list(answers)

    def connect(self, _: str) -> Host:
        return self

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        found = re.search(rb"SWITCHPROOF_NONCE=(\w+)", text_of(program))
        assert found
        said = self.answers.pop(0)
        body = b"" if said is None else packed(payload({"outcome": said}), nonce=found[1].decode(), verb="confirm")
        return Completed(body, b"", None if said is None else 0, timeout_s)

    def close(self) -> None:
        pass


def ask(folder: Path, host: Host) -> tuple[str, list[str]]:
    journal = Journal(folder, Redactor(()))
    dialogue = Dialogue("a", host, journal, stop=threading.Event(), values={})
    outcome = dialogue.ask("confirm", {}).text("outcome")
    return outcome, [event.text for event in journal.events if isinstance(event, Noted)]


def test_answer_is_taken_as_it_comes(tmp_path: Path) -> None:
    """A whole answer needs no second question."""
    assert ask(tmp_path, Host(b"ok")) == ("ok", [])


def test_silence_is_asked_once_more(tmp_path: Path) -> None:
    """A host that says nothing at all is asked once more, which begins nothing twice, and that is noted."""
    outcome, notes = ask(tmp_path, Host(None, b"late"))
    assert (outcome, notes) == ("late", ["'confirm' is asked once more: no word came (exit status None)."])


def test_silence_twice_is_no_answer(tmp_path: Path) -> None:
    """A host that says nothing twice has not answered."""
    with pytest.raises(FrameError, match="did not answer 'confirm' with anything at all"):
        ask(tmp_path, Host(None, None, b"ok"))


def test_lost_connection_is_marked_and_made_again(tmp_path: Path) -> None:
    """Every connection and every loss of one is told as it happens, and every question counts."""

    class Losing(Host):
        def run(self, program: Program, *, timeout_s: float) -> Completed:
            if self.answers[0] == b"lost":
                self.answers.pop(0)
                raise ConnectionLost("a", "gone", "Look.")
            return super().run(program, timeout_s=timeout_s)

    journal = Journal(tmp_path, Redactor(()))
    dialogue = Dialogue("a", Losing(b"lost", b"ok"), journal, stop=threading.Event(), values={})
    dialogue.ask("confirm", {})
    told = [event.kind if isinstance(event, Happened) else type(event).__name__ for event in journal.events]
    assert told == ["Connected", "lost", "Noted", "Connected"]
    assert dialogue.questions == 2


def test_clock_of_the_host_is_learnt_from_its_answers(tmp_path: Path) -> None:
    """A host that is 500 s ahead is known for it, and its times are told by our clock."""

    class Ahead(Host):
        def run(self, program: Program, *, timeout_s: float) -> Completed:
            found = re.search(rb"SWITCHPROOF_NONCE=(\w+)", text_of(program))
            assert found
            now = f"{time.time() + 500:.6f}"
            body = payload({"outcome": b"ok", "clock": f"{now} {now}".encode()})
            return Completed(packed(body, nonce=found[1].decode(), verb="confirm"), b"", 0, timeout_s)

    journal = Journal(tmp_path, Redactor(()))
    dialogue = Dialogue("a", Ahead(), journal, stop=threading.Event(), values={})
    sent = dt.datetime.now(dt.UTC)
    dialogue.ask("confirm", {})
    (clock,) = [event.clock for event in journal.events if isinstance(event, ClockSeen)]
    assert abs(clock.offset_s - 500) <= clock.uncertainty_s
    assert sent <= dialogue.began <= dt.datetime.now(dt.UTC)
