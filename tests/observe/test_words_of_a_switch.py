"""Of what a switch said, a reader gets the lines that tell why it ended so, and sees where some were left out."""

from __future__ import annotations

import pytest

from tests.observe.test_convergence import RESULT, ended


def words(before: int, after: int) -> list[str]:
    said = [*(f"line {number}" for number in range(before)), "error: it broke"]
    said += [f"after {number}" for number in range(after)]
    return ended(log="\n".join(["--- switch", *said, RESULT, "journal: later"])).excerpt.splitlines()


@pytest.mark.parametrize(("before", "after"), [(0, 0), (8, 0), (5, 9), (5, 20)])
def test_short_log_is_told_whole(before: int, after: int) -> None:
    """Where the lines around the error and the last ones meet, nothing is left out and nothing says so."""
    told = words(before, after)
    assert len(told) == before + 1 + after + 1
    assert "[…]" not in told


def test_late_error_is_told_with_the_last_lines() -> None:
    """Where the first error is the last line, more lines before it are told: the last twelve in all."""
    told = words(30, 0)
    assert told == [*(f"line {number}" for number in range(20, 30)), "error: it broke", RESULT]


def test_lines_between_the_error_and_the_end_are_left_out_and_told_so() -> None:
    """Where they do not meet, one line stands for what is left out."""
    told = words(30, 30)
    assert told.count("[…]") == 1
    assert told[-12:] == [*(f"after {number}" for number in range(19, 30)), RESULT]
