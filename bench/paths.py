"""Measures how right the survey of deploy paths is, on small repositories with the right answer for each line."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.repositories import FINDINGS, NOT_UNDERSTOOD, Answer, Repository, read_all
from bench.result import Bench, Given, Result
from switchproof.deploy.paths.sources import Surveyor
from switchproof.deploy.paths.survey import Survey

LEAST = 0.95
"""Precision and recall that each finding must exceed."""


@dataclass(frozen=True)
class Judged:
    """A repository with what the survey reported."""

    repository: Repository
    reported: frozenset[Answer]

    @property
    def wrong(self) -> list[str]:
        """A line for each place with another answer than the right one."""
        right, reported = self.repository.answers, self.reported
        places = sorted({_place(each) for each in right ^ reported})
        return [
            f"{self.repository.name}: {place}: expected {_named(right, place)}, got {_named(reported, place)}"
            for place in places
        ]


@dataclass(frozen=True)
class Score:
    """How often a finding was reported.

    Attributes:
        finding: The finding.
        right: Reported where it is right.
        false: Reported where it is not.
        missed: Not reported where it is right.
    """

    finding: str
    right: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        """The share of reports that are right."""
        return self.right / (self.right + self.false) if self.right + self.false else 1.0

    @property
    def recall(self) -> float:
        """The share of right answers that were reported."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0


BENCH = Bench("paths", __doc__, rounds=1)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _run)


def _run(_: Given) -> Result:
    return result_of([judge(repository) for repository in read_all()])


def judge(repository: Repository) -> Judged:
    """Survey a repository."""
    with tempfile.TemporaryDirectory() as folder:
        survey = Surveyor(repository.make(Path(folder))).survey()
    return Judged(repository, frozenset(_reported(survey)))


def result_of(judged: Sequence[Judged]) -> Result:
    """Score every finding; a score that is too low is a problem."""
    scores = [_score(finding, judged) for finding in FINDINGS]
    wrong = [line for each in judged for line in each.wrong]
    numbers = {f"{score.finding}: precision": score.precision for score in scores}
    numbers |= {f"{score.finding}: recall": score.recall for score in scores}
    low = [name for name, number in numbers.items() if number <= LEAST]
    problems = [f"{name} is {numbers[name]:.3f}; it must exceed {LEAST}" for name in low]
    return Result(_render(judged, scores, wrong), numbers, problems)


def _reported(survey: Survey) -> Iterator[Answer]:
    yield Answer("verdict", survey.verdict)
    for each in survey.not_understood:
        yield Answer(NOT_UNDERSTOOD, str(each.place))
    for entry in survey.entry_points:
        for each in entry.not_understood:
            yield Answer(NOT_UNDERSTOOD, str(each.place))
        for finding in entry.findings:
            yield Answer(finding.kind, str(finding.place))
    for entry in survey.active:
        yield Answer("path", f"{entry.id} = {', '.join(entry.providers)}")


def _score(finding: str, judged: Sequence[Judged]) -> Score:
    right = false = missed = 0
    for each in judged:
        wanted = {answer for answer in each.repository.answers if answer.finding == finding}
        reported = {answer for answer in each.reported if answer.finding == finding}
        right += len(wanted & reported)
        false += len(reported - wanted)
        missed += len(wanted - reported)
    return Score(finding, right, false, missed)


def _place(answer: Answer) -> str:
    return answer.finding if answer.finding == "verdict" else answer.where


def _named(answers: frozenset[Answer], place: str) -> str:
    here = sorted(answer for answer in answers if _place(answer) == place)
    return ", ".join(answer.where if answer.finding == "verdict" else answer.finding for answer in here) or "nothing"


def _render(judged: Sequence[Judged], scores: Sequence[Score], wrong: Sequence[str]) -> str:
    lines = sum(each.repository.lines for each in judged)
    spotless = sum(not each.wrong for each in judged)
    out = [
        f"{len(judged)} repositories with {lines} lines; {spotless} without a wrong answer.",
        "",
        "| finding | right | reported wrongly | missed | precision | recall |",
        "|---|---|---|---|---|---|",
    ]
    for score in scores:
        cells = (score.right, score.false, score.missed, f"{score.precision:.3f}", f"{score.recall:.3f}")
        out.append(f"| `{score.finding}` | {' | '.join(map(str, cells))} |")
    if wrong:
        out += ["", "Wrong answers:", "", *(f"- {line}" for line in wrong)]
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    sys.exit(main())
