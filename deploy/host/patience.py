"""Retries of a lost host: growing pauses, and one budget that an answer refills (pure)."""

from __future__ import annotations

import time
from collections.abc import Callable

RECONNECT_S = 120.0
"""Seconds for which one question retries a lost host; a small machine reboots in less."""

WITHOUT_ANSWER_S = 300.0
"""Seconds of retries without an answer after which each further question tries once."""

MOST_LOST = 6
"""Consecutive connections that were lost before an answer, after which each further question tries once."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0


class Patience:
    """The retry budget of one host; an answer refills it.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._question_began = self._counted_to = clock()
        self._spent_s = 0.0
        self._lost = 0
        self._pause_s = FIRST_PAUSE_S
        self._retries = True

    def begin(self, *, retries: bool = True) -> None:
        """Begin a question, which is tried only once without retries; time between questions does not count."""
        self._question_began = self._counted_to = self._clock()
        self._retries = retries

    def answered(self) -> None:
        """Refill the budget after an answer."""
        self._spent_s, self._lost, self._pause_s = 0.0, 0, FIRST_PAUSE_S
        self._counted_to = self._clock()

    def note_lost(self) -> None:
        """Count a connection that was lost before an answer."""
        self._lost += 1

    @property
    def is_used_up(self) -> bool:
        """Whether the budget is used up, so that each further question tries once."""
        return self._spent_s > WITHOUT_ANSWER_S or self._lost >= MOST_LOST

    def next_pause_s(self) -> float | None:
        """Return the seconds to wait before the next attempt, longer each time; None if the budget is used up."""
        now = self._clock()
        self._spent_s += now - self._counted_to
        self._counted_to = now
        if not self._retries or now - self._question_began > RECONNECT_S or self.is_used_up:
            return None
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause_s
