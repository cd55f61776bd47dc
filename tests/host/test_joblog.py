"""A job's log is shown as it comes, and costs no more than its limits however long it is."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest

from switchproof.deploy.connection import Completed, ConnectionFacts, Program, text_of
from switchproof.deploy.host import limits
from switchproof.deploy.host.dialogue import Dialogue
from switchproof.deploy.host.frame import FrameError
from switchproof.deploy.host.joblog import JobLog
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
from tests.answers import packed, payload


def test_a_log_is_kept_byte_for_byte() -> None:
    """A log that comes in any pieces is shown by its lines and kept whole."""
    shown: list[str] = []
    log = JobLog(Redactor(), shown.append)
    text = "one\ntwo \N{SNOWMAN}\nthree"
    body = text.encode()
    for at in range(0, len(body), 5):
        log.take(body[at : at + 5], len(body), last=at + 5 >= len(body))
    assert (shown, log.text(), log.offset) == (text.splitlines(), text, len(body))


def test_a_log_without_end_has_a_beginning_and_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a log that is too long the middle is not asked for, and what tells how it ended is kept."""
    monkeypatch.setattr(limits, "LOG", 1000)
    monkeypatch.setattr(limits, "LOG_END", 100)
    monkeypatch.setattr(limits, "LINES", 20)
    shown: list[str] = []
    log = JobLog(Redactor(), shown.append)
    whole = b"".join(b"line %d\n" % number for number in range(10_000))
    asked = 0
    while log.offset < len(whole):
        piece = whole[log.offset : log.offset + 500]
        asked += 1
        log.take(piece, len(whole), last=log.offset + len(piece) >= len(whole))
    assert asked < 5
    assert log.text().startswith("line 0\n")
    assert log.text().endswith("line 9999\n")
    assert "bytes of the log are left out here]" in log.text()
    assert len(log.text()) < 1300
    assert shown[19:] == ["line 19", "[only the first 20 lines are shown while the job runs]"]


def test_a_line_without_end_is_cut() -> None:
    """A line is shown as far as a person would read it."""
    shown: list[str] = []
    log = JobLog(Redactor(), shown.append)
    log.take(b"x" * 10_000 + b"\n", 10_001, last=False)
    assert [len(line) < limits.LINE + 40 for line in shown] == [True]
    assert shown[0].endswith("… [10000 characters]")


class Host:
    """A host that says the same of a job each time."""

    host = "a"
    facts = ConnectionFacts(kind="local")

    def __init__(self, **parts: bytes) -> None:
        self.parts = {
            "state": b"finished",
            "stage": b"build",
            "rc": b"0",
            "expected": b"",
            "unit": b"",
            "journal": b"",
            "log": base64.b64encode(b"words\n"),
            "log.size": b"6",
        } | {name.replace("_", "."): value for name, value in parts.items()}
        self.asked = 0

    def connect(self, _: str) -> Host:
        return self

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        self.asked += 1
        nonce = text_of(program).partition(b"SWITCHPROOF_NONCE=")[2].split()[0].decode()
        if self.asked > 1:
            self.parts["log"] = b""
        return Completed(packed(payload(self.parts), nonce=nonce, verb="status"), b"", 0, timeout_s)

    def close(self) -> None:
        pass


def follow(host: Host, folder: Path) -> str:
    dialogue = Dialogue("a", host, Journal(folder, Redactor()), stop=threading.Event(), values={})
    return dialogue.follow("converge", 60).log


def test_a_size_that_no_log_has_does_not_keep_a_run(tmp_path: Path) -> None:
    """A job that has ended is not asked about for its whole time because its log is said to be longer."""
    host = Host(log_size=b"999999999999")
    assert follow(host, tmp_path) == "words\n"
    assert host.asked == 2


@pytest.mark.parametrize("parts", [{"log_size": b"many"}, {"log_size": b"9" * 30}, {"log": b"no base 64!"}])
def test_a_log_that_cannot_be_read_is_no_answer(parts: dict[str, bytes], tmp_path: Path) -> None:
    """What a host says in place of a log is an error that a person can read."""
    with pytest.raises(FrameError, match="the host's answer to 'status'"):
        follow(Host(**parts), tmp_path)
