"""A deploy path keeps every clause of the contract in all scenarios."""

from __future__ import annotations

from switchproof.deploy.contract import Verdict
from switchproof.trials.record import ClauseResult


def test_clause(of_clause: ClauseResult) -> None:
    """The clause held wherever it was tried."""
    assert of_clause.verdict is Verdict.PASSED, f"{of_clause.id} {of_clause.verdict}: {', '.join(of_clause.shown_by)}"
