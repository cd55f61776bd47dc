"""The tests of what judges are judged themselves: by the mistakes in it that they notice."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from bench.mutants import LIST, ROOT, Mutant, judge

EMPTY = compile("", "x", "exec")
KNOWN = tomllib.loads(LIST.read_text(encoding="utf-8"))


def mutant(number: int) -> Mutant:
    return Mutant("x.py", "f", range(1, 2), 1, f"a{number}", f"b{number}", EMPTY)


def equivalent(number: int) -> dict[str, str]:
    return {"in": "x.py", "at": "f", "was": f"a{number}", "becomes": f"b{number}", "why": "nobody sees it"}


@pytest.mark.parametrize(
    ("living", "equal", "code"),
    [
        (range(5), (), 0),
        (range(6), (), 1),
        (range(6), range(2), 0),
        (range(100), range(99), 1),
        (range(4), (99,), 1),
    ],
    ids=["just enough", "one too many", "two are equivalent", "none of the others", "an equivalent one is noticed"],
)
def test_enough_mistakes_must_be_noticed(
    living: range, equal: range | tuple[int, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below the share, or with an equivalent mistake on the list that a test does notice, the recipe fails."""
    all_of_them = [mutant(number) for number in range(100)]
    known: dict[str, Any] = {"at_least": 95.0, "equivalent": [equivalent(number) for number in equal]}
    assert judge(known, all_of_them, [mutant(number) for number in living]) == code
    told = capsys.readouterr()
    assert ("take it off mutants.toml" in told.err) == (equal == (99,))
    assert told.out.count("→") == len(set(living) - set(equal))


def test_list_names_files_that_are_there() -> None:
    """Every module has tests that hold it, and every equivalent mistake is in one of them and has a reason."""
    modules = {module for group in KNOWN["held"] for module in group["modules"]}
    named = [*modules, *(test for group in KNOWN["held"] for test in group["tests"])]
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert all(group["tests"] for group in KNOWN["held"])
    assert all(one["in"] in modules and one["why"] for one in KNOWN.get("equivalent", []))
