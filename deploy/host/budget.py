"""Limits what one host may cost a run in all: the bytes it sends, and the time the run waits for it (pure)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host import limits
from switchproof.deploy.target.types import Target

LEGS = 5
"""Legs that one run may take with a host; a drill and its rollback are counted generously."""
ANSWER_S = 60.0
"""Seconds for a verb that does not wait."""
FETCH_S = 900.0
"""Seconds for a host to fetch the repository; the host itself stops after 600."""


class OverBudget(Inconclusive):
    """A host has used up its budget; the run no longer asks it."""


def longest_s(target: Target) -> float:
    """Return the seconds that a run waits for one host's answers in all; each question has a deadline of its own.

    Args:
        target: The target file, with the limits of a switch, the watch and the wait for a confirmation.
    """
    return LEGS * (target.converge.timeout_s + target.health.longest_s + target.confirm_s + FETCH_S)


class Budget:
    """The budget of one host. Time counts only while a question waits for its answer. Not thread-safe.

    Args:
        host: The host's name.
        seconds: Seconds of waiting in all.
        clock: Returns the time in seconds.
    """

    def __init__(self, host: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._host, self._seconds, self._clock = host, seconds, clock
        self._waited_s = 0.0
        self._bytes = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of a question during the block.

        Raises:
            OverBudget: Nothing is left, so the host is not asked.
        """
        self._refuse()
        began = self._clock()
        try:
            yield
        finally:
            self._waited_s += self._clock() - began

    def take(self, count: int) -> None:
        """Count the bytes of an answer.

        Raises:
            OverBudget: They exceed the budget, so nothing is concluded from them.
        """
        self._bytes += count
        self._refuse()

    def _refuse(self) -> None:
        what = ""
        if self._bytes > limits.RECEIVED:
            what = f"it sent {self._bytes} bytes, more than the {limits.RECEIVED} accepted from one host"
        elif self._waited_s > self._seconds:
            what = f"the run waited {self._waited_s:.0f} s for its answers, more than {self._seconds:.0f} s"
        if what:
            raise OverBudget(
                f"{self._host}: {what}, so the run no longer asks it",
                "Read the end of its log in the evidence: find out why the host prints so much or is so slow.",
            )
