"""The examples for CI keep the rules that their page gives, so that whoever copies them keeps them too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from switchproof.command import arguments
from tests.action import ACTION
from tests.component import INPUTS, TEMPLATE, filled

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
GITHUB = sorted(EXAMPLES.glob("github-*.yml"))
FLEET = EXAMPLES / "gitlab-fleet.yml"
GITLAB = sorted({*EXAMPLES.glob("gitlab-*.yml")} - {FLEET})


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def sessions(path: Path) -> dict[str, dict[str, Any]]:
    """The sessions that a file runs, each with its inputs, by the names of their jobs."""
    content = read(path)
    if path in GITLAB:
        return {part["inputs"]["job"]: part["inputs"] for part in content["include"]}
    steps = {
        name: [step for step in job["steps"] if step.get("uses") == "./"] for name, job in content["jobs"].items()
    }
    return {name: step["with"] for name, (step,) in steps.items()}


every_file = pytest.mark.parametrize("path", [*GITHUB, *GITLAB], ids=lambda path: path.stem)
on_github = pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
on_gitlab = pytest.mark.parametrize("path", GITLAB, ids=lambda path: path.stem)


@every_file
def test_each_job_runs_one_session(path: Path) -> None:
    """Staging, production and audit run one session each, with inputs and options that there are."""
    found = sessions(path)
    assert list(found) == ["staging", "production", "audit"]
    for name, given in found.items():
        verb = "audit" if name == "audit" else "deploy"
        assert given.get("command", "deploy") == verb
        assert given["provider"] == path.stem.partition("-")[2]
        known = ACTION["inputs"] if path in GITHUB else INPUTS
        assert given.keys() <= known.keys()
        words = [f"--provider={given['provider']}", "--sha=main", *given["arguments"].splitlines()]
        assert arguments(verb, words)


@every_file
def test_the_commit_is_the_pushed_one_from_first_to_last(path: Path) -> None:
    """Every session gets the pushed commit; no job asks for a branch, pulls, or takes host keys from the network."""
    text = path.read_text(encoding="utf-8")
    if path in GITHUB:
        assert all(given["sha"] == "${{ env.SHA }}" for given in sessions(path).values())
        assert "SHA: ${{ github.sha }}" in text
    else:
        assert not any("sha" in given for given in sessions(path).values())
        assert INPUTS["sha"]["default"] == "$CI_COMMIT_SHA"
    for floating in ("git pull", "git clone", "origin/", "github.ref", "CI_COMMIT_REF", "ssh-keyscan", "StrictHost"):
        assert floating not in text


@every_file
def test_production_asks_for_what_staging_signed(path: Path) -> None:
    """Staging signs its run; production, after it, demands that record and says whose signature counts."""
    staging, production = (sessions(path)[name] for name in ("staging", "production"))
    if path in GITLAB:
        assert staging["sign"] is True
        assert production["require-record"] == "staging"
        stages = read(path)["stages"]
        assert stages.index(staging["stage"]) < stages.index(production["stage"])
        return
    assert "--sign-key=" in staging["arguments"]
    assert "--require-record=staging\n" in production["arguments"]
    assert "--allowed-signers=" in production["arguments"]
    assert read(path)["jobs"]["production"]["needs"] == "staging"


@pytest.mark.parametrize("path", [ROOT / "action.yml", TEMPLATE], ids=lambda path: path.stem)
def test_packages_are_installed_by_their_digests(path: Path) -> None:
    """Nothing is installed beside the keys but what the lock file names, and nothing of it is built."""
    text = re.sub(r"(\./)?\.switchproof|\$GITHUB_ACTION_PATH", ".", path.read_text(encoding="utf-8"))
    installs = re.findall(r"pip\"? install (.*)", text)
    assert [re.sub(r"--quiet |[\"']", "", line) for line in installs] == [
        "--require-hashes --only-binary=:all: -r ./requirements-deploy.lock",
        "--no-deps --no-build-isolation .",
    ]


def test_the_lock_of_deploys_has_every_dependency_by_digest() -> None:
    """Each package of it has digests and the version that the tests run with, and no dependency is missing."""
    lock = (ROOT / "requirements-deploy.lock").read_text(encoding="utf-8")
    found = re.findall(r"^([a-z0-9-]+)==(\S+)((?:.*\\\n)+.*)", lock, re.MULTILINE)
    entries = {name: (version, rest) for name, version, rest in found}
    assert len(entries) == len(re.findall(r"^[a-z0-9-]+==", lock, re.MULTILINE))
    assert all("--hash=sha256:" in rest for _, rest in entries.values())
    tried = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    assert {name: version for name, (version, _) in entries.items() if name in tried}.items() <= tried.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *extras["aws"],
        *extras["paths"],
        *project["dependency-groups"]["build"],
    ]
    assert {re.split(r"[<>=]", one)[0].replace(".", "-") for one in wanted} <= entries.keys()


@on_github
def test_github_locks_keeps_and_grants_little(path: Path) -> None:
    """Deploys wait for each other, reports are kept by the action, actions have versions, rights are few."""
    content = read(path)
    assert content["permissions"] == {}
    for name, job in content["jobs"].items():
        aws = {"id-token": "write"} if "aws" in path.stem else {}
        assert job["permissions"] == {"contents": "read"} | aws
        assert job["environment"].startswith(name if name != "audit" else "production")
        if name != "audit":
            assert job["concurrency"] == {"group": name, "cancel-in-progress": False}
        assert job["steps"][-1]["with"]["artifact"] == name
        checkout, *_, last = job["steps"]
        assert checkout["with"]["ref"] == "${{ vars.SWITCHPROOF_COMMIT }}"
        assert last["uses"] == "./"
        for step in job["steps"][:-1]:
            assert re.fullmatch(r"[\w/-]+@v\d+\.\d+\.\d+", step.get("uses", "a/b@v1.2.3"))
            assert "${{" not in step.get("run", "")  # text from elsewhere stays out of the shell's own


@on_gitlab
def test_gitlab_locks_and_keeps(path: Path) -> None:
    """The component takes every job as it is given: deploys wait for each other, production for a person."""
    for name, given in sessions(path).items():
        ((job, made),) = filled(**given).items()
        assert job == name
        assert (
            made["environment"]["name"]
            == made["resource_group"]
            == ("staging" if name == "staging" else "production")
        )
        assert made["rules"][0]["when"] == ("manual" if name == "production" else "on_success")
        assert made["rules"][0]["allow_failure"] is False
        assert made["environment"]["action"] == ("verify" if name == "audit" else "start")


def test_a_fleet_is_audited_in_parts_that_one_job_merges() -> None:
    """Each part is a job with its own number and lock; whatever becomes of them, one job merges what they left."""
    content = read(FLEET)
    (given,) = (part["inputs"] for part in content["include"])
    ((name, audit),) = filled(**given).items()
    audit |= content[name]
    for number in (1, audit["parallel"]):
        node = {"$CI_NODE_INDEX": str(number), "$CI_NODE_TOTAL": str(audit["parallel"])}
        words = [f"--provider={given['provider']}", audit["variables"]["SESSION_ARGUMENTS"]]
        for variable, value in node.items():
            words = [word.replace(variable, value) for word in words]
        assert arguments("audit", words)[-1] == f"--shard={number}/8"
    assert "$CI_NODE_INDEX" in audit["resource_group"]
    merge = content["merge"]
    assert (merge["needs"], merge["rules"][0]["when"]) == ([name], "always")
    assert merge["rules"][0]["if"] == audit["rules"][0]["if"]
    *install, command = merge["script"]
    assert install == [step for step in audit["script"] if "git " in step or step.startswith("pip ")][:5]
    assert f"switchproof reports merge --report-dir=merged $(find {audit['artifacts']['paths'][0]} " in command
    assert merge["artifacts"]["paths"] == ["merged"]


def test_the_page_has_every_file() -> None:
    """The page about CI links to each of the files."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    assert all(f"(examples/{path.name})" in page for path in [*GITHUB, *GITLAB, FLEET])


