"""testinfra's words over our own connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import testinfra.host

import switchproof.deploy.run.testinfra
from switchproof.deploy.connection import DeadlineExceeded
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.ssh.provider import SshProvider
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run.journey import Journey
from switchproof.deploy.run.testinfra import host_over
from tests.providers.ways import LAB_TARGET, inside, target

pytestmark = pytest.mark.lab


@pytest.fixture(params=["dash", "bash"])
def shell(machine: LabHost, request: pytest.FixtureRequest) -> Iterator[str]:
    """What /bin/sh is: dash as on Debian, or bash as on NixOS."""
    inside(machine, f"ln -sfT {request.param} /bin/sh")
    yield request.param
    inside(machine, "ln -sfT dash /bin/sh")


@pytest.fixture(scope="module")
def journey(machine: LabHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """A journey to the host, as checks have it."""
    folder = tmp_path_factory.mktemp("testinfra")
    whole = target(machine)
    plan = Plan(
        mode=Mode.AUDIT,
        revision=None,
        target=whole,
        targets_file=LAB_TARGET,
        on_failure="keep",
        report_dir=folder,
    )
    journey = Journey(
        whole.hosts[0],
        plan=plan,
        run="testinfra",
        owner="a test",
        provider=SshProvider(whole),
        journal=Journal(folder, Redactor()),
        stop=threading.Event(),
    )
    yield journey
    journey.abandon()


@pytest.fixture
def host(journey: Journey) -> testinfra.host.Host:
    return host_over(journey)


def test_files_are_seen(host: testinfra.host.Host, shell: str) -> None:
    """A file's content, owner and mode are those on the host."""
    assert shell
    file = host.file("/etc/switchproof-lab/shape")
    assert file.exists
    assert file.is_file
    assert file.user == "root"
    assert file.content == b"ovh\n"
    assert host.file("/run/current-system").linked_to.startswith("/nix/store/")
    assert not host.file("/no/such/file").exists


def test_services_are_seen(host: testinfra.host.Host, shell: str) -> None:
    """A unit that runs is running, and one that does not exist is not."""
    assert shell
    assert host.service("hypervisor").is_running
    assert host.service("socat-sandbox@live").is_running
    assert not host.service("no-such-unit").is_running


def test_commands_say_how_they_ended(host: testinfra.host.Host, shell: str) -> None:
    """A command really runs, whichever shell /bin/sh is: its status, output and errors are its own."""
    assert shell
    done = host.run("echo out; echo err >&2; exit 3")
    assert (done.rc, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert host.run("false").failed
    assert host.run("cat").stdout == ""


@pytest.mark.parametrize("word", ["it's", "a b", "*", "$HOME", "`id`", "a\nb", "-n", ""])
def test_arguments_are_quoted(host: testinfra.host.Host, shell: str, word: str) -> None:
    """An argument reaches its command as it is."""
    assert shell
    assert host.run("printf '<%%s>' %s", word).stdout == f"<{word}>"


def test_255_is_an_exit_status(host: testinfra.host.Host) -> None:
    """A command that exits 255 has exited 255; it is no error of the transport, as it would be with ssh(1)."""
    assert host.run("exit 255").rc == 255
    assert host.run_expect([255], "exit 255").rc == 255


def test_a_command_that_a_signal_ended_is_inconclusive(host: testinfra.host.Host) -> None:
    """A command whose end is not known is inconclusive, and never taken for a success or a failure."""
    with pytest.raises(Inconclusive, match="it is unknown how this command ended"):
        host.run("kill -9 $$")


def test_after_a_deadline_the_host_is_reached_again(
    host: testinfra.host.Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that takes too long costs only itself: the next one has a connection again."""
    monkeypatch.setattr(switchproof.deploy.run.testinfra, "COMMAND_S", 0.5)
    with pytest.raises(DeadlineExceeded):
        host.run("sleep 1")
    assert host.run("echo again").stdout == "again\n"
