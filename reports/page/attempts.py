"""Lays out an endpoint's answers over time, as rows of text and as a drawing (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from switchproof.deploy.record.facts import Sample, Watch
from switchproof.reports import text

SHOWN = 16
"""Rows shown of one watch; of more rows, those in the middle are left out."""

_AT = re.compile(r"\+(\d{1,6}(?:\.\d{1,3})?) s ", re.ASCII)
"""The beginning of a restart's text, if it has a time."""

_HEALTHY = frozenset({"healthy", ""})
"""The endings of a watch that may be healthy; records of older versions have none."""

_TOGETHER = 4
"""Number of equal answers in a row from which they share a row."""

WIDTH = 1000
"""Width of a drawing, in units of the drawing."""

_LABEL = 40
"""Approximate width of a tick's label."""


class Attempt(msgspec.Struct, frozen=True):
    """One answer, or several equal ones in a row.

    Attributes:
        when: Seconds since the watch began, in words such as `+2.1 s`.
        answer: The status, or the reason why there was none.
        good: Whether it is what the target file asks for.
    """

    when: str
    answer: str
    good: bool


def rows_of(watch: Watch) -> list[Attempt]:
    """Return the answers of a watch in order, with every change, and a row for those left out in the middle."""
    attempts: list[Attempt] = []
    for (good, _), group in groupby(watch.samples, key=lambda sample: (sample.good, _answer(sample))):
        row = list(group)
        if len(row) < _TOGETHER:
            attempts += [Attempt(_at(sample), _answer(sample), good) for sample in row]
        else:
            when = f"{_at(row[0])} to {_at(row[-1])}"
            least = "at least " if watch.left_out else ""
            attempts.append(Attempt(when, f"{_answer(row[0])}, {least}{len(row)} times", good))
    if len(attempts) <= SHOWN:
        return attempts
    first = SHOWN // 2
    missing = len(attempts) - SHOWN + 1
    left_out = Attempt(
        "…", f"{missing} more rows in record.json", all(attempt.good for attempt in attempts[first:-first])
    )
    return [*attempts[:first], left_out, *attempts[-(SHOWN - first - 1) :]]


def _at(sample: Sample) -> str:
    return f"+{sample.at_s:.1f} s"


def _answer(sample: Sample) -> str:
    """Return the status, with a remark if the answer was bad despite a good status."""
    if not sample.code:
        return text.one_line(sample.words, 120) or "no answer"
    return f"{sample.code}" if sample.good or not 200 <= sample.code < 300 else f"{sample.code}, not as it should be"  # noqa: PLR2004 - HTTP


class Strip(msgspec.Struct, frozen=True):
    """The health of one endpoint, on an axis that all strips of its chart share.

    Attributes:
        endpoint: The endpoint.
        settled: The ending of the watch, in the host's word.
        healthy_s: Seconds until the first of the good answers at the end; None if it did not end healthy.
        seconds: The length of the watch, in seconds.
        limit_s: The time limit of the watch, in seconds.
        good: Positions of good answers on the axis.
        bad: Positions of bad answers.
        soak: Begin and end of the healthy time at the end; None if it did not end healthy.
        end: Position of the end of the watch.
        answers: Number of answers, including those that are not drawn.
        slowest_s: The longest time of an answer, in seconds; 0 without any.
        restarts: Every restart of a unit behind it, in words.
        restarted: Positions of these restarts.
        attempts: The answers as rows of text.
        probe: The kind of the probe and its question; empty in older records.
    """

    endpoint: str
    settled: str
    healthy_s: float | None
    seconds: float
    limit_s: float
    good: list[int]
    bad: list[int]
    soak: tuple[int, int] | None
    end: int
    answers: int
    slowest_s: float
    restarts: tuple[str, ...]
    restarted: list[int]
    attempts: list[Attempt]
    probe: str = ""


class Tick(msgspec.Struct, frozen=True):
    """A mark on an axis, with its label."""

    at: int
    label: str


class Chart(msgspec.Struct, frozen=True):
    """The strips of all endpoints of a host on one leg, and their axis."""

    strips: list[Strip]
    ticks: list[Tick]


def chart(watches: Iterable[Watch]) -> Chart | None:
    """Lay out the watches of one host and leg, one below another; None without watches."""
    row = list(watches)
    if not row:
        return None
    longest = max(max(watch.seconds, *(sample.at_s for sample in watch.samples), 0.1) for watch in row)
    return Chart([_strip(watch, WIDTH / longest) for watch in row], ticks(longest))


def _strip(watch: Watch, scale: float) -> Strip:
    healthy = since_healthy(watch)
    end = round(watch.seconds * scale)
    return Strip(
        endpoint=watch.endpoint,
        settled=watch.settled,
        healthy_s=healthy,
        seconds=watch.seconds,
        limit_s=watch.limit_s,
        good=[round(sample.at_s * scale) for sample in watch.samples if sample.good],
        bad=[round(sample.at_s * scale) for sample in watch.samples if not sample.good],
        soak=None if healthy is None else (round(healthy * scale), end),
        end=end,
        answers=len(watch.samples) + watch.left_out,
        slowest_s=max((sample.seconds for sample in watch.samples), default=0.0),
        restarts=watch.restarts,
        restarted=[round(float(at[1]) * scale) for at in map(_AT.match, watch.restarts) if at],
        attempts=rows_of(watch),
        probe=watch.probe,
    )


def since_healthy(watch: Watch) -> float | None:
    """Return the seconds after which every answer was good; None if the watch did not end healthy."""
    if watch.settled not in _HEALTHY:
        return None
    last_bad = max((sample.at_s for sample in watch.samples if not sample.good), default=-1.0)
    return next((sample.at_s for sample in watch.samples if sample.good and sample.at_s > last_bad), None)


def ticks(seconds: float, width: int = WIDTH, most: int = 9) -> list[Tick]:
    """Return marks at round numbers of seconds, on an axis from 0 to `seconds`; at most `most`."""
    steps: Sequence[float] = (
        0.01,
        0.02,
        0.05,
        0.1,
        0.2,
        0.5,
        1,
        2,
        5,
        10,
        15,
        30,
        60,
        120,
        300,
        600,
        1200,
        1800,
        3600,
        7200,
        21600,
    )
    step = next((step for step in steps if seconds / step < most), seconds / (most - 1))
    places = (round(number * step * width / seconds) for number in range(most + 1))
    return [Tick(at, _label(number * step)) for number, at in enumerate(places) if at <= width - _LABEL]


def _label(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min" if not rest else f"{minutes}:{rest:02d} min"
