"""Limits of one survey, because a repository can be made so that reading it never ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

STEPS = 400_000
"""Texts joined and recipes followed in one survey; a large repository needs about a hundredth of it."""
LIMIT_S = 60.0
"""Seconds for one survey."""
LONGEST = 500_000
"""Characters of a joined text."""


class OutOfPatience(Exception):
    """The survey has reached its limits."""


class _Patience(msgspec.Struct):
    steps: int
    until: float


_CURRENT: ContextVar[_Patience | None] = ContextVar("patience", default=None)


@contextmanager
def patience() -> Iterator[None]:
    """Limit the survey within the block."""
    token = _CURRENT.set(_Patience(STEPS, time.monotonic() + LIMIT_S))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def step(size: int = 0) -> None:
    """Count one step.

    Args:
        size: Characters of the text that it makes.

    Raises:
        OutOfPatience: The text is too long, or the survey has no steps or time left.
    """
    current = _CURRENT.get()
    if current is None:
        return
    current.steps -= 1
    if size > LONGEST:
        raise OutOfPatience(f"it expands to more than {LONGEST} characters")
    if current.steps < 0:
        raise OutOfPatience(f"the survey stops after {STEPS} steps")
    if current.steps % 64 == 0 and time.monotonic() > current.until:
        raise OutOfPatience(f"the survey stops after {LIMIT_S:g} s")
