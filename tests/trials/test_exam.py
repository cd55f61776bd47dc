"""The first scenario finds out whether a command can be run at all, before any other is tried."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.trial.subject import Command
from switchproof.deploy.redact.redactor import Redactor
from switchproof.trials import exam as module
from switchproof.trials.attempt import Setting
from switchproof.trials.exam import Exam
from switchproof.trials.record import Cause, ScenarioResult, unseen, verdict_of
from switchproof.trials.scenario import SCENARIOS, Scenario

SETTING = Setting(Command("./x.sh", Path(), 1.0), "ovh", "netns", {}, Path())
NAMES = [each.name for each in SCENARIOS[:4]]
SOON_S = 20.0


def result(scenario: Scenario, cause: Cause | None) -> ScenarioResult:
    """What came of a scenario that left everything open."""
    judgements = unseen(scenario, "why", cause)
    return ScenarioResult(
        name=scenario.name,
        title=scenario.title,
        truth=scenario.truth,
        clause=scenario.clause,
        verdict=verdict_of(judgements),
        seconds=1.0,
        judgements=judgements,
    )


def tried(monkeypatch: pytest.MonkeyPatch, cause: Cause | None) -> tuple[list[str], list[str | None]]:
    """The scenarios that were tried, and those that have a result, where the first one leaves it open for a cause."""
    begun: list[str] = []
    lock = threading.Lock()

    def attempt(_setting: Setting, scenario: Scenario, **_: object) -> ScenarioResult:
        with lock:
            begun.append(scenario.name)
        return result(scenario, cause if scenario is SCENARIOS[0] else None)

    monkeypatch.setattr(module, "attempt", attempt)
    with Exam(Redactor()) as exam:
        exam.begin(SETTING, SCENARIOS[:4])
        results = [exam.result(SETTING, name) for name in NAMES]
        assert [each.name for each in exam.results] == [each.name for each in results if each is not None]
    return begun, [each.name if each else None for each in results]


def test_a_command_that_cannot_be_run_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other scenario is tried, and none has a result."""
    assert tried(monkeypatch, Cause.CANNOT_RUN) == (NAMES[:1], [NAMES[0], None, None, None])


@pytest.mark.parametrize("cause", [None, Cause.LAB, Cause.NOT_ACTIVATED, Cause.OTHER_COMMIT])
def test_any_other_command_is_tried_with_every_scenario(monkeypatch: pytest.MonkeyPatch, cause: Cause | None) -> None:
    """The first one comes first; what else it leaves open says nothing about the others."""
    begun, results = tried(monkeypatch, cause)
    assert begun[0] == NAMES[0]
    assert sorted(begun) == sorted(NAMES)
    assert results == NAMES


def test_the_others_wait_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the first scenario has ended, nothing else begins."""
    begun: list[str] = []
    ended = threading.Event()

    def attempt(_setting: Setting, scenario: Scenario, **_: object) -> ScenarioResult:
        begun.append(scenario.name)
        if scenario is SCENARIOS[0]:
            assert ended.wait(SOON_S)
        else:
            assert ended.is_set()
        return result(scenario, None)

    monkeypatch.setattr(module, "attempt", attempt)
    with Exam(Redactor()) as exam:
        exam.begin(SETTING, SCENARIOS[:4])
        assert begun in ([], NAMES[:1])
        ended.set()
        assert [exam.result(SETTING, name) is not None for name in NAMES] == [True] * 4


def test_the_others_are_judged_in_the_light_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a path does with a good commit tells what its failure for a broken one is worth."""
    known: dict[str, object] = {}

    def attempt(
        _setting: Setting, scenario: Scenario, *, first: ScenarioResult | None, **_: object
    ) -> ScenarioResult:
        known[scenario.name] = first and first.name
        return result(scenario, None)

    monkeypatch.setattr(module, "attempt", attempt)
    with Exam(Redactor()) as exam:
        exam.begin(SETTING, SCENARIOS[:4])
        for name in NAMES:
            exam.result(SETTING, name)
    assert known == {NAMES[0]: None} | dict.fromkeys(NAMES[1:], NAMES[0])
