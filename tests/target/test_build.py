"""Where systems may be built: what the target file and the command line say, and what is refused before anything."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Options, Plan
from switchproof.deploy.planning import make_plan
from switchproof.deploy.providers.ssh.table import SshHost
from switchproof.deploy.settings import TARGETS, read_settings
from switchproof.deploy.target.types import Host

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


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH on which there is nothing at all."""
    monkeypatch.setenv("PATH", str(tmp_path))


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
    cases: tuple[tuple[str | None, str], ...] = ((None, "runner"), ("host", "host"), ("runner", "runner"))
    for asked, built in cases:
        made = plan(Options(provider="lab", sha="main", targets=str(file), build=asked))
        assert made.target.build.on == built


@pytest.mark.parametrize("missing", ["git", "nix", "nix-store"])
def test_a_runner_that_cannot_build_is_refused(programs: Path, missing: str) -> None:
    """The sentence names the program that it lacks."""
    (programs / missing).unlink()
    with pytest.raises(UsageError, match=f"--build=runner: {missing} is not installed on this machine"):
        plan(Options(provider="lab", sha="main", build="runner"))


AWS = {"DEPLOY_INSTANCE_ID": "i-0123456789abcdef0", "DEPLOY_REPO_URL": "file:///srv/a.git", "FLAKE_ATTR": "a"}


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            Options(provider="local", sha="main", build="runner"),
            "--build=runner: built systems can be copied only over SSH or through SSM",
        ),
        (
            Options(provider="lab", sha="main", shape="aws", build="a"),
            "--build=a: only the runner can build for hosts through SSM",
        ),
    ],
)
def test_hosts_to_which_nothing_can_be_copied_build_their_own(options: Options, said: str) -> None:
    """One sentence says so before anything is touched."""
    with pytest.raises(UsageError, match=said):
        plan(options, {**os.environ, **AWS})


@pytest.mark.usefixtures("programs")
def test_hosts_through_ssm_take_systems_from_the_runner(tmp_path: Path) -> None:
    """Only a document that runs nothing but the script's verbs has no way for them."""
    file = tmp_path / "aws.toml"
    text = (TARGETS / "aws.toml").read_text(encoding="utf-8") + '\n[build]\nrepository = "file:///srv/a.git"\n'
    file.write_text(text, encoding="utf-8")
    options = Options(provider="aws", sha="main", build="runner", targets=str(file))
    audit = replace(options, audit=True)
    assert plan(options, {**os.environ, **AWS}).target.build.on == "runner"
    file.write_text(f'{text}\n[ssm]\ndocument = "Own-Verbs"\n', encoding="utf-8")
    assert plan(audit, {**os.environ, **AWS}).target.build.on == "runner"
    with pytest.raises(UsageError, match=r"--build=runner: the document Own-Verbs \(ssm\.document\) runs only"):
        plan(options, {**os.environ, **AWS})


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
    """A rollback goes to what was built before. An audit needs one only where it is to compare."""
    with pytest.raises(UsageError, match="--build=runner: only for a deploy, a drill, a plan or an audit"):
        plan(Options(provider="lab", rollback="", build="runner"))
    asked = plan(Options(provider="lab", audit=True, sha="main", build="runner"))
    assert (asked.evaluates, asked.target.build.on) == (True, "runner")
    assert not plan(Options(provider="lab", audit=True, sha="main")).evaluates


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
BIG = f'[[builders]]\nname = "big"\naddress = {{ env = "BIG" }}\nuser = "nix"\nhost_keys = ["{KEY}"]\n'


@pytest.fixture
def fleet(tmp_path: Path) -> Callable[..., Plan]:
    """Make a plan for the hosts `a` and `b` of a target file, with text at its end and perhaps a builder `big`."""

    def make(text: str = "", mode: str = "deploy", environ: dict[str, str] | None = None, **options: Any) -> Plan:
        whole = (TARGETS / "ovh.toml").read_text(encoding="utf-8")
        file = tmp_path / "ovh.toml"
        file.write_text(f"{whole}\n{text}", encoding="utf-8")
        known = {"DEPLOY_REPO_URL": "file:///srv/a.git", "BIG": "192.0.2.99", **(environ or {})}
        for node in "AB":
            known |= {f"OVH_NODE_{node}_HOST": f"192.0.2.{ord(node)}", f"OVH_NODE_{node}_HOST_KEY": KEY}
        given = {"sha": "main"} if mode == "deploy" else {"audit": True}
        return plan(Options(provider="ovh", targets=str(file), **given, **options), known)

    return make


def builders(made: Plan) -> list[tuple[str, str | None, bool]]:
    return [
        (builder.name, builder.part(SshHost).address, isinstance(builder, Host)) for builder in made.target.builders
    ]


@pytest.mark.usefixtures("nothing_installed")
def test_a_named_machine_builds_and_the_runner_needs_no_nix(fleet: Callable[..., Plan]) -> None:
    """It is a builder of the target file or a host, also one that is not selected; the command line comes first."""
    text = f'[build]\non = "big"\n{BIG}'
    big, a = ("big", "192.0.2.99", False), ("a", "192.0.2.65", True)
    assert builders(fleet(text)) == [big]
    made = fleet(text, build="a", hosts=("b",))
    assert (builders(made), [host.name for host in made.target.hosts]) == ([a], ["b"])
    assert builders(fleet(text, build="host")) == []
    assert builders(fleet(BIG, build="big")) == [big]
    assert builders(fleet(text, mode="audit")) == []


@pytest.mark.usefixtures("nothing_installed")
def test_a_builder_that_does_not_build_needs_no_values(fleet: Callable[..., Plan]) -> None:
    """Variables of its table are looked up only where it builds."""
    assert builders(fleet(f'[build]\non = "big"\n{BIG}', mode="audit", environ={"BIG": ""})) == []
    with pytest.raises(UsageError, match=r"builders\[0\]\.address: the environment variable BIG is not set"):
        fleet(f'[build]\non = "big"\n{BIG}', environ={"BIG": ""})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[build]\non = "big"\n', "build.on: no such builder (found 'big'; allowed: host, runner, a, b)"),
        (BIG.replace('"big"', '"a"'), "builders[0].name: 'a' is already the name of another host or builder"),
        (BIG.replace('"big"', '"runner"'), "builders[0].name: 'runner' is already a value of build.on"),
        (BIG.replace("192", "x").replace("address", "# "), "builders[0].address: missing"),
        (BIG.replace("host_keys", "# "), "builders[0].host_keys: missing; pin the builder's key here"),
        (BIG.replace("AAAAC3", "AAAA"), "builders[0].host_keys[0]: "),
        (f'{BIG}flake_attr = "x"\n', "builders[0].flake_attr: unknown key"),
    ],
)
def test_a_builder_that_cannot_be_meant_is_refused(fleet: Callable[..., Plan], text: str, said: str) -> None:
    """The message has the key, and what is allowed."""
    with pytest.raises(UsageError, match=re.escape(said)):
        fleet(text)


def test_a_builder_that_the_file_does_not_have_is_refused(fleet: Callable[..., Plan]) -> None:
    """The command line can name only what the target file pins."""
    said = "--build=huge: no such builder; allowed: host, runner, a, b, big"
    with pytest.raises(UsageError, match=re.escape(said)):
        fleet(BIG, build="huge")
