"""Formats times, durations, sizes and text from hosts in the same way for every output."""

from __future__ import annotations

import datetime as dt
import re

from switchproof.deploy.redact.redactor import plain

SHOWN_CHARACTERS = 6000
"""Characters of one text in an output for people; `record.json` has all of it."""

_MINUTE, _HOUR = 60, 3600
_COMMANDING = re.compile(r"[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_KB = 1000


def duration(seconds: float) -> str:
    """Format a duration, given in seconds, for people."""
    if seconds < 1:
        return f"{max(seconds, 0):.2f} s"
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"


def moment(at: dt.datetime) -> str:
    """Format a time in UTC, to the second."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: dt.datetime) -> str:
    """Format the time of day in UTC, to the second."""
    return at.astimezone(dt.UTC).strftime("%H:%M:%SZ")


def rfc3339(at: dt.datetime) -> str:
    """Format a time for programs, to the second."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(count: int) -> str:
    """Format a number of bytes."""
    if count < _KB:
        return f"{count} {'byte' if count == 1 else 'bytes'}"
    if count < _KB**2:
        return f"{count / _KB:.1f} kB"
    return f"{count / _KB**2:.1f} MB"


def clip(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Cut a text to its first `limit` characters and add how many are missing."""
    if len(text) <= limit:
        return text
    missing = len(text) - limit
    return f"{text[:limit]}\n[{missing:,} of {len(text):,} characters not shown; record.json has them all]"


def one_line(text: str, limit: int = 200) -> str:
    """Return the first line of a text that is not blank, inert and cut to `limit` characters."""
    line = next((line.strip() for line in inert(text[: limit * 20]).splitlines() if line.strip()), "")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def brief(text: str, limit: int = 400) -> str:
    """Return all lines of a text as one line, inert and shortened in the middle, which says least.

    Args:
        text: A text of any length.
        limit: The most characters to return.
    """
    half = limit * 10  # of a text that is far too long, only the ends can remain
    ends = text if len(text) <= 2 * half else f"{text[:half]}\n{text[-half:]}"
    line = " ".join(inert(ends).split())
    if len(line) <= limit:
        return line
    head = (limit - 3) // 2
    return f"{line[:head].rstrip()} … {line[-(limit - 3 - head) :].lstrip()}"


def inert(text: str) -> str:
    """Return text without anything that a terminal or the log of a CI service takes for a command.

    Journaled text is plain already; a record read from a file may not be.
    """
    return plain(text).replace("##[", "## [")  # GitHub's runner obeys `##[…]` anywhere in a line


def escaped(json: str) -> str:
    """Return JSON with escapes in place of characters that command a terminal or reorder text."""
    return _COMMANDING.sub(lambda match: f"\\u{ord(match[0]):04x}", json)


def slug(text: str) -> str:
    """Return text as part of an id or a file name: lower-case ASCII letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-") or "x"


def count(number: int, noun: str) -> str:
    """Format a number with its noun, such as `2 hosts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
