"""The possible values of a word of shell: known text, with marks for parts known only at run time."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from switchproof.deploy.paths.patience import step

Values: TypeAlias = tuple[str, ...]
"""Every possible value of a word, as far as it is known; never empty."""

MOST = 8
"""Alternatives that are kept; a word with more of them counts as unknown."""

_MARK = re.compile(r"⟦([^⟧]*)⟧")


def mark(name: str) -> str:
    """Return a mark for a part that is known only at run time; it is safe within any quotes of a shell."""
    return f"⟦{re.sub(r'[^A-Za-z0-9_.:@/+-]+', '_', name).strip('_') or 'unknown'}⟧"


def marks(text: str) -> list[str]:
    """Return the names of the marks in a text."""
    return _MARK.findall(text)


def is_known(text: str) -> bool:
    """Whether a text contains no mark."""
    return "⟦" not in text


def after_marks(text: str) -> str:
    """Return the known end of a text."""
    return text.rpartition("⟧")[2]


def shown(text: str) -> str:
    """Return a text for a reader, with each mark as `${name}`."""
    return _MARK.sub(lambda match: f"${{{match[1]}}}", text)


def joined(parts: Sequence[Values], between: str = "") -> Values:
    """Return every concatenation of parts.

    Raises:
        OutOfPatience: The survey has reached its limits.
    """
    step(sum(max(map(len, part), default=0) for part in parts))
    options = list(itertools.islice(itertools.product(*parts), MOST + 1))
    if len(options) > MOST:
        return (mark("many"),)
    return tuple(dict.fromkeys(between.join(option) for option in options))


def either(options: Iterable[Values]) -> Values:
    """Return the values of all options.

    Raises:
        OutOfPatience: The survey has reached its limits.
    """
    step()
    values = tuple(dict.fromkeys(itertools.chain.from_iterable(options)))
    return values if len(values) <= MOST else (mark("many"),)


def filled(text: str, known: Mapping[str, Values]) -> Values:
    """Replace each mark whose values are known."""
    pieces = _MARK.split(text)  # text and names in turn
    parts = [known.get(piece, (mark(piece),)) if n % 2 else (piece,) for n, piece in enumerate(pieces)]
    return joined(parts)
