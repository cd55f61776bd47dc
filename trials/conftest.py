"""Fixtures of a trial's tests."""

from __future__ import annotations

import pytest

from switchproof.deploy.contract import Clause
from switchproof.trials.record import ClauseResult, ScenarioResult
from switchproof.trials.scenario import Scenario
from switchproof.trials.session import TRIAL


@pytest.fixture
def result(request: pytest.FixtureRequest, scenario: Scenario) -> ScenarioResult:
    """The result of a scenario."""
    return request.config.stash[TRIAL].result(scenario)


@pytest.fixture
def of_clause(request: pytest.FixtureRequest, clause: Clause) -> ClauseResult:
    """The result of a clause over all scenarios."""
    return request.config.stash[TRIAL].clause(clause)
