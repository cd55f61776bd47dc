"""Whatever SSM makes of a command, the host says what became of the question; what nobody knows is an error."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import pytest

from switchproof.deploy.connection import (
    Completed,
    ConnectionFacts,
    ConnectionLost,
    DeadlineExceeded,
    NotRoot,
    Program,
    Question,
    RootRefused,
)
from switchproof.deploy.errors import Inconclusive, UsageError
from switchproof.deploy.host.program import endpoints, question, whole_script
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws import carrier
from switchproof.deploy.providers.aws import table as tables
from switchproof.deploy.providers.aws.carrier import Load
from switchproof.deploy.providers.aws.commands import Ended, NotSent
from switchproof.deploy.providers.aws.document import document
from switchproof.deploy.providers.aws.provider import AwsConnection
from switchproof.deploy.providers.aws.status import Fate, Reading
from switchproof.deploy.settings import TARGETS

TARGET = load(TARGETS / "aws.toml", {"DEPLOY_INSTANCE_ID": "i-0123456789abcdef0"})
QUESTION = Question("true", "observe", {})
TEXT = b"true"


@dataclass(frozen=True)
class Said:
    """What the host says of a question, as it comes through SSM."""

    outcome: str
    status: str = "-"
    output: bytes = b""
    words: bytes = b""

    def ended(self, question: str, offset: int) -> Ended:
        packed = gzip.compress(self.output, mtime=0)
        size, digest = (len(packed), hashlib.sha256(packed).hexdigest()) if self.outcome == "answered" else (0, "-")
        piece = packed[offset : offset + carrier.PIECE]
        body = f"{base64.b64encode(self.words).decode()}\n{base64.b64encode(piece).decode()}"
        head = f"SWITCHPROOF-SSM/1 {question} {self.outcome} {self.status} {size} {digest} {offset}"
        text = f"\n{head}\n{body if self.outcome == 'answered' else ''}\nSWITCHPROOF-SSM/1 {question} end\n"
        return Ended("c", Reading(Fate.READ, "ended (SSM: Success)"), text)


ANSWERED = Said("answered", "0", b"done")
UNDELIVERABLE = Ended("c", Reading(Fate.UNCERTAIN, "undeliverable"), "")
KILLED = Ended("c", Reading(Fate.CUT_OFF, "the agent killed it"), "")
LOST = ConnectionLost("aws", "no list has it", "Look.")
Answer: TypeAlias = Said | Ended | Exception


class Ssm:
    """The commands to an instance, answered in turn."""

    def __init__(self, *answers: Answer) -> None:
        self.sent: list[tuple[str, Mapping[str, list[str]], float]] = []
        self.buckets: list[bool] = []
        self.long_output = False
        self._answers = list(answers)

    def run(self, name: str, parameters: Mapping[str, list[str]], limit_s: float, *, bucket: bool = False) -> Ended:
        self.buckets.append(bucket)
        self.sent.append((name, parameters, limit_s))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        asked = re.search("offset='([0-9]+)'", parameters.get("commands", [""])[0])
        return answer.ended(name, int(asked[1]) if asked else 0) if isinstance(answer, Said) else answer

    def rest(self, seconds: float) -> None:
        assert seconds > 0

    def stop(self) -> None:
        """Nobody waits."""

    def text(self, number: int) -> str:
        return self.sent[number][1]["commands"][0]


def connection(ssm: Ssm, *were_root: str, **table: Any) -> AwsConnection:
    """A connection over scripted commands; instances must take one within no time, unless the table says more."""
    own = msgspec.structs.replace(TARGET.table(tables.Ssm), **{"start_s": 0.0, **table})
    target = msgspec.structs.replace(TARGET, ssm=own)
    return AwsConnection("aws", ssm, target, ConnectionFacts(kind="ssm"), {*were_root})  # type: ignore[arg-type] # as `Commands`


def run(ssm: Ssm, program: Program = TEXT, timeout_s: float = 0.0) -> Completed:
    """Run a program."""
    return connection(ssm).run(program, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("status", "expected"), [("0", 0), ("3", 3), ("137", 137), ("194", 194), ("127", 127), ("signal", None)]
)
def test_a_program_s_end_comes_back(status: str, expected: int | None) -> None:
    """Output, words and the program's own status come back; a signal is no status."""
    done = run(Ssm(Said("answered", status, b"\xff out", b"bash: not found")))
    assert (done.stdout, done.stderr, done.exit_status) == (b"\xff out", b"bash: not found", expected)


