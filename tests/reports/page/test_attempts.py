"""How an endpoint's answers over time are told and laid out."""

from __future__ import annotations

from switchproof.deploy.record import facts
from switchproof.reports.page import attempts
from tests.reports.story import BEGIN, samples


def watch(
    *rounds: tuple[float, int], settled: str = "healthy", left_out: int = 0, restarts: tuple[str, ...] = ()
) -> facts.Watch:
    return facts.Watch(
        leg="forward",
        endpoint="live",
        settled=settled,
        began=BEGIN,
        seconds=rounds[-1][0] + 0.5 if rounds else 10.0,
        limit_s=145.0,
        samples=samples(*rounds),
        left_out=left_out,
        restarts=restarts,
    )


def told(one: facts.Watch) -> list[str]:
    return [f"{each.when} {each.answer}" for each in attempts.rows_of(one)]


def test_attempts_are_told_with_time_and_status() -> None:
    """Few answers are told one by one; one that never came says why."""
    said = told(watch((0.1, 0), (2.1, 503), (4.3, 200)))
    assert said == ["+0.1 s connection refused or no route", "+2.1 s 503", "+4.3 s 200"]


def test_long_rows_of_like_answers_are_told_together() -> None:
    """Each change of the answers is told, however many like ones stand between."""
    rounds = [(1.0, 503), (2.0, 503), *((float(at), 200) for at in range(3, 23)), (23.0, 503), (24.0, 200)]
    assert told(watch(*rounds)) == [
        "+1.0 s 503",
        "+2.0 s 503",
        "+3.0 s to +22.0 s 200, 20 times",
        "+23.0 s 503",
        "+24.0 s 200",
    ]


def test_thinned_answers_are_not_counted_as_all() -> None:
    """Where the record left answers out, their number is a lower bound."""
    assert told(watch(*((float(at), 200) for at in range(9)), left_out=50)) == [
        "+0.0 s to +8.0 s 200, at least 9 times"
    ]


def test_good_status_with_a_wrong_body_says_so() -> None:
    """A 200 that is not what was asked for is not told as a plain 200."""
    bad = facts.Sample(at_s=0.1, good=False, code=200, seconds=0.01, words="HTTP 200 in 10 ms")
    one = facts.Watch(
        leg="forward", endpoint="live", settled="unhealthy", began=BEGIN, seconds=1.0, limit_s=9.0, samples=(bad,)
    )
    assert told(one) == ["+0.1 s 200, not as it should be"]


def test_flapping_is_cut_in_the_middle_and_says_so() -> None:
    """Of hundreds of changes the first and the last stay, and the number of the others is said."""
    said = told(watch(*((float(at), 200 if at % 2 else 503) for at in range(200))))
    assert len(said) == attempts.SHOWN
    assert (said[0], said[-1]) == ("+0.0 s 503", "+199.0 s 200")
    assert [line for line in said if "more" in line] == ["… 185 more rows in record.json"]


def test_soak_is_only_what_ended_healthy() -> None:
    """A watch that ended in trouble has no healthy end, even if its last answers were good."""
    rounds = ((0.1, 503), (2.0, 200), (4.0, 200))
    assert attempts.since_healthy(watch(*rounds)) == 2.0
    assert attempts.since_healthy(watch(*rounds, settled="restarted")) is None
    assert attempts.since_healthy(watch((0.1, 200), (2.0, 503))) is None


def test_strips_of_a_chart_share_one_axis() -> None:
    """The shorter of two watches ends where its time is on the longer one's axis."""
    chart = attempts.chart([watch((0.0, 503), (9.5, 200)), watch((0.0, 200), (4.5, 200))])
    assert chart
    assert [strip.end for strip in chart.strips] == [attempts.WIDTH, attempts.WIDTH // 2]
    assert chart.strips[0].bad == [0]
    assert chart.strips[0].good == [950]


def test_restarts_are_drawn_where_they_were() -> None:
    """What the host says of a restart begins with its time; words that do not are told and not drawn."""
    one = watch((0.0, 200), (9.5, 200), settled="restarted", restarts=("+5.0 s live.service: pid 1 → 2", "no time"))
    chart = attempts.chart([one])
    assert chart
    assert chart.strips[0].restarted == [500]
    assert len(chart.strips[0].restarts) == 2


def test_watch_without_answers_is_drawn() -> None:
    """An endpoint that was never asked has a strip without a mark."""
    chart = attempts.chart([watch(settled="unhealthy")])
    assert chart
    strip = chart.strips[0]
    assert (strip.answers, strip.slowest_s, strip.good, strip.soak) == (0, 0.0, [], None)
    assert attempts.chart([]) is None


def test_axes_are_marked_at_round_times() -> None:
    """An axis of any length has a few marks, at times that a person would choose."""
    assert [tick.label for tick in attempts.ticks(16.0)] == [
        "0 s",
        "2 s",
        "4 s",
        "6 s",
        "8 s",
        "10 s",
        "12 s",
        "14 s",
    ]
    assert [tick.label for tick in attempts.ticks(200.0)][:3] == ["0 s", "30 s", "1 min"]
    assert attempts.ticks(200.0)[3].label == "1:30 min"
    for seconds in (0.1, 1.0, 59.0, 3600.0, 90_000.0, 10_000_000.0):
        assert 2 <= len(attempts.ticks(seconds)) <= 10
        assert all(tick.at < attempts.WIDTH for tick in attempts.ticks(seconds))
