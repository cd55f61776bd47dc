"""The action on GitHub installs this checkout by digest and deploys the adopter's repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.action import INSTALL, Runner
from tests.adopter import repository

pytestmark = [pytest.mark.lab, pytest.mark.long]


def test_its_steps_deploy_as_they_stand(tmp_path: Path) -> None:
    """A canonical deploy to a lab host ends with 0, and the job has verdict, state and report of it."""
    runner = Runner(tmp_path)
    repository.make(runner.workspace / "hosts")
    installed = runner.run(INSTALL, {}, limit_s=400)
    assert installed.returncode == 0, installed.stdout
    inputs = {"provider": "lab", "sha": "main", "arguments": "--lab-runtime=netns"}
    places = {"working-directory": "hosts", "report-dir": "kept"}
    done = runner.run("run", inputs | places, limit_s=400)
    assert done.returncode == 0, done.stdout
    given = runner.outputs()
    assert (given["exit-code"], given["verdict"], given["state"]) == ("0", "canonical", "converged")
    assert all(Path(given[name]).is_relative_to(runner.workspace / "kept") for name in ("report", "record"))
    assert all(Path(given[name]).is_file() for name in ("report", "record"))
