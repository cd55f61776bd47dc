"""What is wrong with a trial's options is one sentence, and nothing is tried."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.trials.session import LIMIT_S, TrialPlan, make_plan

ROOT = Path(__file__).parents[2]

DEFAULTS: dict[str, object] = {
    "provider": "lab",
    "subject": "./x.sh",
    "subject_dir": None,
    "subject_timeout": None,
    "subject_first": False,
    "scenario": [],
    "shape": "ovh",
    "lab_runtime": None,
    "report_dir": None,
    "collectonly": True,
    "sha": None,
    "audit": False,
    "plan": False,
    "preflight": False,
    "rollback": None,
    "drill": None,
    "targets": None,
    "host": [],
    "soak": None,
    "take_lock": False,
    "lab_keep": False,
    "lab_suite": None,
    "lab_nixos_rebuild": None,
    "lab_switch": None,
    "lab_ssm_agent": None,
    "sign_key": None,
    "require_record": None,
    "checks": [],
    "keep_runs": None,
}
"""Options as pytest reads them when only the deploy path is given."""


def plan(**given: object) -> TrialPlan:
    """The plan that options lead to."""
    return make_plan(SimpleNamespace(**DEFAULTS | given), {}, Path("trials"))


@pytest.mark.parametrize(
    ("given", "fragment"),
    [
        ({"provider": "ovh"}, "add --provider=lab"),
        ({"subject": " "}, "--subject= is empty"),
        ({"sha": "main"}, "--sha: not with --subject"),
        ({"audit": True}, "--audit: not with --subject"),
        ({"rollback": ""}, "--rollback: not with --subject"),
        ({"host": ["a"]}, "--host: not with --subject"),
        ({"checks": ["x"]}, "--checks: not with --subject"),
        ({"soak": 0.0}, "--soak: not with --subject"),
        (
            {"scenario": ["nonsense"]},
            "--scenario=nonsense: not a scenario for --shape=ovh; known: good, branch-moved",
        ),
        ({"shape": "aws", "scenario": ["host-key-changed"]}, "--scenario=host-key-changed: not a scenario"),
        ({"subject_dir": "/nonexistent"}, "--subject-dir=/nonexistent: there is no such folder"),
        ({"subject_timeout": 0.0}, "--subject-timeout=0: seconds"),
        ({"subject_timeout": 1e9}, "--subject-timeout=1e+09: seconds"),
        ({"shape": "aws", "lab_runtime": "microvm"}, "have containers instead"),
    ],
)
def test_a_wrong_option_is_told(given: dict[str, object], fragment: str) -> None:
    """The message says which option it is, and what to do."""
    with pytest.raises(UsageError) as told:
        plan(**given)
    assert fragment in str(told.value)


def test_without_further_options_every_scenario_is_tried() -> None:
    """A trial is whole unless something is left out; hosts reached through SSM have no key to change."""
    assert plan().chosen == plan().every
    assert {each.name for each in plan().every} - {each.name for each in plan(shape="aws").every} == {
        "host-key-changed"
    }
    assert plan().setting.command.limit_s == LIMIT_S
    assert [each.name for each in plan(scenario=["hypervisor-500", "good"]).chosen] == ["good", "hypervisor-500"]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("--subject=./x.sh",), "--provider=P is missing"),
        (("--provider=lab", "--sha=main", "--scenario=good"), "--scenario: only with --subject=COMMAND"),
        (("--provider=lab", "--subject=./x.sh", "--numprocesses=2"), "leave out --numprocesses=2, or add -n 0"),
        (("trials",), "say which with --provider=lab --subject=COMMAND"),
    ],
)
def test_a_session_ends_before_anything_is_tried(arguments: tuple[str, ...], fragment: str) -> None:
    """The exit code is 4."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "--collect-only", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4, done.stdout
    assert fragment in done.stdout + done.stderr
