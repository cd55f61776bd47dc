"""Reads how a check describes itself: its title, rationale, remedy and severity."""

from __future__ import annotations

import functools
import inspect

import msgspec
import pytest

TRY, SEVERITY = "Try: ", "Severity: "


class Description(msgspec.Struct, frozen=True):
    """What the report says about a check.

    Attributes:
        title: What must hold, without a full stop.
        why: Why it matters.
        remedy: What to try if it does not hold.
        severity: How much it matters; empty if the check does not say.
    """

    title: str
    why: str
    remedy: str
    severity: str


_DESCRIPTION = pytest.StashKey[Description]()


def describe(item: pytest.Item) -> Description:
    """Read a check's description from the paragraphs of its docstring; its marker overrides them.

    The first paragraph is the title. One that begins with `Try:` says what to try, one with `Severity:` how much the
    check matters; all others say why it does. The marker may say `rationale`, `remedy` and `severity`.
    """
    if _DESCRIPTION not in item.stash:
        item.stash[_DESCRIPTION] = _read(item)
    return item.stash[_DESCRIPTION]


def _read(item: pytest.Item) -> Description:
    function = getattr(item, "function", item)
    title, *paragraphs = _paragraphs(function.__doc__ or "")
    by_marker = _marker(item)
    labelled = {prefix: _all(paragraphs, prefix) for prefix in (TRY, SEVERITY)}
    why = " ".join(paragraph for paragraph in paragraphs if not paragraph.startswith((TRY, SEVERITY)))
    return Description(
        title=title.removesuffix(".") or _from_name(item),
        why=by_marker.get("rationale", why),
        remedy=by_marker.get("remedy", labelled[TRY]),
        severity=by_marker.get("severity", labelled[SEVERITY].removesuffix(".")),
    )


@functools.cache
def _paragraphs(docstring: str) -> tuple[str, ...]:
    """Return the paragraphs of a docstring, a line each; the same for the check of every host."""
    return tuple(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(docstring).split("\n\n"))


def _marker(item: pytest.Item) -> dict[str, str]:
    marker = item.get_closest_marker("clause") or item.get_closest_marker("audit")
    return {name: str(value) for name, value in marker.kwargs.items()} if marker else {}


def _all(paragraphs: list[str], prefix: str) -> str:
    return " ".join(paragraph.removeprefix(prefix) for paragraph in paragraphs if paragraph.startswith(prefix))


def _from_name(item: pytest.Item) -> str:
    """Make a title of a function's name, for a check without a docstring."""
    return getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ").capitalize()
