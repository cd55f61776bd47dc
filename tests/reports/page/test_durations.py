"""How long phases took, beside what is usual."""

from __future__ import annotations

from switchproof.reports.page.durations import Duration, durations
from tests.reports.story import Story


def told(story: Story) -> dict[str, Duration]:
    record = story.record()
    return {row.phase: row for row in durations(record, record.hosts[0])}


def test_phase_stands_beside_its_median() -> None:
    """A phase is told with the median of earlier runs, how many those were, and how it compares."""
    rows = told(
        Story("a").earlier().phase("a", "connect", 0.5).phase("a", "converge", 90.0).phase("a", "resolve", 1.0)
    )
    assert (rows["converge"].took_s, rows["converge"].median_s, rows["converge"].runs) == (90.0, 41.0, 12)
    assert rows["converge"].word == "slower than usual, 2.2 times"
    assert rows["connect"].word == "as usual"
    assert (rows["resolve"].median_s, rows["resolve"].word) == (None, "")


def test_small_differences_are_as_usual() -> None:
    """Half a second is nothing, even if it is twice the median; much faster is said."""
    assert told(Story("a").earlier().phase("a", "connect", 0.9))["connect"].word == "as usual"
    assert told(Story("a").earlier().phase("a", "converge", 2.0))["converge"].word == "faster than usual"


def test_phase_entered_twice_is_added_up() -> None:
    """As the median is of the whole, several times in a phase count together, with every problem."""
    story = Story("a").phase("a", "observe", 2.0, problem="cut short").tick(5.0).phase("a", "observe", 3.0)
    (row,) = told(story).values()
    assert (row.at_s, row.took_s, row.times, row.questions, row.problems) == (0.0, 5.0, 2, 4, ("cut short",))


def test_phase_that_never_ended_has_no_duration() -> None:
    """What did not end took no known time."""
    story = Story("a").earlier().phase("a", "converge", 1.0)
    story.events = story.events[:-1]
    assert (told(story)["converge"].took_s, told(story)["converge"].word) == (None, "")


def test_legs_are_told_apart() -> None:
    """The same phase on the way back is a row of its own, without the median of the way forward."""
    record = Story("a").earlier().phase("a", "observe", 1.0).phase("a", "observe", 2.0, leg="back").record()
    assert [(row.leg, row.median_s) for row in durations(record, record.hosts[0])] == [
        ("forward", 17.2),
        ("back", None),
    ]
