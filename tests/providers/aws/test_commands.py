"""A command is sent once, waited for in time, cancelled when given up, and never taken for what it is not."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from switchproof.deploy.connection import AnswerTooLong, ConnectionLost
from switchproof.deploy.host import limits
from switchproof.deploy.providers.aws import commands
from switchproof.deploy.providers.aws.bucket import Bucket
from switchproof.deploy.providers.aws.commands import Commands
from switchproof.deploy.providers.aws.status import Fate
from switchproof.deploy.providers.aws.table import Ssm

INSTANCE = "i-0123456789abcdef0"


def refused(code: str, status: int = 400) -> ClientError:
    """An error that AWS answers with."""
    return ClientError(
        {"Error": {"Code": code, "Message": "words of AWS"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Op"
    )


LATE = ReadTimeoutError(endpoint_url="https://ssm.example")
UNREACHED = EndpointConnectionError(endpoint_url="https://ssm.example")


class Aws:
    """AWS as a script: each operation's answers in turn, the last one for ever; errors are raised."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers: dict[str, Iterator[Any]] = {
            name: itertools.chain(given, itertools.repeat(given[-1])) for name, given in answers.items()
        }
        self.reads = self.sends = self
        self.awaited: set[str] = set()

    def _answer(self, name: str, given: dict[str, Any]) -> Any:
        self.calls.append((name, given))
        answer = next(self._answers[name])
        if isinstance(answer, Exception):
            raise answer
        return answer(given) if callable(answer) else answer

    def send_command(self, **given: Any) -> Any:
        return self._answer("send", given)

    def get_command_invocation(self, **given: Any) -> Any:
        return self._answer("get", given)

    def cancel_command(self, **given: Any) -> Any:
        return self._answer("cancel", given)

    def get_paginator(self, name: str) -> Aws:
        assert name == "list_commands"
        return self

    def paginate(self, **given: Any) -> list[Any]:
        return [self._answer("list", given)]

    def list_objects_v2(self, **given: Any) -> Any:
        return self._answer("objects", given)

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)


