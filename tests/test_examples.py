"""The examples for CI keep the rules that their page gives, so that whoever copies them keeps them too."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
GITHUB = sorted(EXAMPLES.glob("github-*.yml"))
GITLAB = sorted(EXAMPLES.glob("gitlab-*.yml"))


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """The jobs of a file that deploy or audit."""
    known = {"stages", "workflow", "default", "variables"}
    content = read(path)
    return content["jobs"] if path in GITHUB else {name: job for name, job in content.items() if name not in known}


def commands(path: Path) -> Iterator[tuple[str, str]]:
    """Every call of `just` in a file, with its job."""
    for name, job in jobs(path).items():
        lines = [step.get("run", "") for step in job.get("steps", [])] + job.get("script", [])
        for line in lines:
            if line.startswith("just "):
                yield name, line


every_file = pytest.mark.parametrize("path", [*GITHUB, *GITLAB], ids=lambda path: path.stem)
on_github = pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.stem)
on_gitlab = pytest.mark.parametrize("path", GITLAB, ids=lambda path: path.stem)


@every_file
def test_each_job_calls_one_recipe(path: Path) -> None:
    """Staging, production and audit call one recipe of the justfile each, with options that a session has."""
    called = list(commands(path))
    assert [job for job, _ in called] == ["staging", "production", "audit"]
    options = (ROOT / "src" / "switchproof" / "options.py").read_text(encoding="utf-8")
    for _, line in called:
        words = shlex.split(line)
        command = ["just", "--dry-run", *words[1:]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert f'"{option}"' in options


@every_file
def test_the_commit_is_the_pushed_one_from_first_to_last(path: Path) -> None:
    """Every command names the pushed commit; no job asks for a branch, pulls, or takes host keys from the network."""
    commit = "$SHA" if path in GITHUB else "$CI_COMMIT_SHA"
    assert all(f'"{commit}"' in line for _, line in commands(path))
    text = path.read_text(encoding="utf-8")
    assert "SHA: ${{ github.sha }}" in text or path in GITLAB
    for floating in ("git pull", "git clone", "origin/", "github.ref", "CI_COMMIT_REF", "ssh-keyscan", "StrictHost"):
        assert floating not in text


@every_file
def test_production_asks_for_what_staging_signed(path: Path) -> None:
    """Staging signs its run; production, after it, demands that record and says whose signature counts."""
    called = dict(commands(path))
    assert "--sign-key=" in called["staging"]
    assert "--require-record=" in called["production"]
    assert "--allowed-signers=" in called["production"]
    assert "staging" in str(jobs(path)["production"]["needs"])


@every_file
def test_packages_are_installed_by_their_digests(path: Path) -> None:
    """Nothing is installed beside the keys but what the lock file names, and that before they are laid down."""
    text = path.read_text(encoding="utf-8")
    installs = re.findall(r"pip install .*", text)
    assert {" ".join(line.replace(" --quiet", "").split()) for line in installs} == {
        "pip install --require-hashes -r requirements-deploy.lock",
        "pip install --no-deps --no-build-isolation -e .",
    }
    assert text.count("pip install") == len(jobs(path)) * 2 if path in GITHUB else 2
    assert text.index("pip install") < text.index("install -D") if "install -D" in text else True


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
    """Deploys wait for each other, reports are kept whatever happens, actions have versions, rights are few."""
    content = read(path)
    assert content["permissions"] == {}
    for name, job in jobs(path).items():
        aws = {"id-token": "write"} if "aws" in path.stem else {}
        assert job["permissions"] == {"contents": "read"} | aws
        assert job["environment"].startswith(name if name != "audit" else "production")
        if name != "audit":
            assert job["concurrency"] == {"group": name, "cancel-in-progress": False}
        kept = job["steps"][-1]
        assert kept["if"] == "${{ always() }}"
        assert kept["uses"].startswith("actions/upload-artifact@")
        for step in job["steps"]:
            assert re.fullmatch(r"[\w/-]+@v\d+\.\d+\.\d+", step.get("uses", "a/b@v1.2.3"))
            assert "${{" not in step.get("run", "")  # text from elsewhere stays out of the shell's own


@on_gitlab
def test_gitlab_locks_and_keeps(path: Path) -> None:
    """Deploys wait for each other, production for a person, and reports are kept whatever happens."""
    assert read(path)["default"]["interruptible"] is False
    for name, job in jobs(path).items():
        assert job["artifacts"]["when"] == "always"
        assert job["artifacts"]["reports"]["junit"] == f"{name}/2*/junit.xml"
        if name != "audit":
            assert job["resource_group"] == name
    assert jobs(path)["production"]["rules"] == [{"when": "manual", "allow_failure": False}]


def test_the_page_has_every_file() -> None:
    """The page about CI links to each of the files."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    assert all(f"(examples/{path.name})" in page for path in [*GITHUB, *GITLAB])


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
