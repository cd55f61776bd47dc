"""The rule for sudo that a target file's login users need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchproof import command
from tests.logins import COMMAND

ROOT = Path(__file__).parents[2]
OVH = (ROOT / "deploy" / "targets" / "ovh.toml").read_text(encoding="utf-8")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped target file, whose hosts are logged in to as `deploy`."""
    for node in "AB":
        monkeypatch.setenv(f"OVH_NODE_{node}_HOST", f"{node.lower()}.example")
        monkeypatch.setenv(f"OVH_NODE_{node}_HOST_KEY", KEY)
    monkeypatch.setenv("DEPLOY_REPO_URL", "https://example.org/r.git")
    path = tmp_path / "ovh.toml"
    path.write_text(re.sub(r"(?ms)^\[ssh\]\n.*?\n\n", '[ssh]\nuser = "deploy"\nbecome = "sudo"\n\n', OVH))
    return path


def test_the_rule_allows_the_one_command(target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what lab hosts accept, without a password where the target file names none."""
    assert command.main(["sudoers", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"deploy ALL=(root) NOPASSWD: {COMMAND}"
    target.write_text(target.read_text().replace('"sudo"\n', '"sudo"\nbecome_password = "prompt"\n'))
    assert command.main(["sudoers", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"deploy ALL=(root) {COMMAND}"


def test_the_rule_is_a_nixos_module_as_well(target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NixOS writes sudoers itself."""
    assert command.main(["sudoers", "--nixos", str(target)]) == 0
    module = capsys.readouterr().out
    assert f'commands = [ {{ command = "{COMMAND}"; options = [ "NOPASSWD" ]; }} ];' in module
    assert 'users = [ "deploy" ];' in module


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('become = "sudo"\n', "", "no login user needs sudo; set ssh.become"),
        ('"deploy"', '"root"', "no login user needs sudo"),
        ('"deploy"', '"x ALL=(ALL) NOPASSWD: ALL #"', "is not a user's name"),
    ],
)
def test_a_file_that_needs_no_rule_is_told(
    target: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, problem: str
) -> None:
    """Nothing is printed that could be taken for a rule."""
    target.write_text(target.read_text().replace(old, new))
    assert command.main(["sudoers", str(target)]) == 4
    shown = capsys.readouterr()
    assert problem in shown.err
    assert not shown.out


def test_the_user_of_instances_has_the_same_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through SSM, `user` under `[ssm]` is who becomes root."""
    monkeypatch.setenv("DEPLOY_INSTANCE_ID", "i-00000000")
    path = tmp_path / "aws.toml"
    path.write_text(f'{(ROOT / "deploy/targets/aws.toml").read_text(encoding="utf-8")}\n[ssm]\nuser = "deploy"\n')
    assert command.main(["sudoers", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"deploy ALL=(root) NOPASSWD: {COMMAND}"
