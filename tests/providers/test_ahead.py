"""Connections that begin before a run opens its provider, and questions that are sent over them."""

import threading
from collections.abc import Callable

import pytest

from switchproof.deploy.connection import Completed, Connection, ConnectionLost, Program, Question, Unreachable
from switchproof.deploy.errors import UsageError
from switchproof.deploy.host import first
from switchproof.deploy.host.first import First
from switchproof.deploy.providers.ahead import Ahead
from tests.run.hosts import Host

DEADLINE_S = 30.0


class Hosts:
    """A provider of hosts that can be late or unreachable at first."""

    def __init__(self, say: Callable[[str], None] = lambda _: None, *, refuses: int = 0) -> None:
        self.hosts: list[Host] = []
        self.may_connect, self.begun, self.made = threading.Event(), threading.Event(), threading.Event()
        self.may_connect.set()
        self.closed = False
        self._say, self._refuses = say, refuses

    def connect(self, host: str) -> Connection:
        self._say(f"{host} waits for a key")
        self.begun.set()
        assert self.may_connect.wait(DEADLINE_S)
        if self._refuses:
            self._refuses -= 1
            raise Unreachable(host, "connection refused", "Look.")
        self.hosts.append(Host(host))
        connected = self.hosts[-1].connect()
        self.made.set()
        return connected

    def close(self) -> None:
        self.closed = True


def test_the_first_connection_is_the_one_that_was_begun_and_the_next_is_new() -> None:
    hosts = Hosts()
    provider = Ahead(["a"], lambda _: hosts).open(lambda _: None)
    first = provider.connect("a")
    assert first is hosts.hosts[0]
    assert provider.connect("a") is hosts.hosts[1]
    provider.close()
    assert not hosts.hosts[0].closed.is_set(), "a connection that was taken belongs to the taker"


def test_a_host_that_is_not_begun_with_is_connected_when_it_is_asked_for() -> None:
    hosts = Hosts()
    provider = Ahead([], lambda _: hosts).open(lambda _: None)
    assert not hosts.begun.is_set()
    assert provider.connect("a") is hosts.hosts[0]


def test_an_error_is_raised_where_the_connection_is_needed_and_the_next_attempt_is_new() -> None:
    hosts = Hosts(refuses=1)
    provider = Ahead(["a"], lambda _: hosts).open(lambda _: None)
    with pytest.raises(Unreachable, match=r"a: connection refused\. Look\."):
        provider.connect("a")
    assert provider.connect("a") is hosts.hosts[0]


def test_a_provider_that_cannot_be_opened_refuses_where_the_run_opens_it() -> None:
    def refuse(_: Callable[[str], None]) -> Hosts:
        raise UsageError("no such key")

    ahead = Ahead(["a"], refuse)
    with pytest.raises(UsageError, match="no such key"):
        ahead.open(lambda _: None)
    ahead.close()


def test_lines_are_held_until_the_run_can_show_them() -> None:
    made: list[Hosts] = []
    begun = threading.Event()

    def make(say: Callable[[str], None]) -> Hosts:
        made.append(Hosts(say))
        made[0].begun = begun
        return made[0]

    ahead, shown = Ahead(["a"], make), list[str]()
    assert begun.wait(DEADLINE_S)
    provider = ahead.open(shown.append)
    provider.connect("a")
    assert shown == ["a waits for a key"]
    provider.connect("b")
    assert shown == ["a waits for a key", "b waits for a key"]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_connection_that_nobody_takes_is_closed_also_if_it_comes_about_later(*, is_late: bool) -> None:
    hosts = Hosts()
    if is_late:
        hosts.may_connect.clear()
    ahead = Ahead(["a"], lambda _: hosts)
    ahead.open(lambda _: None)
    assert (hosts.begun if is_late else hosts.made).wait(DEADLINE_S)
    ahead.close()
    assert hosts.closed
    hosts.may_connect.set()
    assert hosts.made.wait(DEADLINE_S)
    assert hosts.hosts[0].closed.wait(DEADLINE_S)


FIRST = First("observe", {"SWITCHPROOF_RUN": "r-1"}, DEADLINE_S)


def test_a_first_question_is_sent_at_once_and_its_answer_is_taken_once() -> None:
    hosts = Hosts()
    provider = Ahead(["a"], lambda _: hosts, {"a": FIRST})
    provider.open(lambda _: None)
    provider.connect("a")
    sent = provider.asked_ahead("a", "observe", {"SWITCHPROOF_RUN": "r-1"})
    assert sent is not None
    answer = sent.answer(None)
    asked = hosts.hosts[0].asked
    assert [(question.verb, question.values["SWITCHPROOF_RUN"]) for question in asked] == [("observe", "r-1")]
    assert asked[0].values["SWITCHPROOF_NONCE"] == sent.nonce
    assert sent.nonce.encode() in answer.stdout
    assert 0 < sent.sent <= sent.received
    assert provider.asked_ahead("a", "observe", {"SWITCHPROOF_RUN": "r-1"}) is None


@pytest.mark.parametrize(("verb", "run"), [("resolve", "r-1"), ("observe", "r-2")])
def test_another_question_waits_until_the_first_one_is_answered(verb: str, run: str) -> None:
    hosts = Hosts()
    provider = Ahead(["a"], lambda _: hosts, {"a": FIRST})
    provider.connect("a")
    assert provider.asked_ahead("a", verb, {"SWITCHPROOF_RUN": run}) is None
    assert [question.verb for question in hosts.hosts[0].asked] == ["observe"]


def test_what_a_host_says_before_anybody_listens_is_heard_later() -> None:
    heard, said_one, may_go_on = list[bytes](), threading.Event(), threading.Event()

    class Telling(Host):
        def run(self, program: Program, *, timeout_s: float) -> Completed:
            assert isinstance(program, Question)
            assert program.hear
            program.hear(b"one ")
            said_one.set()
            assert may_go_on.wait(DEADLINE_S)
            program.hear(b"two")
            return super().run(program, timeout_s=timeout_s)

    class Told(Hosts):
        def connect(self, host: str) -> Connection:
            return Telling(host).connect()

    def listen(piece: bytes) -> None:
        heard.append(piece)
        may_go_on.set()

    provider = Ahead(["a"], lambda _: Told(), {"a": FIRST})
    provider.connect("a")
    assert said_one.wait(DEADLINE_S)
    sent = provider.asked_ahead("a", FIRST.verb, FIRST.values)
    assert sent is not None
    sent.answer(listen)
    assert heard == [b"one ", b"two"]


def test_a_connection_that_is_lost_during_the_first_question_is_an_error_where_the_answer_is_needed() -> None:
    class Losing(Hosts):
        def connect(self, host: str) -> Connection:
            connected = Host(host).connect()
            connected.away_until = 1.0
            return connected

    provider = Ahead(["a"], lambda _: Losing(), {"a": FIRST})
    provider.connect("a")
    sent = provider.asked_ahead("a", FIRST.verb, FIRST.values)
    assert sent is not None
    with pytest.raises(ConnectionLost, match="a: gone"):
        sent.answer(None)


def test_a_question_that_cannot_be_made_is_an_error_where_the_answer_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> Question:
        raise OSError("the script is gone")

    monkeypatch.setattr(first, "question", fail)
    provider = Ahead(["a"], lambda _: Hosts(), {"a": FIRST})
    provider.connect("a")
    sent = provider.asked_ahead("a", FIRST.verb, FIRST.values)
    assert sent is not None
    with pytest.raises(OSError, match="the script is gone"):
        sent.answer(None)
