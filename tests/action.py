"""Runs the steps of action.yml unchanged, as GitHub's runner does."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = YAML(typ="safe").load(ROOT / "action.yml")
INSTALL = "Install Switchproof as it is in this checkout, and what its lock file's digests name"


def step(name: str) -> dict[str, Any]:
    """Return the step of an id or a name."""
    definition: dict[str, Any] = next(
        each for each in ACTION["runs"]["steps"] if name in {each.get("id"), each.get("name")}
    )
    return definition


class Runner:
    """A runner with a workspace, a folder for temporary files and a file for outputs."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.temp = folder / "temp"
        self._output = folder / "output"
        for each in (self.workspace, self.temp):
            each.mkdir()

    def run(
        self, name: str, inputs: Mapping[str, str], *, environ: Mapping[str, str] | None = None, limit_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a step with inputs as a workflow gives them; what it does not give has the action's default."""
        definition = step(name)
        given = {each: str(details.get("default", "")) for each, details in ACTION["inputs"].items()}
        given |= inputs
        script = self.temp / "step.sh"
        script.write_text(definition["run"], encoding="utf-8")
        ours = ("PYTEST_", "PIP_CONSTRAINT", "CI", "GITHUB_")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.workspace / _filled(definition.get("working-directory", "."), given),
            env={
                **{each: value for each, value in os.environ.items() if not each.startswith(ours)},
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_OUTPUT": str(self._output),
                "GITHUB_WORKSPACE": str(self.workspace),
                "RUNNER_TEMP": str(self.temp),
                **{each: _filled(value, given) for each, value in definition.get("env", {}).items()},
                **(environ or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=limit_s,
        )

    def outputs(self) -> dict[str, str]:
        """Return the outputs that steps have set."""
        text = self._output.read_text(encoding="utf-8")
        long = {
            match[1]: match[3]
            for match in re.finditer(r"^([\w-]+)<<(\w+)\n(.*?)\n\2$", text, re.MULTILINE | re.DOTALL)
        }
        return long | dict(re.findall(r"^([\w-]+)=(.*)$", text, re.MULTILINE))


def _filled(value: str, inputs: Mapping[str, str]) -> str:
    """Fill in the inputs that an expression names; the action has no other expressions in what a step is given."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: inputs[match[1]], value)
