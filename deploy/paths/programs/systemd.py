"""Systemd: calls that change units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchproof.deploy.paths.meaning import CHANGES_UNITS

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


_LATER = frozenset({"disable", "enable", "mask"})
"""Verbs that change units at the next boot, and at once with `--now`."""


def systemctl(walker: Walker, call: Call) -> None:
    """Note systemctl if it changes units of the system."""
    if "--user" in call.plain:
        return
    changing = CHANGES_UNITS | (_LATER if "--now" in call.plain else frozenset())
    if verb := next((word for word in call.plain if word in changing), None):
        walker.note_change(call, f"systemctl {verb}", "ssh" if call.option("-H", "--host") else None)


def service(walker: Walker, call: Call) -> None:
    """Note the older command `service` if it changes a unit."""
    if CHANGES_UNITS & set(call.plain[1:]):
        walker.note_change(call, "service")
