"""Programs that this machine does not have are tried in a chroot, with outputs that the sample does not have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.trial.subject import Command
from switchproof.deploy.redact.redactor import Redactor
from switchproof.trials.attempt import Setting
from switchproof.trials.exam import Exam
from switchproof.trials.scenario import SCENARIOS

ROOT = Path(__file__).parents[2]
PROGRAMS = "tests/trials/programs"
LIMIT_S = 60.0


@pytest.mark.lab
def test_a_path_in_a_chroot_builds_the_system_that_the_trial_builds(tmp_path: Path) -> None:
    """Its own programs come before those of the lab's image, and a flake of its own has the very same system."""
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    program = root / "usr/bin/builder"
    program.write_text('#!/bin/sh\nexec nix build --no-link --print-out-paths ".#$1" .#toplevel\n', "utf-8")
    program.chmod(0o755)
    attr = "nixosConfigurations.other.config.system.build.toplevel"
    command = Command(f"{PROGRAMS}/enter {root} {PROGRAMS}/in-a-flake.sh other builder {attr}", ROOT, LIMIT_S)
    setting = Setting(command, "ovh", "netns", os.environ, tmp_path)
    good = SCENARIOS[0]
    with Exam(Redactor()) as exam:
        exam.begin(setting, [good])
        result = exam.result(setting, good.name)
    assert result is not None
    assert result.witness is not None, result.problem
    printed = (tmp_path / result.evidence[0]).read_text("utf-8")
    assert result.exit_codes == (0,), printed
    assert printed.splitlines()[-1] == result.witness.expected


def test_every_starter_of_a_program_is_documented() -> None:
    """The page of trials names each file that starts a program of others."""
    page = (ROOT / "docs" / "subjects.md").read_text("utf-8")
    names = {path.name for path in (ROOT / PROGRAMS).iterdir()} - {"lib.sh"}
    assert [name for name in sorted(names) if f"{PROGRAMS}/{name}" not in page] == []
