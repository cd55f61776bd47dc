"""An observation → what the record keeps of it: health over time and the state of units (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import pairwise

from switchproof.deploy.observe.answers import Answer, due_of, judged
from switchproof.deploy.observe.asking import kind_of
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.observe.parts.units import Unit
from switchproof.deploy.record.facts import Leg, Sample, UnitState, Watch
from switchproof.deploy.target.types import Endpoint

MOST = 200
"""Samples kept of one watch; enough to draw, and few enough for a record of a hundred hosts."""

ALIKE = 40
"""Samples kept of those that tell nothing new, as the ones before and after them are alike."""


def read_watches(
    seen: Observation, endpoints: Mapping[str, Endpoint], *, leg: Leg, began: dt.datetime, limit_s: float
) -> list[Watch]:
    """Make the watches of an observation.

    Args:
        seen: What was observed.
        endpoints: Those of the target file, by name.
        leg: On which leg.
        began: When the watch began, by our clock.
        limit_s: The longest that it may take.
    """
    watches = []
    for name, answers in seen.answers.items():
        want = endpoints.get(name)
        restarts = seen.restarts(want.units) if want else []
        settled = seen.settled.get(name, "")
        if want:
            answers = judged(answers, want, due_of(want, seen.due.get(name, {})))  # noqa: PLW2901 - the same, judged
            settled = "unhealthy" if settled == "healthy" and answers and not answers[-1].good else settled
        kept = thin([(_likeness(answer), _sample(answer)) for answer in answers])
        watches.append(
            Watch(
                leg=leg,
                endpoint=name,
                settled=settled,
                began=began,
                seconds=round(seen.watched_s, 3),
                limit_s=limit_s,
                samples=tuple(kept),
                left_out=len(answers) - len(kept),
                restarts=tuple(restarts[:MOST]),
                probe=kind_of(want) if want else "",
            )
        )
    return watches


def read_states(units: Mapping[str, Unit]) -> tuple[UnitState, ...]:
    """Make the states of units."""
    return tuple(
        UnitState(
            name=unit.name,
            state=unit.state,
            definition=unit.definition,
            invocation=unit.invocation,
            pid=unit.main_pid,
            restarts=unit.restarts,
        )
        for unit in units.values()
    )


def thin(told: Sequence[tuple[object, Sample]], most: int = MOST, alike: int = ALIKE) -> list[Sample]:
    """Leave out samples where there are too many, first those between two that are like them.

    Args:
        told: Each sample, behind what must be equal for two of them to be alike.
        most: How many may stay.
        alike: How many of those between two that are like them.
    """
    changes = [number for number, (one, other) in enumerate(pairwise(told)) if one[0] != other[0]]
    edges = sorted({0, len(told) - 1, *changes, *(number + 1 for number in changes)} - {-1}) if told else []
    between = [number for number in range(len(told)) if number not in set(edges)]
    stay = _evenly(edges, most)
    stay += _evenly(between, min(alike, most - len(stay)))
    return [told[number][1] for number in sorted(stay)]


def _evenly(numbers: list[int], most: int) -> list[int]:
    """Take at most so many of a row, evenly, the first of it always."""
    if len(numbers) <= most:
        return numbers
    return [numbers[at * len(numbers) // most] for at in range(most)]


def _likeness(answer: Answer) -> tuple[bool, int, int]:
    return answer.good, answer.code, answer.curl


def _sample(answer: Answer) -> Sample:
    is_http = answer.probe not in {"tcp", "exec"}
    return Sample(
        at_s=round(answer.at, 3),
        good=answer.good,
        code=answer.code if is_http else 0,
        seconds=round(answer.total_s, 6),
        words=str(answer) if is_http else f"{answer.short}{'' if answer.good else ', not as it should be'}",
    )
