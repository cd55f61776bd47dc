"""What is asked of a host is answered whole, or it is not known."""

from __future__ import annotations

import datetime as dt
import queue
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from switchproof.deploy.connection import (
    Completed,
    ConnectionFacts,
    ConnectionLost,
    Program,
    Question,
    Unreachable,
    text_of,
)
from switchproof.deploy.host.dialogue import Dialogue, Interrupted
from switchproof.deploy.host.first import First, Sent
from switchproof.deploy.host.frame import FrameError
from switchproof.deploy.host.patience import Patience
from switchproof.deploy.host.waiting import Waiting
from switchproof.deploy.record.events import ClockSeen, Happened, Noted
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
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
    assert (outcome, notes) == ("late", ["'confirm' returned no output (exit status None); asking again."])


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


def test_a_connection_that_an_interrupted_run_closed_was_not_lost(tmp_path: Path) -> None:
    """What the run broke off itself is no loss of a connection, and is no reason to look at the host."""
    stop = threading.Event()

    class BrokenOff(Host):
        def run(self, *_: object, **__: object) -> Completed:
            stop.set()
            raise ConnectionLost("a", "closed before the answer ended", "Look.")

    journal = Journal(tmp_path, Redactor(()))
    dialogue = Dialogue("a", BrokenOff(), journal, stop=stop, values={})
    with pytest.raises(Interrupted, match="a: the run was interrupted before 'confirm' was answered"):
        dialogue.ask("confirm", {})
    assert not [event for event in journal.events if isinstance(event, Happened)]


class Refusing(Host):
    """A host whose sshd takes connections and opens no session, such as one with MaxSessions 0."""

    def __init__(self, *, refuses_connections: bool = False) -> None:
        super().__init__()
        self.connected = 0
        self.refuses_connections = refuses_connections

    def connect(self, _: str) -> Host:
        self.connected += 1
        if self.refuses_connections:
            raise Unreachable("a", "refused", "Look.")
        return self

    def run(self, *_: object, **__: object) -> Completed:
        raise ConnectionLost("a", "no session", "Look.")


