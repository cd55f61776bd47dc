"""Turns an observation into facts of the record: health over time, and the state of units (pure)."""

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
"""Samples kept per watch: enough for a graph, and few enough for a record of a hundred hosts."""

ALIKE = 40
"""Samples kept between two equal ones."""


def read_watches(
    seen: Observation, endpoints: Mapping[str, Endpoint], *, leg: Leg, began: dt.datetime, limit_s: float
) -> list[Watch]:
    """Make the watches of an observation.

    Args:
        seen: The observation.
        endpoints: The endpoints of the target file, by name.
        leg: The leg of the observation.
        began: When the watch began, by the runner's clock.
        limit_s: Seconds after which the watch ends at the latest.
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
    """Make the states of units for the record."""
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


def thin(keyed: Sequence[tuple[object, Sample]], most: int = MOST, alike: int = ALIKE) -> list[Sample]:
    """Leave out samples if there are too many, first those between two equal ones.

    Args:
        keyed: Each sample with a key; samples with equal keys are alike.
        most: The largest number of samples to keep.
        alike: The largest number of samples to keep between two equal ones.
    """
    changes = [number for number, (first, second) in enumerate(pairwise(keyed)) if first[0] != second[0]]
    edges = sorted({0, len(keyed) - 1, *changes, *(number + 1 for number in changes)}) if keyed else []
    between = [number for number in range(len(keyed)) if number not in set(edges)]
    stay = _evenly(edges, most)
    stay += _evenly(between, min(alike, most - len(stay)))
    return [keyed[number][1] for number in sorted(stay)]


def _evenly(numbers: list[int], most: int) -> list[int]:
    """Choose at most so many evenly spaced numbers, always with the first."""
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
