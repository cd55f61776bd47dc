"""What the timeline draws and says."""

from __future__ import annotations

from typing import get_args

from switchproof.deploy.contract import Clause, ExitCode, HostState
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from switchproof.reports.page import timeline
from tests.reports import stories
from tests.reports.story import OLD, Story


def drawn(story: Story) -> timeline.Timeline:
    record = story.record()
    found = timeline.draw(record, record.hosts)
    assert found
    return found


def deployed() -> Story:
    """A deploy of one host in 40 s: connected after 10, switched until 30, probed until the end."""
    story = Story("a").tick(9.7).connected("a").switched("a", 20.0)
    return story.watched("a", (0.1, 503), (2.0, 200), (9.9, 200))


def test_lanes_share_one_axis() -> None:
    """What took twice as long is twice as wide, and what came later stands further right, on whatever host."""
    story = Story().phase("a", "converge", 10.0).phase("b", "converge", 20.0)
    one, other = drawn(story).lanes
    assert (one.phases[0].x, other.phases[0].x) == (0.0, round(timeline.WIDTH / 3, 1))
    assert round(other.phases[0].width / one.phases[0].width, 1) == 2.0


def test_switch_probes_and_soak_are_marked() -> None:
    """The switch is a span of its phase, each probe is marked, and the soak begins when every endpoint is healthy."""
    lane = drawn(deployed()).lanes[0]
    spans = {bar.kind: bar for bar in lane.spans}
    assert set(spans) == {"switch", "soak"}
    converge, observe = lane.phases[1:]
    assert converge.x < spans["switch"].x < spans["switch"].x + spans["switch"].width <= observe.x
    assert spans["soak"].x > observe.x
    assert (len(lane.bad), len(lane.good)) == (1, 2)
    assert lane.bad[0] < lane.good[0]


def test_no_soak_where_an_endpoint_stays_ill() -> None:
    """As long as one endpoint is not healthy there is no soak, however well the others do."""
    story = Story("a").watched("a", endpoints=("hypervisor",))
    story.watched("a", (0.1, 503), (5.0, 503), endpoints=("live",), settled="unhealthy")
    assert not drawn(story).lanes[0].spans


def test_lost_connection_is_marked_and_told() -> None:
    """A connection that was lost is a mark of its own in the drawing, the legend and the table."""
    told = drawn(stories.inconclusive())
    (mark,) = told.lanes[1].marks
    assert (mark.kind, mark.sign) == ("lost", "✕")
    assert "lost" in told.kinds
    assert [row.host for row in told.rows if row.what == "connection lost"] == ["b"]


def test_switch_without_an_end_reaches_to_the_last_that_is_known() -> None:
    """A switch whose end nobody saw is drawn as a problem."""
    story = Story("a").phase("a", "connect", 1.0).happened("a", "switch-begun").tick(5.0).happened("a", "lost")
    (span,) = drawn(story).lanes[0].spans
    assert span.problem
    assert "its end is unknown" in span.description
    assert span.x + span.width == timeline.WIDTH


def test_phase_that_never_ended_is_a_problem() -> None:
    """A run that was killed shows the phase that it was in, up to the last that is known."""
    story = stories.killed()
    story.tick(3.0).happened("a", "lost")
    bar = drawn(story).lanes[0].phases[-1]
    assert bar.problem
    assert bar.description == "converge: never ended"
    assert round(bar.x + bar.width) == timeline.WIDTH


def test_way_back_is_marked_as_leg_and_span() -> None:
    """Where a host turns back is marked, and the rollback is a span from its decision to its end."""
    story = Story("a").resolved().phase("a", "converge", 10.0)
    story.tell(ev.RollbackBegun(at=story.at, host="a", reason="runtime failed", to=OLD))
    story.phase("a", "rollback", 5.0, leg="back").left("a", HostState.ROLLED_BACK, "").ended(ExitCode.SAFE_FAILURE)
    lane = drawn(story).lanes[0]
    assert [(leg.label, leg.at) for leg in lane.legs] == [("rollback", round(lane.phases[1].x))]
    assert [(bar.kind, bar.x) for bar in lane.spans] == [("rollback", lane.phases[1].x)]


def test_table_says_all_that_is_drawn() -> None:
    """The table has a row for each phase and each moment in the order of time, endpoints of one moment together."""
    told = drawn(deployed())
    assert [row.at_s for row in told.rows] == sorted(row.at_s for row in told.rows)
    said = [row.what for row in told.rows]
    assert said.index("switch begun") < said.index("switch ended") < said.index("probes begun")
    (began,) = [row for row in told.rows if row.what == "probes begun"]
    assert began.text == "hypervisor, live, dev"
    assert "phase converge, 20.0 s" in said


def test_run_without_events_has_no_timeline() -> None:
    """Where nothing is known to have happened nothing is drawn."""
    record = Story().clauses("a", *Clause).record()
    assert timeline.draw(record, record.hosts) is None


def test_every_moment_has_its_words() -> None:
    """No kind of moment that the record may hold lacks words, and each point has a sign of its own."""
    assert set(timeline.MOMENT_WORDS) == set(get_args(facts.MomentKind))
    assert len(set(timeline.MARKS.values())) == len(timeline.MARKS)
