"""Detects unit states, journals and sockets in a path's output, for the clause `diagnostics` (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_STATES = "active|inactive|failed|activating|deactivating|reloading"
_ADDRESS = re.compile(r"[:.]\d+(?:\W|$)")
_HEADER = re.compile(r"(?<!\S)State\s+Recv-Q\s+Send-Q\b")
_STATUS_LINES = 13
"""Lines of `systemctl status` from a unit's name to its state, with room for drop-ins."""
_PROPERTIES = 400
"""Lines of `systemctl show` for one unit."""
_LONGEST = 2000
"""Characters of a line that are searched; no table has longer lines."""
_STATUS = re.compile(rf"\s*Active: (?:{_STATES})\b")
_PROPERTY = re.compile(r"(.*?)(?<![A-Za-z])[A-Za-z]+=")
_STATE = re.compile(rf"(.*?)(?<![A-Za-z])ActiveState=(?:{_STATES})\W*")


def shows_state(text: str, units: Iterable[str]) -> bool:
    """Whether the text has the state of one of the units, in a format of systemctl.

    Tools put a host, a time or a level before each line. A format of several lines counts if all of its lines have
    the same prefix, except for numbers.
    """
    lines = [line[:_LONGEST] for line in text.splitlines()]
    return any(_state_of(lines, unit) for unit in units)


def _state_of(lines: Sequence[str], unit: str) -> bool:
    name, short = re.escape(unit), re.escape(unit.removesuffix(".service"))
    of_a_line = re.compile(
        # list-units
        rf"(?<![\w@.-]){name}[ \t]+[\w-]+[ \t]+(?:{_STATES})\b"
        # list-units --output=json
        rf'|"unit"\s*:\s*"{name}"[^{{}}]*"active"\s*:\s*"(?:{_STATES})"'
        # is-active, with the unit's name before it
        rf"|(?<![\w@.-]){short}(?:\.service)?(?![\w@.-])[ \t:=]+(?:is[ \t]+)?(?:{_STATES})\b"
    )
    heading = re.compile(rf"(.*?)(?:[●○\u00d7↻*][ \t]+)?(?<![\w@.-]){name}(?: - .*|\W*)")
    word = unit.removesuffix(".service")
    looked_at = -1
    for number, line in enumerate(lines):
        if word in line and (of_a_line.search(line) or _status(lines, number, heading) or _show(lines, number, name)):
            return True
        if "ActiveState=" in line and number > looked_at:
            shown, looked_at = _properties(lines, number, name)
            if shown:
                return True
    return False


def _same(before: str) -> re.Pattern[str]:
    """Return a pattern for the prefix of each line of one tool's output, which is the same except for numbers."""
    return re.compile(re.sub(r"\d+", r"\\d+", re.escape(before.rstrip())))


def _status(lines: Sequence[str], number: int, heading: re.Pattern[str]) -> bool:
    """Look for `systemctl status`: a unit's name, and its state in the indented lines below."""
    match = heading.fullmatch(lines[number])
    if match is None:
        return False
    before = _same(match[1])
    for line in lines[number + 1 : number + 1 + _STATUS_LINES]:
        again = before.match(line)
        below = line[again.end() :] if again else ""
        if below[:1] not in {" ", "\t"}:
            return False
        if _STATUS.match(below):
            return True
    return False


def _show(lines: Sequence[str], number: int, name: str) -> bool:
    """Look for `systemctl show` below a line that ends with the unit's name."""
    heading = lines[number]
    if not re.search(rf"(?<![\w@.-]){name}[^=]*$", heading) or _PROPERTY.match(heading) or number + 1 == len(lines):
        return False
    match = _PROPERTY.match(lines[number + 1])
    if match is None or _same(match[1]).match(heading) is None:
        return False
    return any(_STATE.fullmatch(line) for line in _block(lines, number + 1, match[1]))


def _properties(lines: Sequence[str], number: int, name: str) -> tuple[bool, int]:
    """Look for `systemctl show` with the unit's name among the properties; also return the last line searched."""
    match = _STATE.fullmatch(lines[number])
    if match is None:
        return False, number
    names = re.compile(rf"(?<![A-Za-z])(?:Id|Names)=(?:.* )?{name}(?: |\W*$)")
    after = _block(lines, number, match[1])
    around = (*_block(lines, number, match[1], step=-1), *after)
    return any(names.search(line) for line in around), number + len(after) - 1


def _block(lines: Sequence[str], number: int, before: str, step: int = 1) -> list[str]:
    """Return the properties from line `number` on, as long as lines have the same prefix."""
    same = re.compile(_same(before).pattern + r"\s*[A-Za-z]+=")
    properties: list[str] = []
    while 0 <= number < len(lines) and len(properties) < _PROPERTIES and same.match(lines[number]):
        properties.append(lines[number])
        number += step
    return properties


def shows_sockets(text: str) -> bool:
    """Whether the text has a list of sockets by ss or netstat; a header alone is an empty list."""
    return any(
        ("LISTEN" in line.split() and _ADDRESS.search(line)) or _HEADER.search(line)
        for line in (line[:_LONGEST] for line in text.splitlines())
    )


def shows_journal(text: str, words: Iterable[str]) -> bool:
    """Whether the text has one of the words that only the unit's own log has."""
    return any(word in text for word in words)
