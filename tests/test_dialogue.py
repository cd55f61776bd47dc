"""What is asked of a host is answered whole, or it is not known."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from deploy.connection import Completed, Program, text_of
from deploy.dialogue import Dialogue
from deploy.facts import ConnectionFacts
from deploy.frame import FrameError
from deploy.journal import Journal, Noted
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