def test_a_command_may_run_as_long_as_its_question() -> None:
    """The time limit is AWS's as well as ours, and never below what an agent takes for one."""
    ssm = Ssm(ANSWERED, ANSWERED)
    run(ssm, timeout_s=41.2)
    run(ssm, timeout_s=1)
    assert [sent[1]["executionTimeout"] for sent in ssm.sent] == [["42"], ["5"]]


def test_the_script_is_carried_where_it_is_not() -> None:
    """A question leaves the script to the host, which asks for it when it lacks it; then nothing had run."""
    ssm = Ssm(Said("needs"), ANSWERED, ANSWERED)
    way = connection(ssm)
    for _ in range(2):
        assert way.run(QUESTION, timeout_s=5).stdout == b"done"
    assert ["packed=''" in ssm.text(number) for number in range(3)] == [True, False, True]
    assert len({name for name, _, _ in ssm.sent}) == 3


def test_a_question_of_a_host_that_has_the_script_is_small() -> None:
    """An audit every few minutes leaves its commands on the host's disk for two weeks."""
    ssm = Ssm(ANSWERED)
    asked = question("observe", "0" * 32, {"SWITCHPROOF_ENDPOINTS": endpoints(TARGET), "SWITCHPROOF_RUN": "none"})
    connection(ssm).run(asked, timeout_s=5)
    assert len(ssm.text(0)) < 6_000 < len(whole_script())


def test_a_short_limit_is_none_that_the_agent_takes_for_an_hour() -> None:
    """Below five seconds the agent takes 3,600: with AWS's own document as with one of ours."""
    for table, parameter in (({}, "executionTimeout"), ({"document": "Own"}, "ExecutionTimeout")):
        ssm = Ssm(ANSWERED)
        connection(ssm, **table).run(QUESTION, timeout_s=1.2)
        assert ssm.sent[0][1][parameter] == ["5"]


def test_a_script_that_arrives_altered_is_inconclusive() -> None:
    """What the host did not take for the script that was sent is no answer of it."""
    with pytest.raises(
        Inconclusive, match=r"did not arrive complete \(corrupt\); check that /run on the host has free space"
    ):
        run(Ssm(Said("corrupt", "12")), QUESTION)


@pytest.mark.parametrize("first", [UNDELIVERABLE, KILLED, LOST, Ended("c", Reading(Fate.READ, "ended"), "cut o")])
def test_an_answer_that_did_not_come_is_asked_for(first: Answer) -> None:
    """Undeliverable, killed, lost or cut short: if the host has the answer, it is the answer. Nothing runs again."""
    ssm = Ssm(first, Said("running", "77"), ANSWERED)
    assert run(ssm, timeout_s=5).stdout == b"done"
    assert ["action='ask'" in ssm.text(number) for number in range(3)] == [True, False, False]
    assert len({name for name, _, _ in ssm.sent}) == 1


@pytest.mark.parametrize(
    ("first", "then", "error", "words"),
    [
        (
            UNDELIVERABLE,
            Said("unknown"),
            ConnectionLost,
            "did not get the command: undeliverable. The host started nothing",
        ),
        (UNDELIVERABLE, Said("running", "77"), DeadlineExceeded, "The command still runs there as process 77"),
        (KILLED, Said("lost"), DeadlineExceeded, "without an answer: the agent killed it. It no longer runs"),
        (LOST, Said("lost"), ConnectionLost, "without an answer: aws: no list has it.* It no longer runs there"),
        (
            LOST,
            UNDELIVERABLE,
            ConnectionLost,
            "did not report the command's status.* may still run there; check the host",
        ),
        (LOST, LOST, ConnectionLost, "did not report the command's status: aws: no list has it"),
    ],
    ids=["never arrived", "still runs", "killed", "gone", "host is silent", "AWS is silent"],
)
def test_what_has_no_answer_is_told_apart(first: Answer, then: Answer, error: type[Exception], words: str) -> None:
    """Never begun, still running (as which process), ended without an answer and unknown have their own words."""
    with pytest.raises(error, match=words):
        run(Ssm(first, then))


def test_a_command_that_aws_refused_is_not_looked_for() -> None:
    """What was certainly not sent is nowhere; AWS's reason is told at once."""
    ssm = Ssm(NotSent("aws", "the credentials may not do this", "See the policy."))
    with pytest.raises(NotSent, match="may not do this"):
        run(ssm)
    assert len(ssm.sent) == 1


