"""A deploy path does right in every scenario."""

from __future__ import annotations

from switchproof.deploy.contract import Verdict
from switchproof.trials.record import ScenarioResult


def test_scenario(result: ScenarioResult) -> None:
    """The host saw what the contract requires, and the path reported the truth."""
    open_or_failed = [each for each in result.judgements if each.verdict is not Verdict.PASSED]
    assert result.verdict is Verdict.PASSED, result.problem or "; ".join(each.seen for each in open_or_failed)
