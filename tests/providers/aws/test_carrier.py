"""A program arrives whole and runs once, and its output comes back whole, whatever SSM does to either."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.connection import Question
from switchproof.deploy.host import limits
from switchproof.deploy.providers.aws import carrier
from switchproof.deploy.providers.aws.carrier import (
    Answer,
    Errand,
    Load,
    Mangled,
    TooLong,
    ask,
    look,
    parse,
    whole_output,
    withdraw,
)
from switchproof.deploy.providers.elevation import ELEVATED

SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]
Q = "0123456789abcdef"


class Host:
    """This machine as a host: an agent's `sh`, with a shelf of its own."""

    def __init__(self, folder: Path, shell: str = "dash") -> None:
        self.shelf = folder / "shelf"
        self._scripts = (folder / f"_script{number}.sh" for number in itertools.count())
        self._shell = [shell, "sh"] if shell == "busybox" else [shell]

    def begin(self, errand: Errand) -> subprocess.Popen[str]:
        """Begin an errand as the agent does: a file for `sh`, a group of its own, hardly any environment."""
        script = next(self._scripts)  # one each, as a shell may still have to read the one before
        script.write_text(errand.text().replace("/run/switchproof/ssm", str(self.shelf)))
        return subprocess.Popen(
            [*self._shell, script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={"PATH": os.environ["PATH"]},
        )

    def do(self, errand: Errand) -> Answer:
        """Have an errand done, and return its answer."""
        process = self.begin(errand)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        return parse(out, errand.question)

    def run(self, text: bytes, question: str = Q) -> Answer:
        """Have a program text run."""
        return self.do(ask(question, Load.of(text), whole=True, limit=carrier.PIECE, patience_s=5))


@pytest.fixture(params=SHELLS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """A host with each shell that may be `sh`."""
    return Host(tmp_path, request.param)


@pytest.mark.parametrize(
    ("text", "status"),
    [("exit 0", "0"), ("exit 3", "3"), ("exit 137", "137"), ("exit 194", "194"), ("kill -9 $$", "signal")],
)
def test_the_way_a_program_ended_comes_back(host: Host, text: str, status: str) -> None:
    """The program's own status arrives, also those that the agent gives a meaning; a signal is none."""
    assert host.run(text.encode()).status == status


def test_output_that_is_no_text_comes_back(host: Host) -> None:
    """Bytes that are not UTF-8 arrive as they were."""
    answer = host.run(b"printf '\\377\\000\\n\\303'; echo words >&2")
    assert whole_output(answer, answer.piece) == b"\xff\x00\n\xc3"
    assert answer.stderr == b"words\n"


def test_a_question_reaches_the_script_with_its_values(host: Host) -> None:
    """A verb is run by bash with its values, whatever is in them."""
    values = {"ODD": "it's {{ssm:odd}} $(id) `id` \"\\\n\u00e9", "EMPTY": ""}
    question = Question('printf "%s|%s|%s" "$1" "$ODD" "${EMPTY?}"; [[ -n $BASH ]]', "observe", values)
    answer = host.do(ask(Q, Load.of(question), whole=True, limit=carrier.PIECE, patience_s=5))
    assert answer.status == "0"
    assert whole_output(answer, answer.piece).decode() == f"observe|{values['ODD']}|"


def test_a_program_is_carried_once(host: Host) -> None:
    """A host that has the program needs only its digest; one that has not, says so and runs nothing."""
    load = Load.of(Question("echo $1", "observe", {}))
    first = ask(Q, load, whole=False, limit=carrier.PIECE, patience_s=5)
    assert host.do(first).outcome == "needs"
    assert not (host.shelf / Q).exists()
    assert host.do(ask(Q, load, whole=True, limit=carrier.PIECE, patience_s=5)).outcome == "answered"
    again = host.do(ask("f" * 16, load, whole=False, limit=carrier.PIECE, patience_s=5))
    assert whole_output(again, again.piece) == b"observe\n"


def test_a_program_that_was_altered_is_not_run(host: Host, tmp_path: Path) -> None:
    """What arrives with another digest is not run; what was altered on the host is asked for anew."""
    ran = tmp_path / "ran"
    good, other = Load.of(b"exit 0"), Load.of(f"touch {ran}".encode())
    errand = ask(Q, other, whole=True, limit=carrier.PIECE, patience_s=5)
    mixed = Errand({**errand.assignments, "digest": good.digest}, other, whole=True)
    assert host.do(mixed).outcome == "corrupt"
    host.run(b"exit 0", "1" * 16)
    (host.shelf / "files" / good.digest).write_text(f"touch {ran}")
    assert host.do(ask(Q, good, whole=False, limit=carrier.PIECE, patience_s=5)).outcome == "needs"
    assert not ran.exists()


def test_a_program_that_arrives_twice_runs_once(host: Host, tmp_path: Path) -> None:
    """Of two arrivals at the same time one runs the program, and both bring its answer."""
    counted = tmp_path / "counted"
    load = Load.of(f"echo ran >>{counted}; sleep 0.5; echo done".encode())
    errand = ask(Q, load, whole=True, limit=carrier.PIECE, patience_s=10)
    both = [host.begin(errand), host.begin(errand)]
    answers = [parse(process.communicate(timeout=20)[0], Q) for process in both]
    assert [whole_output(answer, answer.piece) for answer in answers] == [b"done\n"] * 2
    assert counted.read_text() == "ran\n"


def test_what_became_of_a_program_can_be_asked(host: Host) -> None:
    """One that never arrived, one at work, one that was killed and one that ended are told apart."""
    assert host.do(look(Q)).outcome == "unknown"
    errand = ask(Q, Load.of(b"sleep 4051"), whole=True, limit=carrier.PIECE, patience_s=5)
    process = host.begin(errand)
    while not (host.shelf / Q / "process").exists():
        assert process.poll() is None
    running = host.do(look(Q))
    assert (running.outcome, running.status) == ("running", str(process.pid))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert host.do(look(Q)).outcome == "lost"
    assert host.run(b"exit 5", "2" * 16) == host.do(look("2" * 16))


def test_a_program_that_is_withdrawn_is_never_run(host: Host, tmp_path: Path) -> None:
    """What comes after it was given up is not run; what had come by then goes on and is told."""
    ran = tmp_path / "ran"
    assert host.do(withdraw(Q)).outcome == "unknown"
    late = host.run(f"touch {ran}".encode())
    assert late.outcome == "lost"
    assert not ran.exists()
    assert host.do(withdraw(Q)).outcome == "lost"
    assert host.run(b"exit 5", "2" * 16) == host.do(withdraw("2" * 16))


def test_long_output_comes_in_pieces(host: Host) -> None:
    """Output that no answer of SSM can hold comes whole, piece by piece; each answer fits."""
    load = Load.of(b"head -c 60000 /dev/urandom | tee /dev/stderr")
    first = host.do(ask(Q, load, whole=True, limit=carrier.PIECE, patience_s=5))
    offsets = range(carrier.PIECE, first.size, carrier.PIECE)
    rest = [host.begin(look(Q, offset=offset)).communicate(timeout=20)[0] for offset in offsets]
    assert len(rest) > 2
    assert all(len(answer) < carrier.PASSED_ON for answer in rest)
    packed = first.piece + b"".join(parse(answer, Q).piece for answer in rest)
    assert len(whole_output(first, packed)) == 60000
    with pytest.raises(Mangled, match="changed on the way"):
        whole_output(first, packed[:-1])


def test_a_background_child_does_not_delay_the_answer(host: Host) -> None:
    """What a program leaves running does not hold its answer back."""
    answer = host.run(b"sleep 4061 & echo $!")
    os.kill(int(gzip.decompress(answer.piece)), signal.SIGTERM)


def test_nothing_but_base64_and_our_own_text_is_sent() -> None:
    """No value stands in the text as it is, so nothing on the way can interpret it."""
    load = Load.of(Question("true", "observe", {"A": "{{ssm:secret}}'$(id)"}))
    text = ask(Q, load, whole=True, limit=1, patience_s=1).text()
    head = text[: text.index("# shellcheck")]
    assert re.fullmatch(r"([a-z]+='[A-Za-z0-9+/=-]*'\n)+", head)
    assert "{{" not in text
    assert len(shlex.split(head)) == head.count("\n")


@given(cut=st.integers(0, 400), junk=st.text(max_size=40))
def test_an_answer_that_is_cut_or_drowned_is_no_answer(cut: int, junk: str) -> None:
    """Whatever is missing from an answer, it is never taken for a whole one; noise around it does not matter."""
    whole = f"\nSWITCHPROOF-SSM/1 {Q} answered 0 3 {'0' * 64} 0\n\nYWJj\nSWITCHPROOF-SSM/1 {Q} end\n"
    assert parse(f"{junk}{whole}{junk}", Q).piece == b"abc"
    if cut < len(whole) - 1:
        with pytest.raises(Mangled):
            parse(junk + whole[:cut], Q)


def test_an_answer_to_another_question_is_no_answer() -> None:
    """An answer with another question's name is not taken."""
    other = f"\nSWITCHPROOF-SSM/1 {'f' * 16} answered 0 0 {'0' * 64} 0\n\n\nSWITCHPROOF-SSM/1 {'f' * 16} end\n"
    with pytest.raises(Mangled, match="does not contain the host's answer"):
        parse(other, Q)


def test_a_size_that_no_answer_has_is_refused() -> None:
    """What a host announces decides nothing: no list of a trillion pieces is made, no bomb inflated."""
    head = f"SWITCHPROOF-SSM/1 {Q} answered 0 999999999999 {'0' * 64} 0"
    output = f"\n{head}\nAA==\nAA==\nSWITCHPROOF-SSM/1 {Q} end\n"
    with pytest.raises(TooLong, match="announces 999999999999 bytes"):
        parse(output, Q)
    bomb = gzip.compress(bytes(limits.OUTPUT + 2**20), 1)
    with pytest.raises(TooLong, match="the unpacked output"):
        whole_output(Answer("answered", "0", len(bomb), hashlib.sha256(bomb).hexdigest()), bomb)
    cut = gzip.compress(b"whole" * 1000)[:-12]
    with pytest.raises(Mangled, match="its end is missing"):
        whole_output(Answer("answered", "0", len(cut), hashlib.sha256(cut).hexdigest()), cut)


RUNUSER = """#!/bin/sh
# Stands in for runuser and sudo: it notes whom it is called for, and runs the rest.
echo "$2 $*" >>"$(dirname "$0")/called"
while [ "$1" != /bin/sh ]; do shift; done
exec "$@"
"""


def test_a_program_of_another_user_gets_its_values_and_tells_its_end(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one command that a rule allows runs it, as root again, with all values and the program's own status."""
    (tmp_path / "runuser").write_text(RUNUSER)
    (tmp_path / "runuser").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    values = {"ODD": "it's {{ssm:odd}} $(id) `id` \"\\\n\u00e9", "EMPTY": ""}
    question = Question('printf "%s|%s|%s" "$1" "$ODD" "${EMPTY?}"; cat; exit 7', "observe", values)
    answer = host.do(ask(Q, Load.of(question, "deploy"), whole=True, limit=carrier.PIECE, patience_s=5))
    assert whole_output(answer, answer.piece).decode() == f"switchproof-is-root\nobserve|{values['ODD']}|"
    assert answer.status == "7"
    rule = " ".join(ELEVATED)
    assert (tmp_path / "called").read_text() == f"deploy -u deploy -- env LC_ALL=C sudo -n -H -u root -- {rule}\n"
