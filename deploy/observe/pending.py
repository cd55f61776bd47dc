"""A host's return to its earlier system that waits for a confirmation (pure)."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from switchproof.deploy.host.frame import Frame


@dataclass(frozen=True)
class Pending:
    """A switch that nobody has confirmed yet, and that the host undoes by itself.

    Attributes:
        run: The run that made the switch.
        owner: Who runs it.
        armed: When the switch began.
        expected: The system that was switched to.
        to: The system that the host returns to.
        seconds: For how long the host waits for the confirmation.
        left: How many seconds of that are left; None while the switch itself goes on.
        is_guarded: Whether the unit that brings the host back is up.
    """

    run: str
    owner: str
    armed: str
    expected: str
    to: str
    seconds: int | None
    left: int | None
    is_guarded: bool

    def __str__(self) -> str:
        whose = f"run {self.run} of {self.owner}, begun at {self.armed}"
        if not self.is_guarded:
            when = "at its next boot, because the unit that would do it now (switchproof-guard.service) is not up"
        elif self.left is None:
            when = f"{self.seconds} s after its switch has ended"
        elif self.left == 0:
            when = "now"
        else:
            when = f"in {self.left} s"
        return f"the host returns to {self.to} by itself {when}, unless its switch is confirmed ({whose})"


def awaited_return(confirm_s: float, now: dt.datetime) -> str:
    """Say for what a drill of the dead man's switch waits, and until when."""
    latest = (now + dt.timedelta(seconds=confirm_s)).astimezone(dt.UTC)
    return (
        f"As the drill asks, nothing confirms the new system. Waiting for the host to go back by itself, by "
        f"{latest:%H:%M:%S}Z ({confirm_s:g} s) at the latest, and to finish its switch."
    )


def read_pending(frame: Frame) -> Pending | None:
    """Read what a host says about a return that waits; None if there is none."""
    said = dict(line.split(" ", 1) for line in frame.get("pending").split("\n") if " " in line)
    if not said:
        return None
    return Pending(
        run=said.get("run", "").strip(),
        owner=said.get("owner", "").strip(),
        armed=said.get("armed", "").strip(),
        expected=said.get("expected", "").strip(),
        to=said.get("to", "").strip(),
        seconds=_number(said.get("seconds", "")),
        left=_number(said.get("left", "")),
        is_guarded=said.get("guard", "").strip() in {"active", "activating", "reloading"},
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text.strip()) else None
