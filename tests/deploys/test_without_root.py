"""Whole deploys by a login user without root rights, as a user starts them."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import LONGEST_S, ROOT, session
from tests.deploys.ways_back import Stage
from tests.labs import own
from tests.logins import COMMAND, PASSWORD, allow, login_user

pytestmark = [pytest.mark.lab, pytest.mark.long]

RULE = f"deploy ALL=(root) {COMMAND}"


class DeployUser(Stage):
    """A host that is reached as the user `deploy`, whom sudo asks for a password."""

    def __init__(self, lab: Lab, folder: Path, confirm_s: float) -> None:
        super().__init__(lab, "a", folder, confirm_s)
        host = f'address = "{self.host.address}"\nhost_keys = ["{self.host.host_key}"]\n'
        text = self.targets.read_text(encoding="utf-8").replace("flake_attr", f"{host}flake_attr", 1)
        text = text.replace('provider = "lab"', 'provider = "fleet"\ntransport = "ssh"')
        ssh = f'user = "deploy"\nidentity_files = ["{self.host.identity_file}"]\nbecome = "sudo"\n'
        self.targets.write_text(f'{text}\n[ssh]\n{ssh}become_password = "env:OF_DEPLOY"\n', encoding="utf-8")
        self.environ["OF_DEPLOY"] = PASSWORD

    @property
    def arguments(self) -> list[str]:
        """Over SSH, as to any fleet."""
        return ["--provider=fleet", f"--targets={self.targets}"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host with the user `deploy`."""
    with Lab.up(("a",), name=own("without-root"), runtime="netns") as lab, login_user(lab.hosts["a"]):
        yield lab


@pytest.fixture
def stage(lab: Lab, tmp_path: Path) -> DeployUser:
    """The host, which waits longer for a confirmation than a busy runner takes."""
    return DeployUser(lab, tmp_path / "stage", confirm_s=300.0)


@pytest.fixture
def hasty_stage(lab: Lab, tmp_path: Path) -> DeployUser:
    """The host, which goes back by itself soon."""
    return DeployUser(lab, tmp_path / "stage", confirm_s=20.0)


def test_a_deploy_that_sudo_refuses_touches_nothing(stage: DeployUser) -> None:
    """One sentence, before anything is asked of the host, and exit code 4."""
    allow(stage.host)
    ended = session(*stage.arguments, "--sha=main", runs=stage.folder / "runs", environ=stage.environ)
    assert ended.status == 4, ended.output
    assert "a: sudo there does not allow deploy to run the command of a run as root" in ended.output
    assert "nothing was touched: a login user has no root rights on its host" in ended.output
    assert stage.inside("ls /var/lib/switchproof 2>/dev/null || true") == ""


def test_a_system_that_takes_root_away_goes_back(hasty_stage: DeployUser) -> None:
    """A new system without the rule cannot be confirmed: the host goes back by itself, and is verified there."""
    allow(hasty_stage.host, RULE)
    process = hasty_stage.begin("taken", "--sha=main")
    hasty_stage.reach("taken", '"kind":"switch-begun"')
    allow(hasty_stage.host)
    hasty_stage.reach("taken", "sudo there does not allow deploy")
    hasty_stage.wait_for_return()
    allow(hasty_stage.host, RULE)
    ended = hasty_stage.end("taken", process)
    host = ended.record.host("a")
    assert str(host.state) == "rolled-back", ended.output
    assert ended.status != 0


def test_a_deploy_through_sudo_proves_the_contract(stage: DeployUser) -> None:
    """All of it works without a root login; the password is in no file of the run, and on no file of the host."""
    allow(stage.host, RULE)
    ended = session(*stage.arguments, "--sha=main", runs=stage.folder / "runs", environ=stage.environ)
    assert ended.status == 0, ended.output
    (way,) = {host.connection for host in ended.record.hosts}
    assert way is not None
    assert (way.user, way.become) == ("deploy", "sudo")
    assert PASSWORD not in ended.output
    assert not [path for path in ended.folder.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    seen = stage.inside(
        f"grep -rlF '{PASSWORD}' /var/lib/switchproof /run/switchproof /var/log /tmp || true; "
        f"journalctl -b | grep -cF '{PASSWORD}' || true"
    )
    assert seen == "0"


def test_a_person_may_type_the_password(stage: DeployUser) -> None:
    """It is asked for at the terminal before anything else is shown there, and never shown itself."""
    allow(stage.host, RULE)
    text = stage.targets.read_text(encoding="utf-8").replace('"env:OF_DEPLOY"', '"prompt"')
    stage.targets.write_text(text, encoding="utf-8")
    command = [*stage.arguments, "--audit", f"--report-dir={stage.folder / 'runs'}"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *command])  # noqa: S606 - a terminal needs a fork
    shown, is_typed, deadline = b"", False, time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            shown += os.read(terminal, 2**16)
        except OSError:  # the other end of a terminal is closed
            break
        if not is_typed and b"Password of deploy on the hosts, for sudo: " in shown:
            assert b"audit" not in shown
            os.write(terminal, f"{PASSWORD}\n".encode())
            is_typed = True
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown.decode(errors="replace")
    assert is_typed
    assert PASSWORD.encode() not in shown
