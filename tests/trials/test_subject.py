"""A path on trial runs by itself: what it is told, what becomes of it at its limit, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.errors import CommandFailedError
from switchproof.deploy.providers.lab.trial import arguments as watching
from switchproof.deploy.providers.lab.trial import subject as module
from switchproof.deploy.providers.lab.trial.arguments import Arguments
from switchproof.deploy.providers.lab.trial.seen import Ended, Process
from switchproof.deploy.providers.lab.trial.subject import MARK, Command, Subject, environment

pytestmark = pytest.mark.lab  # mounts need root

SOON_S = 20.0

Run = Callable[..., tuple[Ended, list[Process]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command as a path on trial; return how it ended and what it left running."""

    def run(
        text: str, *, limit_s: float = SOON_S, folder: Path = tmp_path, **given: str
    ) -> tuple[Ended, list[Process]]:
        (tmp_path / "artifacts").mkdir()
        (tmp_path / "ssh_config").write_text("Host a-name\n  HostName 192.0.2.7\n", encoding="utf-8")
        own = {MARK: f"test-{os.getpid()}-{time.monotonic_ns()}", "ARTIFACTS": str(tmp_path / "artifacts"), **given}
        command = Command(text, folder, limit_s)
        started = Subject.start(command, asked="a" * 40, given=environment(own, os.environ), folder=tmp_path)
        started.wait(time.monotonic() + limit_s, given_up=lambda: False)
        return started.end(), started.leftovers()

    return run


def test_what_it_says_and_leaves_is_its_output(run: Run) -> None:
    """Both streams in order, and every text among its artifacts; its exit code is its own."""
    ended, left = run(
        'echo out; echo err >&2; echo kept >"$ARTIFACTS/log.txt"; printf "a\\0b" >"$ARTIFACTS/x"; exit 7'
    )
    assert ended.exit_code == 7
    assert ended.output.startswith("out\nerr\n")
    assert "==> log.txt <==\nkept\n" in ended.output
    assert "a\0b" not in ended.output
    assert left == []


def test_a_link_among_its_artifacts_is_not_followed(run: Run) -> None:
    """A path cannot have other files taken for what it said."""
    ended, _ = run('ln -s /etc/hostname "$ARTIFACTS/x"; ln -s /etc "$ARTIFACTS/y"')
    assert "==>" not in ended.output


def test_plain_ssh_knows_the_host(run: Run) -> None:
    """The configuration of every `ssh` is the trial's for the path, and nobody else's."""
    ended, _ = run("ssh -G a-name")
    assert "hostname 192.0.2.7\n" in ended.output


def test_at_its_limit_it_is_asked_to_end(run: Run) -> None:
    """It has no exit code then, and what it says when asked is heard."""
    ended, _ = run("trap 'echo asked; exit 3' TERM; while :; do sleep 0.1; done", limit_s=1)
    assert ended.late
    assert "asked" in ended.output


def test_what_does_not_end_is_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is deaf to signals is killed, with its children."""
    monkeypatch.setattr(module, "GRACE_S", 0.5)
    ended, left = run("trap '' TERM; sleep 300 & sleep 301; sleep 302", limit_s=1)
    assert ended.late
    assert left == []


def test_what_it_leaves_running_is_found_and_ended(run: Run) -> None:
    """Also what left its process group, and holds its output open."""
    ended, left = run("setsid sleep 333 & sleep 334 & exit 0")
    assert ended.succeeded
    assert sorted(process.command for process in left) == ["sleep 333", "sleep 334"]
    deadline = time.monotonic() + SOON_S
    while any(Path(f"/proc/{process.pid}").exists() for process in left):
        assert time.monotonic() < deadline


def test_a_long_output_is_cut_in_the_middle(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning and its end are kept, and that something is missing is known."""
    monkeypatch.setattr(module, "HEAD_KEPT", 1000)
    monkeypatch.setattr(module, "TAIL_KEPT", 1000)
    ended, _ = run("echo begin; seq 100000; echo end")
    assert ended.cut
    assert ended.output.startswith("begin\n")
    assert "bytes are left out here" in ended.output
    assert ended.output.rstrip().endswith("end")


def test_a_folder_that_is_not_there_is_no_fault_of_the_path(run: Run) -> None:
    """What the trial could not set up is told as that, not as an exit code."""
    with pytest.raises(CommandFailedError, match="could not be set up"):
        run("true", folder=Path("/nonexistent"))


def test_it_is_told_nothing_of_other_hosts_and_clouds() -> None:
    """Credentials of the session, its agent and its CI service stay out; the rest of the environment is passed on."""
    own = dict.fromkeys(("AWS_PROFILE", "SSH_AUTH_SOCK", "GITHUB_ACTIONS", "CI", "OVH_NODE_B_HOST", "EDITOR"), "x")
    assert environment({"RELEASE_SHA": "y"}, own) == {"EDITOR": "x", "RELEASE_SHA": "y"}


def test_a_secret_in_an_argument_is_seen(run: Run) -> None:
    """Its name and the program are told, the secret is not; in the environment it is no finding."""
    with Arguments({"the token": "s3cr3t-value", "the key": "k3y-value"}) as arguments:
        run("sh -c 'sleep 0.5; : s3cr3t-value'", KEY="k3y-value")
    assert arguments.findings == ("the token stood in the command line of `sh`",)


def test_a_secret_that_a_process_takes_later_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that becomes another program keeps its number, long after the first looks at it."""
    monkeypatch.setattr(watching, "LOOKS", 0)
    with Arguments({"the token": "s3cr3t-value"}) as arguments:
        program = subprocess.Popen(["sh", "-c", "read line; : s3cr3t-value"], stdin=subprocess.PIPE)
        try:
            deadline = time.monotonic() + SOON_S
            while not arguments.findings and time.monotonic() < deadline:
                time.sleep(watching.INTERVAL_S)
        finally:
            program.communicate(b"\n")
    assert arguments.findings == ("the token stood in the command line of `sh`",)
