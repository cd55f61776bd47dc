"""Whether a text holds what the clause `diagnostics` asks for: a unit's state, its journal, and the sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable

_STATES = "active|inactive|failed|activating|deactivating|reloading"
_LISTENING = re.compile(r"^(?=(?:.*\s)?LISTEN\s).*[:.]\d+\s", re.MULTILINE)
_HEADER = re.compile(r"^\s*(?:Netid\s+)?State\s+Recv-Q\s+Send-Q\b", re.MULTILINE)
_STATUS_LINES = 12
"""Lines of `systemctl status` between a unit's name and its state, with room for drop-ins."""


def shows_state(text: str, units: Iterable[str]) -> bool:
    """Tell whether the text holds the state of one of some units, in one of the forms in which systemctl says it."""
    return any(_state_of(text, re.escape(unit), re.escape(unit.removesuffix(".service"))) for unit in units)


def _state_of(text: str, unit: str, short: str) -> bool:
    either = rf"(?<![\w@.-]){short}(?:\.service)?(?![\w@.-])"
    status = rf"^\W*{unit}(?: - .*)?\n(?:[ \t].*\n){{0,{_STATUS_LINES}}}?[ \t]*Active: (?:{_STATES})\b"
    listed = rf"{unit}\s+\w[\w-]*\s+(?:{_STATES})\b"
    said = rf"{either}[ \t:=]+(?:is[ \t]+)?(?:{_STATES})\b"
    if any(re.search(pattern, text, re.MULTILINE) for pattern in (status, listed, said)):
        return True
    # `systemctl show` tells properties, one a line, in an order of its own.
    blocks = re.split(r"\n\s*\n", text)
    named = rf"^(?:Id|Names)=.*{unit}"
    return any(
        re.search(rf"^ActiveState=(?:{_STATES})$", block, re.MULTILINE) and re.search(named, block, re.MULTILINE)
        for block in blocks
    ) or bool(re.search(rf"{unit}[^\n]*\n(?:[A-Za-z]+=.*\n){{0,400}}?ActiveState=(?:{_STATES})\b", text))


def shows_sockets(text: str) -> bool:
    """Tell whether the text holds sockets as ss or netstat lists them; a header alone says that there are none."""
    return bool(_LISTENING.search(text) or _HEADER.search(text))


def shows_journal(text: str, words: Iterable[str]) -> bool:
    """Tell whether the text holds one of the words that only a unit's own log has."""
    return any(word in text for word in words)
