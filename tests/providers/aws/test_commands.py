"""A command is sent once, waited for in time, cancelled when given up, and never taken for what it is not."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from deploy import limits
from deploy.connection import AnswerTooLong, ConnectionLost
from deploy.providers.aws import commands
from deploy.providers.aws.commands import Commands
from deploy.providers.aws.status import Fate
from deploy.target import Ssm

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


def made(aws: Aws, ssm: Ssm = Ssm(start_s=0.3)) -> Commands:  # noqa: B008 - frozen
    """The commands to one instance of a scripted AWS, which must take one within 0.3 s."""
    return Commands("a", INSTANCE, aws, ssm)  # type: ignore[arg-type] # what it uses of AWS's clients


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
    with pytest.raises(ConnectionLost, match=r"did not say whether it took the command.* is in no list"):
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
        (refused("InvalidDocument"), "words of AWS.*See whether ssm.document names a document of this account"),
        (refused("MaxDocumentSizeExceeded"), "words of AWS.*Make a document that carries the script itself"),
        (refused("InvalidParameters"), "words of AWS.*See what AWS says"),
        (UNREACHED, "reaches the endpoint of its region"),
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
    assert "given up and cancelled" in ended.reading.words
    assert "the instance does not take it at the moment" in ended.reading.words
    assert aws.count("cancel") == 1


def test_a_command_that_never_ends_is_cancelled() -> None:
    """The time that a command may run counts from when it began to run."""
    aws = Aws(send=[SENT], get=[AT_WORK], cancel=[refused("InternalServerError", 500)])
    assert "at work" in run(aws).reading.words
    assert aws.count("cancel") == 1


def test_what_cannot_be_read_is_no_end() -> None:
    """Throttled or failing reads are neither success nor failure nor absence: it is asked again."""
    errors = [refused("ThrottlingException"), refused("InternalServerError", 500), LATE, UNREACHED]
    assert run(Aws(send=[SENT], get=[*errors, DONE])).stdout == "out"


def test_a_command_that_ssm_forgot_is_uncertain() -> None:
    """An invocation that does not appear is not taken for one that failed."""
    ended = run(Aws(send=[SENT], get=[UNSEEN], cancel=[{}]))
    assert ended.reading.fate is Fate.UNCERTAIN
    assert "does not tell what became of it" in ended.reading.words


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


class Bucket:
    """A bucket that has a command's output after a while."""

    def __init__(self, body: bytes = b"whole") -> None:
        self.asked, self.body = 0, body

    def list_objects_v2(self, **given: str) -> dict[str, Any]:
        self.asked += 1
        return {"Contents": [{"Key": f"{given['Prefix']}awsrunShellScript/0/stdout"}]} if self.asked > 2 else {}

    def get_object(self, **_: str) -> dict[str, Any]:
        body = self.body

        class Body:
            read: Callable[[int], bytes] = staticmethod(lambda most: body[:most])

        return {"Body": Body}


def test_a_bucket_that_stays_empty_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output that does not come into the bucket is an error that says where, and is waited for once."""
    monkeypatch.setattr(commands, "UPLOADED_S", 0.1)
    aws = Aws(send=[SENT], get=[{**DONE, "StandardOutputContent": "x" * 100 + "--output truncated--"}])
    aws.bucket = lambda: Aws(objects=[{}])  # type: ignore[attr-defined]
    with pytest.raises(ConnectionLost, match=f"into the bucket outputs below switchproof/c-1/{INSTANCE}/"):
        made(aws, Ssm(bucket="outputs")).run("q", {}, 60, bucket=True)
    assert aws.count("get") == 1


def test_long_output_comes_from_the_bucket() -> None:
    """Output that SSM cut off is read whole from the bucket, as soon as it is there."""
    bucket = Bucket()
    aws = Aws(send=[SENT], get=[{**DONE, "StandardOutputContent": "x" * 100 + "--output truncated--"}])
    aws.bucket = lambda: bucket  # type: ignore[attr-defined]
    assert made(aws, Ssm(bucket="outputs")).run("q", {}, 5, bucket=True).stdout == "whole"
    assert aws.calls[0][1]["OutputS3BucketName"] == "outputs"


def test_output_that_is_too_long_is_not_taken_from_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an object in the bucket no more is read than a run takes in, and it is not asked for again."""
    monkeypatch.setattr(limits, "OUTPUT", 1000)
    aws = Aws(send=[SENT], get=[{**DONE, "StandardOutputContent": "x" * 100 + "--output truncated--"}])
    aws.bucket = lambda: Bucket(bytes(2000))  # type: ignore[attr-defined]
    with pytest.raises(AnswerTooLong, match="more than 1000 bytes came"):
        made(aws, Ssm(bucket="outputs")).run("q", {}, 5, bucket=True)
