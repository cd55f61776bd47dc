"""What a report says that a run did not see."""

from __future__ import annotations

from switchproof.deploy.contract import Clause, Verdict
from switchproof.reports.page import unseen
from tests.reports import stories
from tests.reports.story import NEW, OLD, Story


def test_host_that_was_never_reached_is_named_with_the_reason() -> None:
    """A host without a connection is listed, one that was spoken to is not."""
    story = Story("a", "b", "c").connected("a").phase("b", "connect", 10.0, problem="no route to host")
    assert unseen.unreached(story.record()) == [("b", "no route to host"), ("c", "the run did not get to it")]


def test_record_of_an_older_version_does_not_lack_its_hosts() -> None:
    """Without facts of connections, the phases tell who was reached."""
    assert unseen.unreached(Story("a").phase("a", "connect", 0.2).record()) == []
    assert unseen.unreached(Story("a").phase("a", "converge", 0.2).record()) == []


def test_checks_of_one_reason_stand_together() -> None:
    """Every check that proved nothing is there, with why: blocked, never run, or without an answer."""
    rows = unseen.not_made(stories.inconclusive().record())
    told = {(row.label, row.reason): (row.verdict, row.checks) for row in rows}
    assert told["b", "Blocked by converge on b."] == ("blocked", ("active", "answers"))
    assert told["b", "The connection was lost after 41 s."] == ("inconclusive", ("switched",))
    assert told["b", "The check was expected and did not run."][1] == (
        "runs",
        "no-new-failures",
        "live",
        "dev",
        "emitted",
    )
    assert len(rows) == len(told) == 3


def test_canonical_run_lacks_no_check() -> None:
    """Where everything was made and answered there is nothing to name."""
    assert unseen.not_made(stories.canonical().record()) == []


def test_everything_known_leaves_no_gap() -> None:
    """A host of which everything is known has no gap; answers that were not kept are one."""
    story = Story("a").connected("a").seen("a", "before", OLD, 41).seen("a", "after", NEW, 42).watched("a")
    story.units("a", "before", 100, "0", "a").units("a", "after", 200, "1", "b")
    assert unseen.gaps(story.record()) == []
    (gap,) = unseen.gaps(story.watched("a", endpoints=("live", "dev"), left_out=7).record())
    assert gap.what.startswith("14 answers of live, dev (deploy) between similar answers")


def test_units_that_a_switch_left_running_may_serve_what_they_read_before() -> None:
    """The limit of what checks see is stated where a unit went on through a change of the system, and only there."""
    story = Story("a").connected("a").seen("a", "before", OLD, 41).seen("a", "after", NEW, 42).watched("a")
    story.units("a", "before", 100, "0", "a").units("a", "after", 100, "0", "a")
    (gap,) = unseen.gaps(story.record())
    assert gap.what.startswith("whether units that the switch left running (hypervisor.service, ")
    same = Story("a").connected("a").seen("a", "before", NEW, 42).seen("a", "after", NEW, 42).watched("a")
    same.units("a", "before", 100, "0", "a").units("a", "after", 100, "0", "a")
    assert unseen.gaps(same.record()) == []


def test_what_is_not_known_of_a_host_is_named() -> None:
    """A host that was reached and of which little was learnt says what is missing; one never reached has no gaps."""
    story = Story().connected("a").units("a", "before", 100, "0", "a")
    gaps = unseen.gaps(story.record())
    assert {gap.host for gap in gaps} == {"a"}
    told = " ".join(gap.what for gap in gaps)
    assert "which system it ran before" in told
    assert "which system it runs now" in told
    assert "health over time" in told
    assert "the state of hypervisor.service at the end" in told


def test_audit_owes_no_system_from_before() -> None:
    """What changes nothing has no before."""
    story = Story("a", mode="audit", requested=None).connected("a").seen("a", "after", NEW, 42).watched("a")
    assert unseen.gaps(story.record()) == []


def test_reason_of_many_lines_is_cut_to_one() -> None:
    """The table names a reason in one line; the check itself has all of it."""
    story = Story("a").check("a", Clause.RUNTIME, "live", Verdict.INCONCLUSIVE, "frame cut short\nand more")
    assert [row.reason for row in unseen.not_made(story.record()) if row.checks == ("live",)] == ["frame cut short"]
