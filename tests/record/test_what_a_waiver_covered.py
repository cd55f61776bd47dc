"""A record says of a waiver which failures it bore, and of no check that passed without it."""

from __future__ import annotations

import msgspec

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record.fold import fold
from tests.record.test_waivers import waived, waiver


def test_only_what_was_waived_is_covered() -> None:
    """That its check passed on another leg, or that another check was waived, is no failure that it bore."""
    given = waiver(check="answers")
    *events, end = waived(given).events
    passed = next(event for event in events if getattr(event, "id", "") == "active")
    again = msgspec.structs.replace(passed, id="answers", leg="again", verdict=Verdict.PASSED)
    other = msgspec.structs.replace(passed, id="other", clause=Clause.RUNTIME, verdict=Verdict.WAIVED, waiver=given)
    (result,) = fold([*events, again, other, end]).waivers
    assert [(one.host, one.leg) for one in result.covered] == [("a", "forward")]
