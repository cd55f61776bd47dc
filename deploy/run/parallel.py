"""Takes a step on several hosts at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from switchproof.deploy.run.journey import Journey

Problems: TypeAlias = dict[str, Exception]
"""Why a step did not succeed, by host."""

RENEW_S = 20.0
"""Seconds between two renewals of a host that waits for others."""


def in_parallel(
    journeys: Sequence[Journey], step: Callable[[Journey], object], at_once: int | None = None
) -> Problems:
    """Take one step on several hosts at the same time.

    Args:
        journeys: The hosts.
        step: The step.
        at_once: How many at the same time; None for all.

    Returns:
        The problems, by host.
    """
    problems: Problems = {}
    waiting = iter(journeys)
    next_one = threading.Lock()

    def take() -> None:
        while True:
            with next_one:
                journey = next(waiting, None)
            if journey is None:
                return
            try:
                step(journey)
            except Exception as error:  # noqa: BLE001 - it is raised where the host's result is asked for
                problems[journey.host.name] = error

    count = len(journeys) if at_once is None else min(at_once, len(journeys))
    threads = [threading.Thread(target=take, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


@contextmanager
def renewing(journeys: Sequence[Journey]) -> Iterator[None]:
    """Renew the hosts' locks during the block."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEW_S):
            in_parallel(journeys, Journey.renew)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Errand:
    """A step that is taken in a thread of its own, while everything else goes on.

    Args:
        step: The step.
    """

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._take, daemon=True)

    def begin(self) -> None:
        """Begin the step."""
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the step has begun and ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def end(self) -> None:
        """Wait for the end of the step; raise what it raised."""
        self._thread.join()
        if self._problem is not None:
            raise self._problem

    def _take(self) -> None:
        try:
            self._step()
        except Exception as error:  # noqa: BLE001 - it is raised where the step's result is asked for
            self._problem = error
