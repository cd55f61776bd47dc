"""How far a host's clock is from ours: what questions and answers bound it to (pure)."""

from __future__ import annotations

import re

from switchproof.deploy.record.facts import Clock

_TIMES = re.compile(r"(\d{9,11}\.\d{1,9}) (\d{9,11}\.\d{1,9})", re.ASCII)
_WORTH_TELLING = 0.5
"""A clock is told anew when its uncertainty is less than this part of what was told before."""


class ClockBounds:
    """What is known of one host's clock, closer with every answer.

    The host begins its answer after we asked, and ends it before we have it; so its clock is ahead of ours by no more
    than its first time minus ours, and by no less than its last time minus ours.
    """

    def __init__(self) -> None:
        self._low, self._high = float("-inf"), float("inf")
        self._told_s = float("inf")

    @property
    def clock(self) -> Clock | None:
        """What is known; None before the first answer."""
        if self._high == float("inf"):
            return None
        half = (self._high - self._low) / 2
        return Clock(offset_s=round((self._high + self._low) / 2, 6), uncertainty_s=round(half, 6))

    def see(self, said: str, asked: float, received: float) -> Clock | None:
        """Take in an answer.

        Args:
            said: The host's times when it began and ended to answer, in seconds since 1970; what is no such counts
                for nothing.
            asked: Our time before the question left.
            received: Our time after the answer had come.

        Returns:
            What is known now, if it is worth telling anew.
        """
        found = _TIMES.fullmatch(said.strip())
        if found is None:
            return None
        began, ended = float(found[1]), float(found[2])
        low, high = ended - received, began - asked
        if began > ended or low > high:
            return None
        if max(low, self._low) > min(high, self._high):  # one of the clocks was set
            self._low, self._high, self._told_s = low, high, float("inf")
        self._low, self._high = max(low, self._low), min(high, self._high)
        clock = self.clock
        if clock is None or clock.uncertainty_s >= _WORTH_TELLING * self._told_s:
            return None
        self._told_s = clock.uncertainty_s
        return clock

    def began(self, said: str) -> float | None:
        """Return when the host began to answer, by our clock; None where that is not known."""
        found, clock = _TIMES.fullmatch(said.strip()), self.clock
        return float(found[1]) - clock.offset_s if found and clock else None
