"""A host's pending return to its earlier system, which a confirmation would cancel (pure)."""

from __future__ import annotations

import datetime as dt
import re

import msgspec

from switchproof.deploy.host.frame import Frame


class Pending(msgspec.Struct, frozen=True):
    """An unconfirmed switch, which the host undoes by itself.

    Attributes:
        run: The run that made the switch.
        owner: The owner of that run.
        armed: When the switch began.
        expected: The new system.
        to: The earlier system.
        seconds: Seconds that the host waits for the confirmation.
        left: Seconds of that wait that are left; None while the switch itself runs.
        is_guarded: Whether the unit that performs the return is active.
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
        run = f"run {self.run} of {self.owner}, begun at {self.armed}"
        if not self.is_guarded:
            when = "at its next boot, because the unit that would do it now (switchproof-guard.service) is not up"
        elif self.left is None:
            when = f"{self.seconds} s after its switch has ended"
        elif self.left == 0:
            when = "now"
        else:
            when = f"in {self.left} s"
        return f"the host returns to {self.to} by itself {when}, unless its switch is confirmed ({run})"


def awaited_return(confirm_s: float, now: dt.datetime) -> str:
    """Return the message about a drill's wait for the automatic return.

    Args:
        confirm_s: Seconds until the host returns.
        now: The time.
    """
    latest = (now + dt.timedelta(seconds=confirm_s)).astimezone(dt.UTC)
    return (
        f"As the drill asks, nothing confirms the new system. Waiting for the host to go back by itself, by "
        f"{latest:%H:%M:%S}Z ({confirm_s:g} s) at the latest, and to finish its switch."
    )


def read_pending(frame: Frame) -> Pending | None:
    """Read a host's report on a pending return; None without one."""
    values = dict(line.split(" ", 1) for line in frame.get("pending").split("\n") if " " in line)
    if not values:
        return None
    return Pending(
        run=values.get("run", "").strip(),
        owner=values.get("owner", "").strip(),
        armed=values.get("armed", "").strip(),
        expected=values.get("expected", "").strip(),
        to=values.get("to", "").strip(),
        seconds=_number(values.get("seconds", "")),
        left=_number(values.get("left", "")),
        is_guarded=values.get("guard", "").strip() in {"active", "activating", "reloading"},
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text.strip()) else None