def test_long_output_is_fetched_in_pieces() -> None:
    """What did not fit is asked for by offset, and held against the host's digest."""
    answer, other = (Said("answered", "0", os.urandom(40_000)) for _ in range(2))
    ssm = Ssm(answer, answer, answer)
    assert run(ssm).stdout == answer.output
    assert ["offset='0'" in ssm.text(number) for number in range(3)] == [True, False, False]
    with pytest.raises(ConnectionLost, match="the output was changed on the way"):
        run(Ssm(answer, answer, other))
    with pytest.raises(ConnectionLost, match=r"part of the output did not arrive: .*no list has it"):
        run(Ssm(answer, answer, LOST))


def test_a_document_without_a_shell_runs_no_text() -> None:
    """Through a document of our own only verbs run; a text is refused before anything is sent."""
    ssm = Ssm()
    with pytest.raises(Inconclusive, match="the document Switchproof runs only the verbs"):
        connection(ssm, document="Switchproof").run(TEXT, timeout_s=1)
    assert not ssm.sent


@pytest.mark.parametrize("outcome", ["needs", "corrupt"])
def test_a_document_of_another_script_is_told(outcome: str) -> None:
    """A document that carries another script, or other fixed values, is to be made anew."""
    with pytest.raises(Inconclusive, match="create the document Switchproof again"):
        connection(Ssm(*[Said(outcome)] * 2), document="Switchproof").run(QUESTION, timeout_s=1)


def test_proving_that_commands_run_runs_nothing() -> None:
    """The trivial command of the preflight only looks; what the agent says is told when it did not run."""
    ssm = Ssm(Said("unknown"), Ended("c", Reading(Fate.NEVER_RAN, "never started (SSM: TimedOut)"), "", "no agent"))
    way = connection(ssm)
    way.prove()
    assert "action='look'" in ssm.text(0)
    with pytest.raises(Exception, match=r"reports the instance online, but it did not run a command: never started"):
        way.prove()


DENIED = Said("answered", "1", b"", b"sudo: a password is required\n")


def test_a_program_of_another_user_comes_back_without_the_word_of_root() -> None:
    """The first line proves that root's shell ran it; the rest is what the program printed."""
    done = connection(Ssm(Said("answered", "3", b"switchproof-is-root\nout\n")), user="deploy").run(
        TEXT, timeout_s=0.0
    )
    assert (done.stdout, done.exit_status) == (b"out\n", 3)


@pytest.mark.parametrize(("were_root", "kind"), [((), RootRefused), (("aws",), NotRoot)])
def test_a_user_who_does_not_become_root_is_refused(were_root: tuple[str, ...], kind: type[Exception]) -> None:
    """Before anything else one sentence says so; of a user who had become root, the host is asked again instead."""
    with pytest.raises(kind, match="sudo there asks deploy for a password") as refused:
        connection(Ssm(DENIED), *were_root, user="deploy").run(TEXT, timeout_s=0.0)
    assert isinstance(refused.value, UsageError) == (not were_root)


def test_the_user_is_told_to_the_host_with_each_program() -> None:
    """A question, a text, and a document each carry the user."""
    for program in (TEXT, Question("true", "observe", {"A": "1"})):
        assert Load.of(program, "deploy").values["SWITCHPROOF_USER"] == "deploy"
        assert "SWITCHPROOF_USER" not in Load.of(program).values
    made = document(
        msgspec.structs.replace(TARGET, ssm=msgspec.structs.replace(TARGET.table(tables.Ssm), user="deploy"))
    )
    assert "export SWITCHPROOF_USER=deploy" in made["mainSteps"][0]["inputs"]["runCommand"]


def test_a_stream_is_sent_in_pieces_and_then_used() -> None:
    """Each is a command about as large as one that carries the script; the answer is that of the last one."""
    ssm = Ssm(ANSWERED, ANSWERED, Said("answered", "7", b"used"))
    done = connection(ssm).feed("cat", [os.urandom(24_000), b"x" * 10], stall_s=30)
    assert (done.stdout, done.exit_status) == (b"used", 7)
    assert max(len(ssm.text(number)) for number in range(3)) < 48_000
    packed = ssm.text(2).partition("packed='")[2].partition("'")[0]
    assert b"| gzip -dc | cat" in gzip.decompress(base64.b64decode(packed))


def test_a_stream_whose_piece_fails_is_not_used() -> None:
    """The answer is that of the piece."""
    ssm = Ssm(Said("answered", "1", b"", b"No space left on device"))
    done = connection(ssm).feed("cat", [b"x"], stall_s=30)
    assert (done.stderr, done.exit_status) == (b"No space left on device", 1)
    assert len(ssm.sent) == 1
