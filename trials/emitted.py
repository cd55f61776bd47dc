"""Whether a text holds what the clause `diagnostics` asks for: a unit's state, its journal, and the sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable

_STATES = "active|inactive|failed|activating|deactivating|reloading"
_ADDRESS = re.compile(r"[:.]\d+(?:\s|$)")
_HEADER = re.compile(r"\s*(?:Netid\s+)?State\s+Recv-Q\s+Send-Q\b")
_STATUS_LINES = 12
"""Lines of `systemctl status` between a unit's name and its state, with room for drop-ins."""
_LONGEST = 2000
"""Characters of a line that are looked at: nobody's table has longer ones."""


def shows_state(text: str, units: Iterable[str]) -> bool:
    """Tell whether the text holds the state of one of some units, in one of the forms in which systemctl says it."""
    clipped = "\n".join(line[:_LONGEST] for line in text.splitlines()) + "\n"
    return any(_state_of(clipped, re.escape(unit), re.escape(unit.removesuffix(".service"))) for unit in units)


def _state_of(text: str, unit: str, short: str) -> bool:
    either = rf"(?<![\w@.-]){short}(?:\.service)?(?![\w@.-])"
    forms = (
        # status: the unit's name, and below it what is indented
        rf"^\W*{unit}(?: - .*)?\n(?:[ \t].*\n){{0,{_STATUS_LINES}}}?[ \t]*Active: (?:{_STATES})\b",
        # list-units
        rf"(?<![\w@.-]){unit}[ \t]+[\w-]+[ \t]+(?:{_STATES})\b",
        # is-active, with the unit's name before it
        rf"{either}[ \t:=]+(?:is[ \t]+)?(?:{_STATES})\b",
        # show, below the unit's name
        rf"(?<![\w@.-]){unit}[^\n=]*\n(?:[A-Za-z]+=.*\n){{0,400}}?ActiveState=(?:{_STATES})\b",
    )
    return any(re.search(form, text, re.MULTILINE) for form in forms) or any(
        re.search(rf"^ActiveState=(?:{_STATES})$", block, re.MULTILINE)
        and re.search(rf"^(?:Id|Names)=(?:.* )?{unit}(?: |$)", block, re.MULTILINE)
        for block in re.split(r"\n\s*\n", text)
        if "ActiveState=" in block
    )


def shows_sockets(text: str) -> bool:
    """Tell whether the text holds sockets as ss or netstat lists them; a header alone says that there are none."""
    return any(
        ("LISTEN" in line.split() and _ADDRESS.search(line)) or _HEADER.match(line)
        for line in (line[:_LONGEST] for line in text.splitlines())
    )


def shows_journal(text: str, words: Iterable[str]) -> bool:
    """Tell whether the text holds one of the words that only a unit's own log has."""
    return any(word in text for word in words)
