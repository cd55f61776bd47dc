"""An endpoint's answers over time: in words, and laid out to be drawn (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from switchproof.deploy.record.facts import Sample, Watch
from switchproof.reports import text

SHOWN = 16
"""Rows of like answers that are told of one watch, those in the middle left out."""

_AT = re.compile(r"\+(\d{1,6}(?:\.\d{1,3})?) s ", re.ASCII)
"""How a restart begins that says when it was."""

_HEALTHY = frozenset({"healthy", ""})
"""How a watch ends that may have ended well; a record of an older version does not say."""

_TOGETHER = 4
"""Like answers in a row from which they are told together."""

WIDTH = 1000
"""Width of a drawing, in its own units."""

_LABEL = 40
"""Width of a tick's label, about."""


@dataclass(frozen=True)
class Attempt:
    """One answer, or several alike in a row.

    Attributes:
        when: Seconds since the watch began, in words such as `+2.1 s`.
        said: The status, or why there was none.
        good: Whether it was what the target file asks for.
    """

    when: str
    said: str
    good: bool


def tell(watch: Watch) -> list[Attempt]:
    """Tell the answers of a watch in order, every change of them, and how many rows in the middle are left out."""
    told: list[Attempt] = []
    for (good, _), group in groupby(watch.samples, key=lambda sample: (sample.good, _said(sample))):
        row = list(group)
        if len(row) < _TOGETHER:
            told += [Attempt(_at(one), _said(one), good) for one in row]
        else:
            when = f"{_at(row[0])} to {_at(row[-1])}"
            least = "at least " if watch.left_out else ""
            told.append(Attempt(when, f"{_said(row[0])}, {least}{len(row)} times", good))
    if len(told) <= SHOWN:
        return told
    first = SHOWN // 2
    missing = len(told) - SHOWN + 1
    left_out = Attempt("…", f"{missing} rows more, in record.json", all(one.good for one in told[first:-first]))
    return [*told[:first], left_out, *told[-(SHOWN - first - 1) :]]


def _at(sample: Sample) -> str:
    return f"+{sample.at_s:.1f} s"


def _said(sample: Sample) -> str:
    """The status alone where that tells it; what was not good in spite of it needs its words."""
    if not sample.code:
        return text.one_line(sample.words, 120) or "no answer"
    return f"{sample.code}" if sample.good or not 200 <= sample.code < 300 else f"{sample.code}, not as it should be"  # noqa: PLR2004 - HTTP


@dataclass(frozen=True)
class Strip:
    """The health of one endpoint, laid out on an axis that all strips of its chart share.

    Attributes:
        endpoint: Whose health.
        settled: How it ended, in the host's word.
        healthy_s: When the good answers began that it ended with; None if it did not end with one.
        seconds: How long it was watched.
        limit_s: The longest that it might have been.
        good: Where on the axis a good answer stands.
        bad: Where one stands that was not.
        soak: From where to where it was healthy to the end; None if it was not.
        end: Where the watch ended.
        answers: How many answers there were, those among them that are not drawn included.
        slowest_s: The longest that an answer took, 0 without any.
        restarts: Every time that a unit behind it became another process.
        restarted: Where on the axis that was.
        attempts: The same in words.
        probe: The kind of the probe and what it asks; empty in older records.
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


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what stands there."""

    at: int
    label: str


@dataclass(frozen=True)
class Chart:
    """The health of all endpoints of a host on one leg."""

    strips: list[Strip]
    ticks: list[Tick]


def chart(watches: Iterable[Watch]) -> Chart | None:
    """Lay out the watches of one host and leg under one another; None if there are none."""
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
        attempts=tell(watch),
        probe=watch.probe,
    )


def since_healthy(watch: Watch) -> float | None:
    """Seconds after which every answer was good; None if it did not end healthy."""
    if watch.settled not in _HEALTHY:
        return None
    last_bad = max((sample.at_s for sample in watch.samples if not sample.good), default=-1.0)
    return next((sample.at_s for sample in watch.samples if sample.good and sample.at_s > last_bad), None)


def ticks(seconds: float, width: int = WIDTH, most: int = 9) -> list[Tick]:
    """Mark an axis that begins at 0 at round numbers of seconds, at most so many of them."""
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
