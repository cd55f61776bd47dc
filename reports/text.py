"""How times, durations, sizes and text from hosts are written, the same in every output."""

from __future__ import annotations

import datetime as dt
import re

from switchproof.deploy.redact.redactor import plain

SHOWN_CHARACTERS = 6000
"""Characters of one text that an output for people shows; `record.json` has the whole."""

_MINUTE, _HOUR = 60, 3600
_COMMANDING = re.compile(r"[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_KB = 1000


def duration(seconds: float) -> str:
    """Write a length of time, in seconds, as a person says it."""
    if seconds < 1:
        return f"{max(seconds, 0):.2f} s"
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"


def moment(at: dt.datetime) -> str:
    """Write a time in UTC, to the second."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: dt.datetime) -> str:
    """Write the time of day in UTC, to the second."""
    return at.astimezone(dt.UTC).strftime("%H:%M:%SZ")


def rfc3339(at: dt.datetime) -> str:
    """Write a time for programs, to the second."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(count: int) -> str:
    """Write a number of bytes."""
    if count < _KB:
        return f"{count} {'byte' if count == 1 else 'bytes'}"
    if count < _KB**2:
        return f"{count / _KB:.1f} kB"
    return f"{count / _KB**2:.1f} MB"


def clip(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Cut a text to its first characters and say how many are missing."""
    if len(text) <= limit:
        return text
    missing = len(text) - limit
    return f"{text[:limit]}\n[{missing:,} of {len(text):,} characters not shown; record.json has them all]"


def one_line(text: str, limit: int = 200) -> str:
    """Return the first line of a text that says anything, inert and cut to `limit` characters."""
    line = next((line.strip() for line in inert(text[: limit * 20]).splitlines() if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def brief(text: str, limit: int = 400) -> str:
    """Return all lines of a text as one, inert and shortened from the middle, where the least is said.

    Args:
        text: A text of any length.
        limit: Characters that are left at most.
    """
    half = limit * 10  # of a text that is far too long, only its ends can be left
    ends = text if len(text) <= 2 * half else f"{text[:half]}\n{text[-half:]}"
    line = " ".join(inert(ends).split())
    if len(line) <= limit:
        return line
    head = (limit - 3) // 2
    return f"{line[:head].rstrip()} … {line[-(limit - 3 - head) :].lstrip()}"


def inert(text: str) -> str:
    """Return text that neither a terminal nor the log of a CI service takes for a command.

    Journaled text is plain already; a record that was read from a file need not be.
    """
    return plain(text).replace("##[", "## [")  # GitHub's runner obeys `##[…]` anywhere in a line


def escaped(json: str) -> str:
    """Return JSON in which what commands a terminal or reorders what is read is escaped as JSON escapes it."""
    return _COMMANDING.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def slug(text: str) -> str:
    """Return text as a piece of an id or a file name: lower-case ASCII letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-") or "x"


def count(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
