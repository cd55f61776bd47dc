"""Reads when hosts switched, and when they answered again after they were rolled back."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.record.events import AnyEvent, Watched

ANSWERS_AIM_S = 10.0
"""Seconds from a switch's end within which the earlier system runs and answers again."""

_LINE = re.compile(
    r"^(?P<at>[0-9.]+) \S+ nixos(\[\d+\])?: "
    r"(?P<ended>finished )?switching to system configuration \S+(?P<failed> failed)?"
)


@dataclass(frozen=True)
class Switch:
    """A switch to a system, with its times in seconds since 1970."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


def switches(host: LabHost, since: float) -> list[Switch]:
    """Return the switches of a host since a time, in order, by its own journal.

    That is what the host's `switch-to-configuration` says, without anything that a tool does before or after it.
    """
    command = ["journalctl", "--quiet", "--no-pager", "-o", "short-unix", "-t", "nixos", f"--since=@{since:.6f}"]
    return read_switches(host.run(command, timeout_s=20).stdout)


def read_switches(journal: str) -> list[Switch]:
    """Return the switches that have begun and ended by the lines of a journal."""
    found, began = [], None
    for line in filter(None, map(_LINE.match, journal.splitlines())):
        if not line["ended"] and not line["failed"]:
            began = float(line["at"])
        elif began is not None:
            found.append(Switch(began, float(line["at"])))
            began = None
    return found


def answers_again(events: Sequence[AnyEvent], host: str) -> float | None:
    """Return when all endpoints of a host had answered rightly after it was rolled back; None if one never did."""
    watches = [event.watch for event in events if isinstance(event, Watched) and event.host == host]
    first = [
        watch.began.timestamp()
        + min((answer.at_s + answer.seconds for answer in watch.samples if answer.good), default=math.inf)
        for watch in watches
        if watch.leg == "back"
    ]
    return max(first) if first and max(first) < math.inf else None


def back_s(events: Sequence[AnyEvent], host: LabHost, since: float) -> float:
    """Return the seconds from the end of a host's first switch since a time to its earlier system's answers.

    Raises:
        RuntimeError: The host did not switch, or was not seen to answer afterwards.
    """
    switched, at = switches(host, since), answers_again(events, host.name)
    if not switched or at is None:
        raise RuntimeError(f"{host.name}: no way back was seen ({len(switched)} switches, last answer {at})")
    return at - switched[0].ended


def answers_aim(what: str, seconds: float) -> str:
    """Return a line on whether an earlier system answered soon enough."""
    return (
        f"{what}: the earlier system answers within {ANSWERS_AIM_S:g} s of the switch's end: "
        f"{'yes' if seconds <= ANSWERS_AIM_S else 'no'} ({seconds:.1f} s)"
    )
