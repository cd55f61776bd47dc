"""`switchproof init` writes what a flake repository needs for its first deploy, and never overwrites anything."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from switchproof.command import main
from switchproof.deploy.errors import UsageError
from switchproof.deploy.paths.sources import Surveyor
from switchproof.deploy.plan import Options
from switchproof.deploy.planning import make_plan
from switchproof.deploy.providers import load
from switchproof.deploy.settings import TARGETS, read_settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


@pytest.fixture
def flake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A flake repository, and a nix that knows two configurations of it."""
    root = tmp_path / "repository"
    (root / "inner").mkdir(parents=True)
    (root / "flake.nix").write_text("{ outputs = _: { }; }\n", encoding="utf-8")
    for command in (["init", "--quiet"], ["remote", "add", "origin", "https://git.example/team/hosts.git"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    shown = json.dumps({"nixosConfigurations": {"web-2": {}, "web-1": {}, 'x"; evil': {}}, "packages": {}})
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nix").write_text(f"#!/bin/sh\ncat <<'END'\n{shown}\nEND\n", encoding="utf-8")
    (tools / "nix").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(root / "inner")
    return root


def filled(path: Path) -> None:
    """Fill in a target file as its comments say."""
    path.write_text(
        re.sub(r"(?m)^# ((?:units|listen|url|json) = )", r"\1", path.read_text("utf-8")), encoding="utf-8"
    )


VARIABLES = {"ADDRESS": "192.0.2.1", "HOST_KEY": KEY}


def test_it_writes_a_target_file_of_the_flakes_hosts(flake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hosts are those that nix names. The file is refused until health is filled in, and then it is complete."""
    assert main(["init"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("deploy/targets/ovh.toml is written\n.github/workflows/deploy.yml is written\n.gitignore")
    target = flake / "deploy/targets/ovh.toml"
    environ = {f"WEB_{number}_{name}": value for number in (1, 2) for name, value in VARIABLES.items()}
    assert all(name in shown for name in environ)
    with pytest.raises(UsageError, match=r"hypervisor"):
        load(target, environ)
    filled(target)
    loaded = load(target, environ)
    assert [host.flake_attr for host in loaded.hosts] == ["web-1", "web-2"]
    assert loaded.repository.url == "https://git.example/team/hosts.git"
    assert list(loaded.runtime) == ["web"]


def test_another_name_is_a_provider_over_ssh(flake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The target file of any other name says its transport, and a plan reads it by that name."""
    assert main(["init", "fleet"]) == 0
    assert "switchproof plan --provider=fleet" in capsys.readouterr().out
    filled(flake / "deploy/targets/fleet.toml")
    environ = {f"WEB_{number}_{name}": value for number in (1, 2) for name, value in VARIABLES.items()}
    plan = make_plan(Options(provider="fleet", sha="main"), environ, read_settings(flake))
    assert [host.name for host in plan.target.hosts] == ["web-1", "web-2"]


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_its_job_keeps_to_the_contract(flake: Path, service: str) -> None:
    """The CI job is valid, and the survey of deploy paths finds nothing wrong with it."""
    assert main(["init", f"--ci={service}"]) == 0
    job = flake / ".github/workflows/deploy.yml"
    if service == "gitlab":
        job = flake / ".gitlab/switchproof.yml"
        (flake / ".gitlab-ci.yml").write_text("include:\n  - local: .gitlab/switchproof.yml\n", encoding="utf-8")
    schema = ["--builtin-schema", "vendor.github-workflows"]
    if service == "gitlab":
        schema = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    done = subprocess.run(
        [Path(sys.executable).with_name("check-jsonschema"), *schema, job],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    survey = Surveyor(flake).survey()
    assert survey.exit_code == 0
    assert [(entry.name, entry.providers) for entry in survey.active] == [("production", ("ovh",))]


def test_a_provider_of_another_kind_is_led_to_its_example(flake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For hosts of AWS nothing is written over SSH; the message names the file to start from."""
    with pytest.raises(SystemExit):
        main(["init", "aws"])
    assert f"cannot be the name of hosts over SSH; start from {TARGETS / 'aws.toml'}" in capsys.readouterr().err
    assert not (flake / "deploy").exists()


@pytest.mark.parametrize("origin", ["git@git.example:team/hosts.git", "https://user:t0ken@git.example/hosts.git"])
def test_a_remote_that_hosts_cannot_use_is_no_url_of_theirs(
    origin: str, flake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The URL in the target file is an example then, which the last lines say; a token in the remote is not shown."""
    subprocess.run(["git", "remote", "set-url", "origin", origin], cwd=flake, check=True)
    assert main(["init", "fleet"]) == 0
    shown = capsys.readouterr().out
    assert "[repository] url is an example, as the remote origin is not https without a user:" in shown
    assert "t0ken" not in shown + (flake / "deploy/targets/fleet.toml").read_text(encoding="utf-8")


def test_a_repository_without_a_remote_has_an_example_for_its_url(
    flake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message gives the reason that applies."""
    subprocess.run(["git", "remote", "remove", "origin"], cwd=flake, check=True)
    assert main(["init"]) == 0
    assert "[repository] url is an example, as there is no remote origin:" in capsys.readouterr().out


@pytest.mark.usefixtures("flake")
def test_a_job_that_stays_and_knows_another_target_file_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A second target file gets no job of its own; the line about the job says so."""
    assert main(["init", "fleet"]) == 0
    capsys.readouterr()
    assert main(["init", "edge"]) == 0
    shown = capsys.readouterr().out
    assert (
        ".github/workflows/deploy.yml exists and stays as it is, and does not name edge: add a job for it\n" in shown
    )
    assert main(["init", "fleet"]) == 0
    assert "deploy.yml exists and stays as it is\n" in capsys.readouterr().out


@pytest.mark.usefixtures("flake")
def test_the_job_of_gitlab_is_to_be_included(capsys: pytest.CaptureFixture[str]) -> None:
    """GitLab reads only the files that .gitlab-ci.yml includes, so the last step is that line."""
    assert main(["init", "--ci=gitlab"]) == 0
    line = "6. Add to .gitlab-ci.yml: include: { local: .gitlab/switchproof.yml }\n"
    assert capsys.readouterr().out.endswith(line)


def test_nothing_is_overwritten(flake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that exist keep their bytes, and the command says so."""
    target = flake / "deploy/targets/ovh.toml"
    target.parent.mkdir(parents=True)
    target.write_text("mine", encoding="utf-8")
    assert main(["init"]) == 0
    shown = capsys.readouterr().out
    assert "deploy/targets/ovh.toml exists and stays as it is" in shown
    assert "in CI:\n     the variables that it names\n" in shown, "variables of hosts that the file may not have"
    assert target.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(("before", "added"), [(None, ""), ("result", "result\n"), ("result\n", "result\n")])
def test_git_ignores_what_runs_write(flake: Path, before: str | None, added: str) -> None:
    """Lines are added behind those that are there, once."""
    if before is not None:
        (flake / ".gitignore").write_text(before, encoding="utf-8")
    for _ in range(2):
        assert main(["init"]) == 0
        lines = "/reports/runs/\n/reports/latest\n/reports/index.html\n/reports/trials/\n"
        assert (flake / ".gitignore").read_text(encoding="utf-8") == f"{added}{lines}"


def test_what_git_ignores_already_is_not_added(flake: Path) -> None:
    """A folder of runs elsewhere needs one line, and none where a pattern covers it."""
    (flake / "pyproject.toml").write_text('[tool.switchproof]\nreport-dir = "out/runs"\n', encoding="utf-8")
    assert main(["init"]) == 0
    assert (flake / ".gitignore").read_text(encoding="utf-8") == "/out/runs/\n"
    (flake / ".gitignore").write_text("out\n", encoding="utf-8")
    assert main(["init"]) == 0
    assert (flake / ".gitignore").read_text(encoding="utf-8") == "out\n"


def test_without_nix_there_is_an_example_host(
    flake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("switchproof.init.shutil.which", lambda _: None)
    assert main(["init"]) == 0
    assert "nix is not installed here: replace the host web-1" in capsys.readouterr().out
    assert 'flake_attr = "web-1"' in (flake / "deploy/targets/ovh.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["../x", "-x", "aws", "lab"])
def test_a_name_that_cannot_be_is_refused(flake: Path, name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["init", "--", name])
    assert ended.value.code == 4
    assert not (flake / "deploy").exists()


def test_a_repository_without_a_flake_is_refused(flake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (flake / "flake.nix").unlink()
    assert main(["init"]) == 4
    assert f"{flake}: flake.nix is missing" in capsys.readouterr().err
