"""Bounds the offset of a host's clock, from questions and answers (pure)."""

from __future__ import annotations

import re

from switchproof.deploy.record.facts import Clock

_TIMES = re.compile(r"(\d{9,11}\.\d{1,9}) (\d{9,11}\.\d{1,9})", re.ASCII)
_WORTH_REPORTING = 0.5
"""An offset is reported again when its uncertainty falls below this part of the last reported one."""


class ClockBounds:
    """Bounds on the offset of one host's clock, which every answer can tighten.

    The host begins its answer after the runner asked, and ends it before the runner has it. So its clock is ahead of
    the runner's by at most its first time minus the time of asking, and by at least its last time minus the time of
    receipt.
    """

    def __init__(self) -> None:
        self._low, self._high = float("-inf"), float("inf")
        self._reported_s = float("inf")

    @property
    def clock(self) -> Clock | None:
        """The offset; None before the first answer."""
        if self._high == float("inf"):
            return None
        half = (self._high - self._low) / 2
        return Clock(offset_s=round((self._high + self._low) / 2, 6), uncertainty_s=round(half, 6))

    def see(self, times: str, asked: float, received: float) -> Clock | None:
        """Process an answer.

        Args:
            times: The host's times at the beginning and end of its answer, in seconds since 1970; anything else is
                ignored.
            asked: The runner's time before the question left.
            received: The runner's time after the answer arrived.

        Returns:
            The offset, if it is worth reporting again.
        """
        match = _TIMES.fullmatch(times.strip())
        if match is None:
            return None
        began, ended = float(match[1]), float(match[2])
        low, high = ended - received, began - asked
        if began > ended or low > high:
            return None
        if max(low, self._low) > min(high, self._high):  # one of the clocks was set
            self._low, self._high, self._reported_s = low, high, float("inf")
        self._low, self._high = max(low, self._low), min(high, self._high)
        clock = self.clock
        if clock is None or clock.uncertainty_s >= _WORTH_REPORTING * self._reported_s:
            return None
        self._reported_s = clock.uncertainty_s
        return clock

    def began(self, times: str) -> float | None:
        """Return when the host began to answer, by the runner's clock; None if unknown."""
        match, clock = _TIMES.fullmatch(times.strip()), self.clock
        return float(match[1]) - clock.offset_s if match and clock else None
