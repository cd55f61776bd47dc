"""What a check says of itself: its title, why it matters, what to try, and how much it matters."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass

import pytest

TRY, SEVERITY = "Try: ", "Severity: "


@dataclass(frozen=True)
class Words:
    """A check in words.

    Attributes:
        title: What must hold, without a full stop.
        why: Why it matters.
        remedy: What to try where it does not hold.
        severity: How much it matters; empty where nobody says.
    """

    title: str
    why: str
    remedy: str
    severity: str


def words_of(item: pytest.Item) -> Words:
    """Read what a check says of itself: paragraphs of its docstring, and what its marker says instead of them.

    The first paragraph is the title. One that begins with `Try:` says what to try, one with `Severity:` how much the
    check matters; all others say why it does. The marker may say `rationale`, `remedy` and `severity`.
    """
    function = getattr(item, "function", item)
    title, *told = _paragraphs(function.__doc__ or "")
    by_marker = _marker(item)
    paragraphs = {prefix: _all(told, prefix) for prefix in (TRY, SEVERITY)}
    why = " ".join(one for one in told if not one.startswith((TRY, SEVERITY)))
    return Words(
        title=title.removesuffix(".") or _from_name(item),
        why=by_marker.get("rationale", why),
        remedy=by_marker.get("remedy", paragraphs[TRY]),
        severity=by_marker.get("severity", paragraphs[SEVERITY].removesuffix(".")),
    )


@functools.cache
def _paragraphs(docstring: str) -> tuple[str, ...]:
    """Return the paragraphs of a docstring, a line each; the same for the check of every host."""
    return tuple(" ".join(one.split()) for one in inspect.cleandoc(docstring).split("\n\n"))


def _marker(item: pytest.Item) -> dict[str, str]:
    marker = item.get_closest_marker("clause") or item.get_closest_marker("audit")
    return {name: str(value) for name, value in marker.kwargs.items()} if marker else {}


def _all(paragraphs: list[str], prefix: str) -> str:
    return " ".join(one.removeprefix(prefix) for one in paragraphs if one.startswith(prefix))


def _from_name(item: pytest.Item) -> str:
    """Make a title of a function's name, where nobody has written one."""
    return getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ").capitalize()
