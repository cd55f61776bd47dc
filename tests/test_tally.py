"""What was not seen is told: silence is never taken for nothing to tell."""

from __future__ import annotations

from switchproof.deploy.record import NOT_RUN
from switchproof.deploy.tally import count, unseen
from tests.reports import stories

CHECKS = sum(len(checks) for checks in stories.CHECKS.values())


def test_everything_of_a_canonical_run_was_made() -> None:
    """In a canonical run every expected check was executed and passed, and every host was reached."""
    record = stories.canonical("a").record()
    counts = count(record)
    assert (counts.expected, counts.executed, counts.passed) == (CHECKS, CHECKS, CHECKS)
    assert not unseen(record).unreached
    assert not unseen(record).unmade


def test_legs_that_were_begun_count() -> None:
    """The checks of a way back are called for once a host is on it; blocked ones were not executed."""
    counts = count(stories.rolled_back().record())
    assert counts.expected == 3 * CHECKS
    assert (counts.failed, counts.blocked) == (1, 2)
    assert counts.executed == counts.expected - counts.blocked
    blocked = [one for one in unseen(stories.rolled_back().record()).unmade if one.check.verdict == "blocked"]
    assert {(one.host, one.leg, one.check.message) for one in blocked} == {
        ("a", "forward", "Blocked by hypervisor on a.")
    }


def test_run_that_was_killed_says_what_it_never_made() -> None:
    """Of a run that was killed, every check that it did not come to is told as such."""
    record = stories.killed().record()
    found = unseen(record)
    assert len(found.unmade) == CHECKS - len(stories.CHECKS[next(iter(stories.CHECKS))])
    assert {one.check.message for one in found.unmade} == {NOT_RUN}
    assert not found.unreached


def test_host_that_was_never_reached_is_named_with_its_reason() -> None:
    """A host that no connection was made to is told, with what kept it from being made."""
    story = stories.Story("a", "b").connected("a").phase("b", "connect", 5.0, problem="b: no route")
    assert unseen(story.record()).unreached == {"b": "b: no route"}
    assert unseen(stories.Story("a").record()).unreached == {"a": "It was never tried."}
