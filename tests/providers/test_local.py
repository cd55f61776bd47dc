"""This machine as the host: the contract of a connection, kept without a network."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from switchproof.deploy.connection import DeadlineExceeded
from switchproof.deploy.contract import HostState, RunVerdict
from switchproof.deploy.host.frame import parse
from switchproof.deploy.host.program import question
from switchproof.deploy.providers.local import LocalConnection
from tests.deploys.sessions import session
from tests.providers.ways import wait_for

MIB = 2**20


@pytest.fixture
def connection() -> LocalConnection:
    return LocalConnection("here")


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("status", [0, 3, 137, 194, 255])
def test_exit_statuses_arrive(connection: LocalConnection, status: int) -> None:
    """A program's exit status is its own."""
    assert connection.run(f"exit {status}".encode(), timeout_s=10).exit_status == status


def test_a_death_by_signal_has_no_exit_status(connection: LocalConnection) -> None:
    """A program that a signal ended has no exit status, and what it had printed arrives."""
    done = connection.run(b"echo before; kill -9 $$", timeout_s=10)
    assert (done.stdout, done.exit_status) == (b"before\n", None)


def test_much_output_is_drained_from_both(connection: LocalConnection) -> None:
    """Mebibytes on standard output and standard error arrive whole, each in its own place, byte for byte."""
    text = f"head -c {3 * MIB} /dev/zero >&2; head -c {5 * MIB} /dev/zero; printf '\\377\\000'"
    done = connection.run(text.encode(), timeout_s=20)
    assert done.stdout == bytes(5 * MIB) + b"\xff\0"
    assert done.stderr == bytes(3 * MIB)


def test_the_program_is_fed_through_standard_input(connection: LocalConnection) -> None:
    """A program longer than any argument list arrives whole, and stands in no process's arguments."""
    text = b"tr '\\0' ' ' </proc/$$/cmdline; : <<'END'\n" + b"y" * (3 * MIB) + b"\nEND\necho done\n"
    assert connection.run(text, timeout_s=20).stdout == b"/bin/sh -s done\n"


def test_a_program_that_reads_nothing_more_ends(connection: LocalConnection) -> None:
    """A program that ends before it was read to its end has ended, with its own status."""
    assert connection.run(b"exit 5\n" + b"x" * (3 * MIB), timeout_s=10).exit_status == 5


def test_a_deadline_ends_all_of_the_program(connection: LocalConnection) -> None:
    """When the time is over, the program and all of its children are ended."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"here: no complete answer within 0\.5 s"):
        connection.run(b"sleep 4011 & sleep 4012 & (sleep 4013; :)", timeout_s=0.5)
    assert time.monotonic() - began < 3
    wait_for(lambda: not subprocess.run(["pgrep", "-f", "^sleep 401[123]$"], check=False).stdout, "they ended")


def test_a_child_in_the_background_holds_nothing_up(connection: LocalConnection) -> None:
    """A program that ended while a child of its holds the output open has ended; the child goes on."""
    done = connection.run(b"setsid sleep 4021 & echo $!; exit 7", timeout_s=10)
    pid = int(done.stdout)
    try:
        assert done.exit_status == 7
        assert done.seconds < 5
        assert alive(pid)
    finally:
        os.kill(pid, 9)


def test_a_stray_child_does_not_outlast_the_deadline(connection: LocalConnection) -> None:
    """A child that left the process group and holds the output cannot keep us past the deadline."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        connection.run(b"setsid sh -c 'sleep 3' & sleep 4031", timeout_s=0.5)
    assert time.monotonic() - began < 2


def test_closing_ends_what_runs() -> None:
    """Closing a connection twice, or before its first command, is no error."""
    connection = LocalConnection("here")
    connection.close()
    assert connection.run(b"exit 0", timeout_s=10).exit_status == 0
    connection.close()
    connection.close()


def test_a_verb_answers_with_a_frame(connection: LocalConnection) -> None:
    """The host's script runs here from the same text, and answers with a frame."""
    nonce = "0" * 16
    done = connection.run(question("resolve", nonce, {"RELEASE_SHA": "a b"}), timeout_s=10)
    answer = parse(done.stdout, nonce=nonce, verb="resolve")
    assert answer.get("outcome") == "malformed" or "nix" in answer.text("lacking")


def test_a_machine_that_is_no_nixos_host_is_never_canonical(tmp_path: Path) -> None:
    """An audit of a machine without any of it proves nothing, says so without a traceback, and changes nothing."""
    if os.geteuid() != 0:
        pytest.skip("the provider 'local' needs root")
    environ = {"FLAKE_ATTR": "choiros-a", "DEPLOY_REPO_URL": "file:///nowhere"}
    ended = session("--provider=local", "--audit", runs=tmp_path / "runs", environ=environ)
    assert ended.status in {1, 11}, ended.output
    assert ended.record.verdict is not RunVerdict.CANONICAL
    found = HostState.FOUND_UNHEALTHY if ended.status == 1 else HostState.UNKNOWN
    assert ended.record.host("local").state is found
    assert ended.record.host("local").state_reason.endswith("nothing was changed.")
    assert "Traceback" not in ended.output
    assert "the check itself broke" not in ended.output
    assert "passed passed" not in ended.verdicts("local")
    assert not Path("/var/lib/switchproof").exists()
    assert not Path("/run/switchproof").exists()


def test_a_missing_variable_is_a_usage_error(tmp_path: Path) -> None:
    """Without FLAKE_ATTR the session exits 4, and says which variable the target file wants."""
    environ = {"FLAKE_ATTR": "", "DEPLOY_REPO_URL": "file:///nowhere"}
    ended = session("--provider=local", "--audit", runs=tmp_path / "runs", environ=environ)
    assert ended.status == 4, ended.output
    assert "the environment variable FLAKE_ATTR is not set" in ended.output
