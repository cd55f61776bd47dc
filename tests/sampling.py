"""Chooses the cases of a long table that a test run tries, and lets its last lines say how many of how many."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import pytest

T = TypeVar("T")


@dataclass(frozen=True)
class Sampled(Generic[T]):
    """A table of cases, of which a test run tries some.

    Attributes:
        kind: What the cases are, for the last lines of a test run.
        recipe: The recipe of `just` that tries all.
        asked: `all`, or a pattern of names; empty for the sample.
        number: How many cases there are.
        tried: The cases to try, by their names.
    """

    kind: str
    recipe: str
    asked: str
    number: int
    tried: Mapping[str, T]

    def mark(self, *names: str) -> pytest.MarkDecorator:
        """Return the mark of a test that tries these cases."""
        return pytest.mark.sampled(self.kind, self.recipe, self.number, names)


def sampled(
    kind: str, recipe: str, cases: Mapping[str, T], sample: Collection[str], asked: str | None = None
) -> Sampled[T]:
    """Choose the cases to try: what the recipe's variable `SWITCHPROOF_…` asks for, or else a sample.

    Args:
        kind: What the cases are.
        recipe: The recipe of `just` that tries all; `cut-points` reads SWITCHPROOF_CUT_POINTS.
        cases: All of them, by their names.
        sample: Names of those that every test run tries.
        asked: Instead of the variable's value.

    Raises:
        ValueError: The sample names a case that there is not.
    """
    if unknown := set(sample) - cases.keys():
        raise ValueError(f"{kind}: no such case: {', '.join(sorted(unknown))}")
    if asked is None:
        asked = os.environ.get(f"SWITCHPROOF_{recipe.upper().replace('-', '_')}", "")
    tried = {
        name: case
        for name, case in cases.items()
        if asked == "all" or (re.search(asked, name) if asked else name in sample)
    }
    return Sampled(kind, recipe, asked, len(cases), tried)


def counted(items: Iterable[pytest.Item]) -> list[str]:
    """Return a line for each kind of sampled cases that these tests try."""
    kinds: dict[tuple[str, str, int], set[str]] = {}
    for item in items:
        for mark in item.iter_markers("sampled"):
            kind, recipe, number, names = mark.args
            kinds.setdefault((kind, recipe, number), set()).update(names)
    return [
        f"{len(tried):7} of {number} {kind}; `just {recipe}` tries all"
        for (kind, recipe, number), tried in kinds.items()
    ]
