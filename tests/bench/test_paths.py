"""The survey's precision is measured against answers that stand beside the lines, and each wrong answer is named."""

from __future__ import annotations

import pytest

from bench.paths import LEAST, Judged, judge, result_of
from bench.repositories import Answer, Repository, read, read_all

TEXT = """\
A recipe that switches a host
path: justfile:ship = ssh
verdict: breaks-the-contract

== justfile
ship:
    ssh root@web nixos-rebuild switch
» not-shared inline-shell

look:
    ssh root@web uptime
"""


def repository(*, answered: str = TEXT) -> Repository:
    return read("one", answered)


def test_answers_stand_beside_their_lines() -> None:
    """A margin belongs to the line above it, and is no part of the file."""
    one = repository()
    assert one.files == {
        "justfile": "ship:\n    ssh root@web nixos-rebuild switch\n\nlook:\n    ssh root@web uptime\n"
    }
    assert {(each.finding, each.where) for each in one.answers} == {
        ("path", "justfile:ship = ssh"),
        ("verdict", "breaks-the-contract"),
        ("not-shared", "justfile:2"),
        ("inline-shell", "justfile:2"),
    }
    assert one.lines == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("» not-shared", "» unshared", "justfile:2: 'unshared' is not a finding of a line"),
        ("verdict: breaks-the-contract", "verdict: bad", "'verdict: bad' names neither a path nor a verdict"),
    ],
)
def test_answer_that_no_survey_gives_is_refused(old: str, new: str, message: str) -> None:
    """A mistyped answer would count as missed for ever."""
    with pytest.raises(RuntimeError, match=message):
        repository(answered=TEXT.replace(old, new))


def test_survey_that_is_right_has_no_wrong_line() -> None:
    """What the survey reports is compared line by line, with the verdict and the paths."""
    judged = judge(repository())
    assert (judged.wrong, result_of([judged]).problems) == ([], [])


def test_every_wrong_answer_is_named_and_is_a_problem() -> None:
    """A line shows the place with both answers; precision and recall of the finding are too low."""
    one = repository()
    reported = (one.answers - {Answer("inline-shell", "justfile:2")}) | {Answer("aws-only", "justfile:5")}
    judged = Judged(one, frozenset(reported))
    assert judged.wrong == [
        "one: justfile:2: expected inline-shell, not-shared, got not-shared",
        "one: justfile:5: expected nothing, got aws-only",
    ]
    result = result_of([judged])
    assert result.problems == [
        f"aws-only: precision is 0.000; it must exceed {LEAST}",
        f"inline-shell: recall is 0.000; it must exceed {LEAST}",
    ]
    assert judged.wrong[0] in result.text


def test_all_repositories_measure_every_finding() -> None:
    """The survey is right often enough, on enough repositories, and each finding has several answers."""
    judged = [judge(each) for each in read_all()]
    assert len(judged) >= 60
    assert not result_of(judged).problems
    answers = [answer.finding for each in judged for answer in each.repository.answers]
    assert {finding for finding in answers if answers.count(finding) < 3} == set()
