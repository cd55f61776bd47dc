"""What the status of a command invocation means. Pure.

Nothing but a whole answer of the host's own says how a program ended: a status only says whether to go on waiting,
and why there may be none.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Fate(enum.Enum):
    """What is to be done about a command."""

    WAIT = "wait"
    """It is on its way, or at work."""
    READ = "read"
    """Its script ended; the output tells."""
    NEVER_RAN = "never ran"
    """SSM did not give it to the host; all the same it is looked for there."""
    CUT_OFF = "cut off"
    """It was ended before its script did."""
    UNCERTAIN = "uncertain"
    """It may have run, or still run."""


@dataclass(frozen=True)
class Reading:
    """What a status means, in words for a person."""

    fate: Fate
    words: str


_READINGS: dict[tuple[str, str], tuple[Fate, str]] = {
    ("Pending", "Pending"): (Fate.WAIT, "not sent to the instance yet"),
    ("InProgress", "InProgress"): (Fate.WAIT, "received by the agent"),
    ("Delayed", "Delayed"): (Fate.WAIT, "the instance does not accept it at the moment; SSM retries"),
    ("Cancelling", "Cancelling"): (Fate.WAIT, "being cancelled"),
    ("Success", "Success"): (Fate.READ, "ended"),
    ("Failed", "Failed"): (Fate.READ, "the carrying script itself failed"),
    ("Failed", "Undeliverable"): (
        Fate.UNCERTAIN,
        "SSM reports that it could not be delivered; SSM has reported this for commands that ran",
    ),
    ("Failed", "Terminated"): (Fate.NEVER_RAN, "SSM ended it, because too many other commands failed"),
    ("Failed", "InvalidPlatform"): (Fate.NEVER_RAN, "the document does not fit the instance's platform"),
    ("Failed", "AccessDenied"): (Fate.NEVER_RAN, "these credentials do not allow access to that instance"),
    ("TimedOut", "DeliveryTimedOut"): (Fate.NEVER_RAN, "the instance did not accept it in time, so it never started"),
    ("TimedOut", "ExecutionTimedOut"): (Fate.CUT_OFF, "the agent killed it at its timeout"),
    ("Cancelled", "Cancelled"): (Fate.CUT_OFF, "it was cancelled; that does not prove that it ended"),
}

_LONGEST = 40
"""Characters of a status that are shown."""


def read(invocation: Mapping[str, Any]) -> Reading:
    """Read `Status` and `StatusDetails` of an invocation; an unknown pair is uncertain, never passed or failed."""
    status = str(invocation.get("Status", ""))[:_LONGEST]
    # The model spells some with blanks, the service without.
    details = str(invocation.get("StatusDetails") or status).replace(" ", "")[:_LONGEST]
    fate, words = _READINGS.get((status, details), (Fate.UNCERTAIN, "a status that is unknown here"))
    if details == "Failed" and invocation.get("ResponseCode") == 0:  # no script's end gives that
        words = "failed with exit code 0, which the agent reports for a killed worker"
    shown = status if details == status else f"{status}/{details}"
    code = invocation.get("ResponseCode", -1)
    return Reading(fate, f"{words} (SSM: {shown}{'' if code == -1 else f', response code {code}'})")