SENT = {"Command": {"CommandId": "c-1"}}
DONE = {"Status": "Success", "StatusDetails": "Success", "StandardOutputContent": "out", "ResponseCode": 0}
AT_WORK = {"Status": "InProgress", "StatusDetails": "InProgress"}
UNSEEN = refused("InvocationDoesNotExist")
NOTHING: dict[str, Any] = {"Commands": []}
THERE = {"Commands": [{"Comment": "another", "CommandId": "c-0"}, {"Comment": "switchproof q", "CommandId": "c-7"}]}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let waiting pass quickly: limits are hundredths of what they are."""
    monkeypatch.setattr(commands, "LISTED_S", 0.15)
    monkeypatch.setattr(commands, "SLACK_S", 0.1)
    monkeypatch.setattr(commands._Pace, "next_s", lambda _: 0.01)


def made(aws: Aws, say: Callable[[str], None] = print, bucket: Bucket | None = None) -> Commands:
    """The commands to one instance of a scripted AWS, which must take one within 0.3 s."""
    clients: Any = aws
    return Commands("a", INSTANCE, clients, Ssm(start_s=0.3), bucket=bucket or Bucket("", "", S3, say), say=say)


def run(aws: Aws, limit_s: float = 0.2) -> commands.Ended:
    """Send a command called q."""
    return made(aws).run("q", {"commands": ["true"]}, limit_s)


def test_a_command_is_sent_and_read() -> None:
    """The plain case: sent with both limits and its name, invisible at first, at work, ended."""
    aws = Aws(send=[SENT], get=[UNSEEN, AT_WORK, DONE])
    ended = run(aws)
    assert (ended.reading.fate, ended.stdout) == (Fate.READ, "out")
    request = aws.calls[0][1]
    assert request["InstanceIds"] == [INSTANCE]
    assert request["Comment"] == "switchproof q"
    assert request["TimeoutSeconds"] == 1


@pytest.mark.parametrize("error", [refused("InternalServerError", 500), LATE])
def test_an_ambiguous_answer_is_never_sent_again(error: Exception) -> None:
    """When AWS may have taken the command, it is looked for by its name, and followed if it is there."""
    aws = Aws(send=[error], list=[NOTHING, refused("ThrottlingException"), THERE], get=[DONE])
    assert run(aws).command == "c-7"
    assert aws.count("send") == 1


@pytest.mark.parametrize("error", [refused("InternalServerError", 500), LATE])
def test_a_command_that_is_in_no_list_is_lost_not_repeated(error: Exception) -> None:
    """If it is not found, nobody knows whether it runs; that is said, and nothing is sent."""
    aws = Aws(send=[error], list=[NOTHING])
    with pytest.raises(ConnectionLost, match=r"unknown whether AWS accepted the command.* does not list it"):
        run(aws)
    assert aws.count("send") == 1


def test_throttled_sends_are_tried_again() -> None:
    """A send that AWS refused for its rate was not taken in, so it may be tried again."""
    aws = Aws(send=[refused("ThrottlingException"), refused("Throttling"), SENT], get=[DONE])
    assert run(aws).stdout == "out"
    assert aws.count("send") == 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused("AccessDeniedException"), "may not do this; see the IAM policy"),
        (refused("ExpiredTokenException"), "The credentials have expired"),
        (refused("InvalidDocument"), "words of AWS.*Check that ssm.document names a document of this account"),
        (refused("MaxDocumentSizeExceeded"), "words of AWS.*Create a document that contains the script itself"),
        (refused("InvalidParameters"), "words of AWS.*Read the error that AWS returned"),
        (UNREACHED, "can reach the endpoint of its region"),
    ],
)
def test_a_refused_send_says_why(error: Exception, words: str) -> None:
    """A send that was certainly not taken in is an error of its own, with what to do."""
    aws = Aws(send=[error])
    with pytest.raises(ConnectionLost, match=words):
        run(aws)
    assert aws.count("send") == 1
    assert not aws.count("list")


def test_a_command_that_never_starts_is_cancelled() -> None:
    """When the instance does not take it in time, it is cancelled and the last word is told."""
    aws = Aws(send=[SENT], get=[{"Status": "Delayed", "StatusDetails": "Delayed"}], cancel=[{}])
    ended = run(aws)
    assert ended.reading.fate is Fate.UNCERTAIN
    assert "given up and cancelled" in ended.reading.text
    assert "the instance does not accept it at the moment" in ended.reading.text
    assert aws.count("cancel") == 1


def test_a_command_that_never_ends_is_cancelled() -> None:
    """The time that a command may run counts from when it began to run."""
    aws = Aws(send=[SENT], get=[AT_WORK], cancel=[refused("InternalServerError", 500)])
    words = run(aws).reading.text
    assert "received by the agent" in words
    assert "given up and not cancelled (words of AWS" not in words
    assert "given up and not cancelled (An error occurred (InternalServerError)" in words
    assert aws.count("cancel") == 1


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"Status": "Pending"}, "the start of command c-1 .* before asking the host; not sent to the instance yet"),
        (
            AT_WORK,
            "the end of command c-1 .*; received by the agent .*; the agent resends a lost reply every",
        ),
    ],
    ids=["pending", "taken"],
)
def test_a_long_wait_says_once_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, seen: dict[str, str], words: str
) -> None:
    """Somebody who sees a run stand still learns for what, how long at most, and what comes then."""
    monkeypatch.setattr(commands, "QUIET_S", 0.05)
    said: list[str] = []
    made(Aws(send=[SENT], get=[seen], cancel=[{}]), said.append).run("q", {}, 0.2)
    (told,) = said
    assert re.search(rf"^a: waiting for {words}", told)


def test_what_cannot_be_read_is_no_end() -> None:
    """Throttled or failing reads are neither success nor failure nor absence: it is asked again."""
    errors = [refused("ThrottlingException"), refused("InternalServerError", 500), LATE, UNREACHED]
    assert run(Aws(send=[SENT], get=[*errors, DONE])).stdout == "out"


def test_a_command_that_ssm_forgot_is_uncertain() -> None:
    """An invocation that does not appear is not taken for one that failed."""
    ended = run(Aws(send=[SENT], get=[UNSEEN], cancel=[{}]))
    assert ended.reading.fate is Fate.UNCERTAIN
    assert "did not report the command's status" in ended.reading.text


def test_waiting_ends_when_it_is_stopped() -> None:
    """Another thread can end the waiting at once; what was sent is cancelled."""
    seen = threading.Event()

    def at_work(_: Any) -> dict[str, str]:
        seen.set()
        return AT_WORK

    aws = Aws(send=[SENT], get=[at_work], cancel=[{}])
    waiting = made(aws)

    def stop() -> None:
        seen.wait(5)
        waiting.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(ConnectionLost, match="given up"):
        waiting.run("q", {}, 60)
    stopper.join()
    assert aws.count("cancel") == 1


class S3:
    """A bucket that has a command's output, or does not."""

    def __init__(self, *keys: str, body: bytes = b"whole") -> None:
        self.keys, self.asked, self.body = keys, 0, body

    def list_objects_v2(self, **given: str) -> dict[str, Any]:
        self.asked += 1
        return {"Contents": [{"Key": given["Prefix"] + key} for key in self.keys]} if self.keys else {}

    def get_object(self, **_: str) -> dict[str, Any]:
        body = self.body

        class Body:
            read: Callable[[int], bytes] = staticmethod(lambda most: body[:most])

        return {"Body": Body}


LONG = {**DONE, "StandardOutputContent": "x" * 100 + "--output truncated--"}


