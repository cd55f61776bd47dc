"""The component for GitLab: its job is valid, and its shell hands every input to the command as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.component import INPUTS, filled

TELLS = """#!/bin/sh
printf '%s\\n' "$(basename "$PWD")" "$(basename "$0")" "$@" -- >>"$CALLS"
"""
COMMIT = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"


def calls(folder: Path, shell: str, **given: object) -> list[list[str]]:
    """Run the script of a job, and return the calls of git, pip and the command, each with its arguments."""
    programs, project, home = (folder / name for name in ("programs", "project", "home"))
    for each in (programs, project / ".switchproof", home):
        each.mkdir(parents=True)
    for name in ("git", "pip", "switchproof"):
        (programs / name).write_text(TELLS, encoding="utf-8")
        (programs / name).chmod(0o755)
    key = folder / "key"
    key.write_text("KEY\n", encoding="utf-8")
    (job,) = filled(**given).values()
    variables = {name: str(value).replace("$CI_COMMIT_SHA", COMMIT) for name, value in job["variables"].items()}
    environ = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "CALLS": str(folder / "calls"),
        "CI_PROJECT_DIR": str(project),
        "SWITCHPROOF_URL": "https://git.example/switchproof.git",
        "SWITCHPROOF_COMMIT": "f" * 40,
        "DEPLOY_SSH_KEY": str(key),
        "SIGN_KEY": str(key),
        "ALLOWED_SIGNERS": "/signers",
        **variables,
    }
    subprocess.run([shell, "-euc", "\n".join(job["script"])], cwd=project, env=environ, check=True, timeout=60)
    text = (folder / "calls").read_text(encoding="utf-8")
    assert (home / ".ssh/id_ed25519").stat().st_mode & 0o777 == 0o600
    return [call.splitlines() for call in text.split("--\n")[:-1] if call]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_its_job_calls_the_command_with_every_input(tmp_path: Path, shell: str) -> None:
    """One call with commit, key, gate and options, each one word; what a shell would run of them is not run."""
    hostile = "$(touch ran) `touch ran`; touch ran 'x' \"y\" \\n ${HOME}"
    made = calls(
        tmp_path,
        shell,
        job="production",
        provider="ovh",
        arguments=f"--host=@production\n\n{hostile}",
        sign=True,
        **{"require-record": "staging"},
    )
    project = tmp_path / "project"
    assert [call[1] for call in made] == ["git"] * 3 + ["pip"] * 2 + ["switchproof"]
    assert made[1][-2:] == ["https://git.example/switchproof.git", "f" * 40]
    assert made[-1] == [
        *(
            ".switchproof",
            "switchproof",
            "deploy",
            "--provider=ovh",
            f"--report-dir={project}/production",
            f"--sha={COMMIT}",
        ),
        *(f"--sign-key={tmp_path}/key", f"--require-record={project}/staging", "--allowed-signers=/signers"),
        *("--host=@production", hostile),
    ]
    assert not list(tmp_path.rglob("ran"))


def test_a_rollback_names_no_revision(tmp_path: Path) -> None:
    """Without a revision, a key and a gate the command gets none; it finds target files of the project."""
    made = calls(tmp_path, "sh", command="rollback", provider="fleet", sha="", checkout="fetch")
    place = f"--report-dir={tmp_path}/project/deploy"
    assert made[-1] == ["project", "switchproof", "rollback", "--provider=fleet", place]


@pytest.mark.parametrize(
    "given", [{}, {"job": "audit", "command": "audit", "action": "verify", "when": "on_success"}]
)
def test_its_job_is_valid(tmp_path: Path, given: dict[str, str]) -> None:
    """GitLab's schema takes the job; deploys wait for each other, reports are always kept, inputs are described."""
    content = filled(provider="ovh", **given)
    file = tmp_path / "gitlab-ci.yml"
    YAML(typ="safe").dump(content, file)
    schema = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    command: list[str | Path] = [Path(sys.executable).with_name("check-jsonschema"), *schema, file]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    ((name, job),) = content.items()
    assert name == given.get("job", "deploy")
    assert job["interruptible"] is False
    assert job["resource_group"] == "production"
    assert (job["artifacts"]["when"], job["artifacts"]["paths"]) == ("always", [name])
    assert all(details["description"] for details in INPUTS.values())


def test_no_input_is_text_of_a_shell() -> None:
    """Inputs reach the script by variables alone: the script is the same whatever they are."""
    first, second = (
        next(iter(filled(**given).values()))["script"]
        for given in ({"provider": "ovh"}, {"provider": "x", "sha": "y", "arguments": "z", "job": "j", "sign": True})
    )
    assert first == second
