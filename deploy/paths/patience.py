"""An end to reading: a repository can be made so that nobody would ever have read it through."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

STEPS = 400_000
"""Texts put together and recipes followed in one survey; one of a large repository takes a hundredth of it."""
LIMIT_S = 60.0
"""Seconds for one survey."""
LONGEST = 500_000
"""Characters of a text that is put together."""


class OutOfPatience(Exception):
    """The survey has taken as much as it may."""


@dataclass
class _Patience:
    steps: int
    until: float


_CURRENT: ContextVar[_Patience | None] = ContextVar("patience", default=None)


@contextmanager
def patience() -> Iterator[None]:
    """Allow one survey its steps and its time."""
    token = _CURRENT.set(_Patience(STEPS, time.monotonic() + LIMIT_S))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def step(size: int = 0) -> None:
    """Count one step, which makes a text of so many characters.

    Raises:
        OutOfPatience: It is one too many, or takes too long.
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
