"""The text format that all parts of an observation share: lines, pairs and numbers (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from switchproof.deploy.host.frame import Frame, FrameError


@contextmanager
def refuse_malformed() -> Iterator[None]:
    """Turn a parse error within the block into a `FrameError`.

    Raises:
        FrameError: The block raised `ValueError` or `IndexError`.
    """
    try:
        yield
    except (ValueError, IndexError) as error:
        raise FrameError(f"the host's observation cannot be understood: {error}") from error


def lines_of(text: str) -> list[str]:
    """Split at line feeds only: an endpoint's answer may contain other line breaks of Unicode."""
    return [line for line in text.split("\n") if line]


def pair(line: str) -> tuple[str, str]:
    """Split a line into its first word and the rest.

    Raises:
        ValueError: The line has no space.
    """
    name, value = line.split(" ", 1)
    return name, value


def pairs(text: str) -> dict[str, str]:
    """Read one pair per line; see `pair`."""
    return dict(pair(line) for line in lines_of(text))


def sections_named(frame: Frame, prefix: str) -> dict[str, str]:
    """Return the sections whose name begins with `prefix`, by the rest of the name."""
    return {name.removeprefix(prefix): frame.text(name) for name in frame.sections if name.startswith(prefix)}


def number_of(text: str | None) -> int:
    """Read a decimal number; anything else is 0."""
    return int(text) if text and text.isdecimal() else 0
