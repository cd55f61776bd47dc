"""A test run says of each sampled table how many of its cases it tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sampling import sampled

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
CASES = {name: len(name) for name in ("one", "two", "three")}
MODULE = """
import pytest
from tests.sampling import sampled

SAMPLED = sampled("numbers", "cut-points", {"one": 1, "two": 2, "three": 3}, {"one", "two"})

@pytest.mark.parametrize("n", [pytest.param(n, marks=SAMPLED.mark(name)) for name, n in SAMPLED.tried.items()])
def test_first(n):
    pass

@pytest.mark.parametrize("n", [pytest.param(n, marks=SAMPLED.mark(name)) for name, n in SAMPLED.tried.items()])
def test_second(n):
    pass

def test_whole_table():
    pass
"""


@pytest.mark.parametrize(
    ("asked", "tried"),
    [("", ["one"]), ("all", ["one", "two", "three"]), ("^t", ["two", "three"]), ("two", ["two"])],
)
def test_a_variable_chooses_the_cases(monkeypatch: pytest.MonkeyPatch, asked: str, tried: list[str]) -> None:
    """The sample, all or those of a pattern, by the variable that has the name of the recipe."""
    monkeypatch.setenv("SWITCHPROOF_CUT_POINTS", asked)
    chosen = sampled("numbers", "cut-points", CASES, {"one"})
    assert chosen.tried == {name: len(name) for name in tried}
    assert (chosen.asked, chosen.number) == (asked, 3)
    assert sampled("numbers", "cut-points", CASES, {"one"}, asked="").tried == {"one": 3}


def test_a_sample_of_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers: no such case: four"):
        sampled("numbers", "cut-points", CASES, {"one", "four"})


@pytest.mark.parametrize(("chosen", "processes", "tried"), [("first or second", 2, 2), ("first and 1", 0, 1)])
def test_the_last_lines_say_how_many_cases_were_tried(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, chosen: str, processes: int, tried: int
) -> None:
    """Each case once, however many tests try it, and though the tests run in other processes, which collect them."""
    monkeypatch.delenv("SWITCHPROOF_CUT_POINTS", raising=False)
    assert f"      {tried} of 3 numbers; `just cut-points` tries all" in last_lines(pytester, chosen, processes)


def test_they_say_nothing_of_what_was_not_tried(pytester: pytest.Pytester) -> None:
    """What was left out as a whole stands elsewhere."""
    lines = last_lines(pytester, "whole_table", 0)
    assert any("1 passed" in line for line in lines)
    assert not any("numbers" in line or "sampled" in line for line in lines)


def last_lines(pytester: pytest.Pytester, chosen: str, processes: int) -> list[str]:
    """Run some tests with this folder's conftest.py, and return what is printed."""
    pytester.makepyfile(MODULE)
    pytester.makeconftest("from tests.conftest import *")
    pytester.makeini(f"[pytest]\npythonpath = {ROOT}\nmarkers = sampled")
    return pytester.runpytest_subprocess("-k", chosen, f"--numprocesses={processes}").outlines
