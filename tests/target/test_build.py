"""Where systems may be built: what the target file and the command line say, and what is refused before anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Options, Plan, make_plan
from switchproof.deploy.settings import TARGETS, read_settings
from switchproof.deploy.target.types import BuildOn

SETTINGS = read_settings(Path.cwd())


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which there is nothing but what a runner builds with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "nix", "nix-store"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def plan(options: Options, environ: dict[str, str] | None = None) -> Plan:
    return make_plan(options, environ or {}, SETTINGS)


def test_hosts_build_their_own_systems_unless_told_otherwise() -> None:
    """Nothing is asked of the runner then."""
    assert plan(Options(provider="lab", sha="main")).target.build.on == "host"


@pytest.mark.usefixtures("programs")
def test_the_command_line_says_where_to_build_before_the_target_file(tmp_path: Path) -> None:
    """Either of the two places can be asked for, whatever the file says."""
    text = (TARGETS / "lab.toml").read_text(encoding="utf-8")
    file = tmp_path / "lab.toml"
    file.write_text(f'{text}\n[build]\non = "runner"\n', encoding="utf-8")
    cases: tuple[tuple[BuildOn | None, BuildOn], ...] = ((None, "runner"), ("host", "host"), ("runner", "runner"))
    for asked, built in cases:
        made = plan(Options(provider="lab", sha="main", targets=str(file), build=asked))
        assert made.target.build.on == built


@pytest.mark.parametrize("missing", ["git", "nix", "nix-store"])
def test_a_runner_that_cannot_build_is_refused(programs: Path, missing: str) -> None:
    """The sentence names the program that it lacks."""
    (programs / missing).unlink()
    with pytest.raises(UsageError, match=f"--build=runner: {missing} is not installed on this machine"):
        plan(Options(provider="lab", sha="main", build="runner"))


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    "options",
    [
        Options(provider="aws", sha="main", build="runner"),
        Options(provider="lab", sha="main", shape="aws", build="runner"),
        Options(provider="local", sha="main", build="runner"),
    ],
)
def test_hosts_that_are_not_reached_over_ssh_build_their_own(options: Options) -> None:
    """What the runner builds has no way there, and one sentence says so before anything is touched."""
    environ = {**os.environ, "DEPLOY_INSTANCE_ID": "i-0123456789abcdef0", "DEPLOY_REPO_URL": "file:///srv/a.git"}
    environ["FLAKE_ATTR"] = "a"
    with pytest.raises(UsageError, match="--build=runner: the runner can copy systems only over SSH"):
        plan(options, environ)


@pytest.mark.usefixtures("programs")
def test_a_login_that_becomes_root_takes_systems_from_the_runner(tmp_path: Path) -> None:
    """They are copied by the one command that its rule allows."""
    text = (TARGETS / "ovh.toml").read_text(encoding="utf-8")
    file = tmp_path / "ovh.toml"
    file.write_text(text.replace("[ssh]\n", '[ssh]\nbecome = "sudo"\n', 1), encoding="utf-8")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    environ = {"DEPLOY_REPO_URL": "file:///srv/a.git"}
    for node in "AB":
        environ |= {f"OVH_NODE_{node}_HOST": f"192.0.2.{ord(node)}", f"OVH_NODE_{node}_HOST_KEY": key}
    made = plan(Options(provider="ovh", sha="main", targets=str(file), build="runner"), environ)
    assert made.target.build.on == "runner"


@pytest.mark.usefixtures("programs")
def test_only_what_needs_a_system_asks_where_to_build() -> None:
    """An audit needs none, and a rollback goes to what was built before."""
    with pytest.raises(UsageError, match="--build=runner: only for a deploy, a drill or a plan"):
        plan(Options(provider="lab", audit=True, build="runner"))
