"""Interprets the status of a command invocation (pure).

Only a complete answer of the host reports how a program ended. A status only decides whether to wait longer, and
explains a missing answer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import msgspec


class Fate(enum.Enum):
    """What to do about a command."""

    WAIT = "wait"
    """It is pending or running."""
    READ = "read"
    """Its script ended; read the output."""
    NEVER_RAN = "never ran"
    """SSM did not deliver it; the host is asked nevertheless."""
    CUT_OFF = "cut off"
    """It was stopped before its script ended."""
    UNCERTAIN = "uncertain"
    """It may have run, or may still be running."""


class Reading(msgspec.Struct, frozen=True):
    """The meaning of a status, with a text for people."""

    fate: Fate
    text: str


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
    """Read `Status` and `StatusDetails` of an invocation; an unknown pair is uncertain."""
    status = str(invocation.get("Status", ""))[:_LONGEST]
    # The API model spells some with blanks, the service without.
    details = str(invocation.get("StatusDetails") or status).replace(" ", "")[:_LONGEST]
    fate, text = _READINGS.get((status, details), (Fate.UNCERTAIN, "a status that is unknown here"))
    streams = (invocation.get("StandardOutputContent"), invocation.get("StandardErrorContent"))
    if details == "Failed" and streams == ("", ""):  # of a script that failed, the agent writes the exit code
        text = "failed without a word, which the agent reports for a killed worker"
    shown = status if details == status else f"{status}/{details}"
    code = invocation.get("ResponseCode", -1)
    return Reading(fate, f"{text} (SSM: {shown}{'' if code == -1 else f', response code {code}'})")