def test_long_output_comes_from_the_bucket() -> None:
    """Output that SSM cut off is read whole from the bucket; that the instance reaches it is looked at once."""
    s3 = S3("awsrunShellScript/0/stderr", "awsrunShellScript/0/stdout")
    aws = Aws(send=[SENT], get=[DONE, LONG, DONE])
    way = made(aws, bucket=Bucket("outputs", "p", lambda: s3, pytest.fail))
    assert [way.run("q", {}, 5, bucket=True).stdout for _ in range(3)] == ["out", "whole", "out"]
    assert [given["OutputS3BucketName"] for name, given in aws.calls if name == "send"] == ["outputs"] * 3
    assert s3.asked == 2


@pytest.mark.parametrize("seen", [DONE, LONG], ids=["short", "long"])
def test_a_bucket_that_the_instance_does_not_reach_is_left_out(seen: dict[str, Any]) -> None:
    """It is found out with the first output, told in one line, and no later command waits for it."""
    said: list[str] = []
    aws = Aws(send=[SENT], get=[seen])
    bucket = Bucket("outputs", "p", S3, said.append)
    for way in (made(aws, bucket=bucket), made(aws, bucket=bucket)):
        assert way.run("q", {}, 60, bucket=True).stdout == seen["StandardOutputContent"]
        assert not way.long_output
    assert [given.get("OutputS3BucketName") for name, given in aws.calls if name == "send"] == ["outputs", None]
    (told,) = said
    assert re.fullmatch(rf"the bucket outputs is not used from now on.* {INSTANCE} stored nothing there: .*", told)


def test_a_bucket_that_cannot_be_read_is_left_out() -> None:
    """What S3 refuses is told with its remedy; the output comes in pieces."""
    said: list[str] = []

    def denied() -> Any:
        raise refused("AccessDenied")

    way = made(Aws(send=[SENT], get=[LONG]), bucket=Bucket("outputs", "p", denied, said.append))
    assert way.run("q", {}, 60, bucket=True).stdout == LONG["StandardOutputContent"]
    assert "see the IAM policy in docs/aws.md" in said[0]


def test_a_late_answer_is_waited_for_until_the_bucket_is_proved() -> None:
    """An agent that cannot reach the bucket tries for a minute before it replies, which is no lost answer."""
    bucket = Bucket("outputs", "p", lambda: S3("x/stdout"), pytest.fail)
    assert bucket.extra_s == 70
    way = made(Aws(send=[SENT], get=[*[AT_WORK] * 60, DONE]), bucket=bucket)
    assert way.run("q", {}, 0.01, bucket=True).reading.fate is Fate.READ
    assert bucket.extra_s == 0


def test_output_that_is_too_long_is_not_taken_from_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an object in the bucket no more is read than a run takes in, and it is not asked for again."""
    monkeypatch.setattr(limits, "OUTPUT", 1000)
    bucket = Bucket("outputs", "p", lambda: S3("x/stdout", body=bytes(2000)), pytest.fail)
    with pytest.raises(AnswerTooLong, match="more than 1000 bytes came"):
        made(Aws(send=[SENT], get=[LONG]), bucket=bucket).run("q", {}, 5, bucket=True)


@pytest.mark.parametrize(("awaited", "least_s", "most_s"), [(1, 0.16, 0.24), (4, 0.32, 0.48), (100, 0.6, 0.9)])
def test_the_end_of_a_young_command_is_asked_for_often_unless_many_are_awaited(
    monkeypatch: pytest.MonkeyPatch, awaited: int, least_s: float, most_s: float
) -> None:
    """Together they ask AWS ten times a second, and each of them never less often than later."""
    monkeypatch.undo()
    now = 0.0
    pace = commands._Pace(commands.ASKED_EVERY_S, [str(number) for number in range(awaited)], lambda: now)
    assert all(least_s <= pace.next_s() <= most_s for _ in range(50))
    now = commands.SOON_S
    assert all(0.6 <= pause <= 0.9 for pause in [pace.next_s() for _ in range(50)])


def test_a_command_whose_requests_are_throttled_is_asked_for_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it is young, and from the very next request on."""
    monkeypatch.undo()
    pace = commands._Pace(commands.ASKED_EVERY_S, ["c-1"], lambda: 0.0)
    before = pace.next_s()
    pace.slow_down(5.0)
    pauses = [pace.next_s() for _ in range(50)]
    assert pauses[0] > before
    assert all(4.0 <= pause <= 6.0 for pause in pauses[10:])


def test_commands_are_counted_only_while_their_ends_are_awaited() -> None:
    """One that was answered, or given up, does not slow down the others."""
    met: list[set[str]] = []

    def end(_: Any) -> Any:
        met.append(set(aws.awaited))
        return DONE

    aws = Aws(send=[SENT], get=[end])
    run(aws)
    assert met == [{"c-1"}]
    assert not aws.awaited
