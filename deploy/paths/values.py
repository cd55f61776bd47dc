"""What a word of shell may come to: known text, with marks where only the run will tell (pure, but for patience)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from switchproof.deploy.paths.patience import step

Values: TypeAlias = tuple[str, ...]
"""Every text that a word may come to, as far as it is known; never empty."""

MOST = 8
"""Alternatives that are told apart; beyond that a word is not known."""

_MARK = re.compile(r"⟦([^⟧]*)⟧")


def mark(name: str) -> str:
    """Stand in for what only the run will tell; safe within any quotes of a shell."""
    return f"⟦{re.sub(r'[^A-Za-z0-9_.:@/+-]+', '_', name).strip('_') or 'unknown'}⟧"


def marks(text: str) -> list[str]:
    """The names that stand in a text for what is not known."""
    return _MARK.findall(text)


def is_known(text: str) -> bool:
    """Whether all of a text is known."""
    return "⟦" not in text


def after_marks(text: str) -> str:
    """The known end of a text."""
    return text.rpartition("⟧")[2]


def shown(text: str) -> str:
    """A text for a reader."""
    return _MARK.sub(lambda found: f"${{{found[1]}}}", text)


def joined(parts: Sequence[Values], between: str = "") -> Values:
    """Every text that parts come to side by side."""
    step(sum(max(map(len, part), default=0) for part in parts))
    options = list(itertools.islice(itertools.product(*parts), MOST + 1))
    if len(options) > MOST:
        return (mark("many"),)
    return tuple(dict.fromkeys(between.join(option) for option in options))


def either(options: Iterable[Values]) -> Values:
    """One of several."""
    step()
    found = tuple(dict.fromkeys(itertools.chain.from_iterable(options)))
    return found if len(found) <= MOST else (mark("many"),)


def filled(text: str, known: Mapping[str, Values]) -> Values:
    """Put what is known in the place of marks."""
    pieces = _MARK.split(text)  # text and names in turn
    parts = [known.get(piece, (mark(piece),)) if n % 2 else (piece,) for n, piece in enumerate(pieces)]
    return joined(parts)
