"""The action on GitHub: its shell hands every input to the command as it is, and its outcome on to the job."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchproof.reports.ci.github import outputs
from tests.action import ACTION, Runner, step
from tests.reports.stories import canonical

COMMAND = """#!/bin/sh
printf '%s\\n' "$@"
printf 'verdict=not canonical\\n' >>"$GITHUB_OUTPUT"
exit "${STUB_EXIT:-0}"
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A runner where the command is one that prints its arguments."""
    made = Runner(tmp_path)
    command = made.temp / "switchproof/bin/switchproof"
    command.parent.mkdir(parents=True)
    command.write_text(COMMAND, encoding="utf-8")
    command.chmod(0o755)
    return made


def test_every_input_becomes_one_word(runner: Runner) -> None:
    """What stands in an input, quotes and commands of a shell included, arrives as one argument and runs nothing."""
    hostile = "$(touch ran) `touch ran`; touch ran 'x' \"y\" ${HOME}"
    done = runner.run(
        "run",
        {
            "command": "drill",
            "provider": hostile,
            "sha": hostile,
            "arguments": f"--host=@staging\n\n{hostile}\n--soak=3\n",
        },
    )
    reports = f"--report-dir={runner.workspace}/reports/runs"
    words = ["drill", f"--provider={hostile}", reports, f"--sha={hostile}", "--host=@staging", hostile, "--soak=3"]
    assert (done.returncode, done.stdout.splitlines()) == (0, words)
    assert not list(runner.workspace.rglob("ran"))


def test_an_audit_needs_no_revision(runner: Runner) -> None:
    """Without a revision and further options the command gets none, and an absolute folder stays what it is."""
    done = runner.run("run", {"command": "audit", "provider": "ovh", "report-dir": "/kept"})
    assert done.stdout.splitlines() == ["audit", "--provider=ovh", "--report-dir=/kept"]


@pytest.mark.parametrize("code", [0, 1, 4, 10, 11, 75])
def test_the_exit_code_is_the_commands(runner: Runner, code: int) -> None:
    """The step ends with the command's exit code, and both it and the verdict are outputs."""
    done = runner.run("run", {"provider": "ovh", "sha": "main"}, environ={"STUB_EXIT": str(code)})
    assert done.returncode == code
    assert runner.outputs() == {"verdict": "not canonical", "exit-code": str(code)}


def test_no_expression_is_text_of_a_shell() -> None:
    """Inputs reach a shell by the environment alone, actions are pinned by commit, and reports are always kept."""
    steps = ACTION["runs"]["steps"]
    assert not any("${{" in each.get("run", "") for each in steps)
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", each["uses"]) for each in steps if "uses" in each)
    assert steps[-1]["uses"].startswith("actions/upload-artifact@")
    assert steps[-1]["if"] == "${{ always() && inputs.artifact != '' }}"
    assert all(given["description"] for given in [*ACTION["inputs"].values(), *ACTION["outputs"].values()])
    assert set(re.findall(r"inputs\.([\w-]+)", str(steps))) == set(ACTION["inputs"])


def test_its_outputs_are_those_of_a_run() -> None:
    """Every output is one that the step of the session sets."""
    written = re.findall(r"^(\w+)<<", outputs(canonical("a").record(), Path("x")), re.MULTILINE)
    values = {name: given["value"] for name, given in ACTION["outputs"].items()}
    assert values == {name: f"${{{{ steps.run.outputs.{name} }}}}" for name in ["exit-code", *written]}
    assert step("run")["shell"] == "bash"