def test_our_own_ci_runs_one_command_with_few_rights() -> None:
    """The workflow calls `.ci/run`, pins actions by commit, may only read, and keeps what a failure left."""
    path = ROOT / ".github" / "workflows" / "ci.yml"
    content = read(path)
    assert content["permissions"] == {}
    (job,) = content["jobs"].values()
    assert job["permissions"] == {"contents": "read"}
    assert job["timeout-minutes"] == 90
    assert (
        sum(".ci/run" in step["run"] for step in job["steps"] if "run" in step and "apt-get" not in step["run"]) == 1
    )
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in uses)
    assert len(re.findall(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", path.read_text("utf-8"), re.MULTILINE)) == len(uses)
    assert job["steps"][-1]["if"] == "${{ failure() }}"
    assert "secrets" not in path.read_text("utf-8")
    assert not any("${{" in step.get("run", "") for step in job["steps"])


def test_hooks_run_the_tools_of_the_environment() -> None:
    """No hook brings a tool of its own, so that the lock file names each version."""
    content = read(ROOT / ".pre-commit-config.yaml")
    assert [repository["repo"] for repository in content["repos"]] == ["local"]
    hooks = content["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    recipes = (ROOT / "justfile").read_text("utf-8")
    for words in (hook["entry"].split() for hook in hooks):
        assert words[0] in {"ruff", "mypy", "lint-imports"} or (words[0] == "just" and f"\n{words[1]}:" in recipes)