class Instant(threading.Event):
    """Waits for nothing and remembers how long it should have waited; time passes as it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.waits = 0.0, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.now += timeout or 0.0
        return False


@pytest.mark.parametrize("refuses_connections", [False, True], ids=["no-session", "no-connection"])
def test_a_host_that_never_answers_has_one_budget(tmp_path: Path, *, refuses_connections: bool) -> None:
    """Pauses grow, all questions of a run share one budget, and when it is used up each question tries once."""
    host, stop = Refusing(refuses_connections=refuses_connections), Instant()
    journal = Journal(tmp_path, Redactor(()))
    dialogue = Dialogue("a", host, journal, stop=stop, values={})
    dialogue._patience = Patience(lambda: stop.now)
    for _ in range(20):
        with pytest.raises((ConnectionLost, Unreachable)):
            dialogue.ask("observe", {})
    assert stop.waits[:5] == [0.5, 1.0, 2.0, 4.0, 5.0]
    assert sum(stop.waits) <= (15 if not refuses_connections else 310)
    assert host.connected <= len(stop.waits) + 20
    before = len(stop.waits)
    with pytest.raises((ConnectionLost, Unreachable)):
        dialogue.run("true", 5.0)
    assert len(stop.waits) == before
    assert len(journal.events) < 80


def test_an_answer_fills_the_budget(tmp_path: Path) -> None:
    """Losses before and after an answer do not add up."""

    class Flaky(Host):
        def run(self, program: Program, *, timeout_s: float) -> Completed:
            if self.answers[0] == b"lost":
                self.answers.pop(0)
                raise ConnectionLost("a", "gone", "Look.")
            return super().run(program, timeout_s=timeout_s)

    stop = Instant()
    host = Flaky(*[b"lost", b"lost", b"lost", b"lost", b"ok"] * 5)
    dialogue = Dialogue("a", host, Journal(tmp_path, Redactor(())), stop=stop, values={})
    for _ in range(5):
        assert dialogue.ask("confirm", {}).text("outcome") == "ok"
    assert stop.waits == [0.5, 1.0, 2.0, 4.0] * 5


def test_time_between_questions_costs_nothing() -> None:
    """A host that was lost long ago is tried with what is left, not with what has passed."""
    now = 0.0
    patience = Patience(lambda: now)
    assert patience.next_pause_s() == 0.5
    now = 121.0
    assert patience.next_pause_s() is None
    now = 5000.0
    patience.begin()
    assert patience.next_pause_s() == 1.0


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


def lines_of(*chunks: bytes) -> list[str]:
    said: list[str] = []
    waiting = Waiting("ab", "web to become healthy", 60.0, said.append)
    for chunk in chunks:
        waiting.hear(chunk)
    return said


def test_what_a_host_waits_for_is_heard_as_it_comes() -> None:
    """Its lines are told however they are cut on the way; other output, and that of other questions, is not."""
    assert lines_of(b"noise\nSWITCHPROOF/1 a", b"b waits web, co", b"de 503\nSWITCHPROOF/1 ab waits dev") == [
        "waiting: web, code 503"
    ]
    assert lines_of(b"SWITCHPROOF/1 cd waits web\n", b"x SWITCHPROOF/1 ab waits web\n") == []


def test_what_a_host_says_cannot_command_a_terminal() -> None:
    """Whatever stands in such a line is shown in printable characters, and not endlessly."""
    (line,) = lines_of(b"SWITCHPROOF/1 ab waits \x1b]0;x\x07\xff" + b"y" * 5000 + b"\n")
    assert line.startswith("waiting: ?]0;x?\ufffdyyy")
    assert line.isprintable()
    assert len(line) < 700
    assert lines_of(b"x" * 10**6, b"x" * 10**6) == []


def said_within(seconds: int, *heard: tuple[int, bytes]) -> list[tuple[float, str]]:
    """What a run says of a wait when it looks every quarter of a second, and hears lines of the host meanwhile."""
    now, said = 0.0, list[tuple[float, str]]()
    waiting = Waiting("ab", "web to become healthy", 60.0, lambda line: said.append((now, line)), lambda: now)
    lines = dict(heard)
    for quarter in range(4 * seconds + 1):
        now = quarter / 4
        if line := lines.get(quarter // 4) if quarter % 4 == 0 else None:
            waiting.hear(b"SWITCHPROOF/1 ab waits " + line + b"\n")
        waiting.look()
    return said


def test_where_no_line_comes_the_run_says_itself_what_it_waits_for() -> None:
    """As through an agent, from which nothing comes before the end: what, and for how long yet, every two seconds."""
    assert said_within(7) == [
        (now, f"waiting: web to become healthy (at most {60 - now} s left)") for now in (2, 4, 6)
    ]


def test_a_wait_is_looked_at_until_its_end() -> None:
    """The run looks on its own while the host is asked."""
    said: queue.Queue[str] = queue.Queue()
    with Waiting("ab", "web to become healthy", 600.0, said.put).ticking():
        line = said.get(timeout=60)
    assert re.fullmatch(r"waiting: web to become healthy \(at most 5\d\d s left\)", line)


def test_the_last_line_of_a_host_goes_on_while_its_next_one_is_late() -> None:
    """The run repeats it with what is left by then, as while an endpoint hangs; later it says how long none came."""
    line = b"web: code 503 (at most 9 s left); 3 s left; dev: healthy (1 s of the soak left)"
    said = said_within(11, (0, line), (2, line))
    assert [now for now, _ in said] == [0, 2, 5, 7, 9, 11]
    later = "waiting: web: code 503 (at most {} s left); 3 s left; dev: healthy ({} s of the soak left)"
    assert [text for _, text in said[2:4]] == [later.format(6, 0), later.format(4, 0)]
    said = said_within(14, (0, line + b"9" * 5000 + b" s left)"))
    assert said[-1][1].endswith("; no output from the host for 13 s")


class Foresighted(Host):
    """A provider whose host was asked at the time 100 and answered at 101, or whose first connection was lost."""

    def __init__(self, *, lost: bool = False) -> None:
        super().__init__(b"asked anew")
        self.claimed: list[tuple[str, str]] = []
        self._lost = lost

    def asked_ahead(self, host: str, verb: str, values: Mapping[str, str]) -> Sent | None:
        self.claimed.append((f"{verb} of {host}", values["SWITCHPROOF_JOB"]))
        if len(self.claimed) > 1:
            return None
        sent = Sent(First(verb, values, 9.0), FirstConnection(lost=self._lost))
        sent.send()
        sent.sent, sent.received = 100.0, 101.0
        return sent


class FirstConnection(Host):
    """A connection whose host's clock is far ahead."""

    def __init__(self, *, lost: bool) -> None:
        super().__init__()
        self._lost = lost

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        if self._lost:
            raise ConnectionLost("a", "gone", "Look.")
        assert isinstance(program, Question)
        body = payload({"outcome": b"asked ahead", "clock": b"1000000100.5 1000000100.6"})
        frame = packed(body, nonce=program.values["SWITCHPROOF_NONCE"], verb=program.verb)
        return Completed(frame, b"", 0, timeout_s)


def test_what_was_asked_ahead_is_not_asked_again(tmp_path: Path) -> None:
    """The first answer is that of the question under way, with the times at which it was sent and answered."""
    host, journal = Foresighted(), Journal(tmp_path, Redactor(()))
    dialogue = Dialogue("a", host, journal, stop=threading.Event(), values={})
    assert dialogue.ask("confirm", {"SWITCHPROOF_JOB": "j"}).text("outcome") == "asked ahead"
    assert (dialogue.questions, host.answers, host.claimed) == (1, [b"asked anew"], [("confirm of a", "j")])
    assert dialogue.clock is not None
    assert dialogue.clock.offset_s == pytest.approx(1e9 + 0.05, abs=1e-3)
    assert dialogue.ask("confirm", {"SWITCHPROOF_JOB": "j"}).text("outcome") == "asked anew"


def test_what_was_asked_ahead_in_vain_is_asked_again(tmp_path: Path) -> None:
    """A connection that is lost before the answer is made anew, and the question asked over it."""
    dialogue = Dialogue(
        "a", Foresighted(lost=True), Journal(tmp_path, Redactor(())), stop=threading.Event(), values={}
    )
    assert dialogue.ask("confirm", {"SWITCHPROOF_JOB": "j"}).text("outcome") == "asked anew"
