"""Chooses the lines of evidence files that a page quotes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path, PurePosixPath

import msgspec

from switchproof.deploy.record.record import Evidence
from switchproof.reports import text
from switchproof.reports.causes import JOURNAL

LINES = 20
"""Lines quoted from one file."""

LINE_CHARACTERS = 240
"""Characters quoted from one line."""

PAGE_CHARACTERS = 120_000
"""Characters of all files together. This keeps the report of ten hosts with full diagnostics below 1 MB."""

FILE_CHARACTERS = 2400
"""Characters of one file, if there are few files."""

LEAST_CHARACTERS = 300
"""Characters of one file below which a quote says too little: of so many files, the journals are quoted first."""

READ_BYTES = 64 * 1024**2
"""Bytes above which a file is not read."""

_LOOKED_AT = 1000
"""Lines examined at the more useful end of a file, if there are few files; with many files, fewer."""

_ALIKE = 4
"""Number of lines in a row, equal except for numbers, from which only the first and last are shown."""

_NUMBERS = re.compile(r"[0-9a-f]{8,}|\d+")
_HEAD_TELLS = re.compile(r"/(?:status|show)/|/(?:sockets|disk|memory)\b|\.(?:facts|network)\.")
"""Files whose first lines matter most; in a log, the last ones do."""


class Excerpt(msgspec.Struct, frozen=True):
    """Lines of a file, or the reason why there are none.

    Attributes:
        lines: The quoted lines, as text.
        shown: Number of lines of the file that they stand for.
        total: Number of lines of the file.
        folded: Whether a quoted line stands for several similar ones.
        problem: The reason why nothing is shown; empty if something is.
    """

    lines: str = ""
    shown: int = 0
    total: int = 0
    folded: bool = False
    problem: str = ""

    @property
    def whole(self) -> bool:
        """Whether no line of the file is missing."""
        return not self.problem and self.shown == self.total


def take(folder: Path, kept: Mapping[str, Evidence], paths: Iterable[str]) -> dict[str, Excerpt]:
    """Return excerpts of a run's files, together no longer than `PAGE_CHARACTERS`.

    A file whose digest differs from the record's is not shown, because it was changed.

    Args:
        folder: The run's folder.
        kept: The evidence of the record, by path.
        paths: The files to quote. Files that were not kept are left out, and those for which there is no room.
    """
    wanted = [path for path in dict.fromkeys(paths) if path in kept]
    fit = PAGE_CHARACTERS // LEAST_CHARACTERS
    if len(wanted) > fit:
        wanted = sorted(wanted, key=lambda path: JOURNAL not in path)[:fit]
    limit = min(FILE_CHARACTERS, PAGE_CHARACTERS // max(len(wanted), 1))
    return {path: _read(folder, kept[path], limit) for path in wanted}


def _read(folder: Path, evidence: Evidence, limit: int) -> Excerpt:
    path = PurePosixPath(evidence.path)
    if path.is_absolute() or ".." in path.parts:
        return Excerpt(problem="its path leads out of the run's folder")
    place = folder / path
    try:
        if not place.resolve(strict=True).is_relative_to(folder.resolve()) or not place.is_file():
            return Excerpt(problem="it is not a file of the run's folder")
        if place.stat().st_size > READ_BYTES:
            return Excerpt(problem=f"it has more than {text.size(READ_BYTES)}")
        body = place.read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or "its path is not valid"
        return Excerpt(problem=f"it could not be read: {reason}")
    if hashlib.sha256(body).hexdigest() != evidence.sha256:
        return Excerpt(problem="it was changed after the run: its SHA-256 differs from the record's")
    return excerpt(body.decode("utf-8", "replace"), head=bool(_HEAD_TELLS.search(f"/{path}")), limit=limit)


def excerpt(content: str, *, head: bool, limit: int = FILE_CHARACTERS) -> Excerpt:
    """Return the first or the last lines of a text, with similar lines folded.

    Args:
        content: The text.
        head: Whether to quote its first lines, else its last ones.
        limit: The most characters to quote.
    """
    every = content.rstrip().split("\n")
    span = max(LINES, _LOOKED_AT * limit // FILE_CHARACTERS)
    looked_at = every[:span] if head else every[-span:]
    lines = text.inert("\n".join(map(_cut, looked_at))).splitlines()
    total = len(every) - len(looked_at) + len(lines)
    folded = list(_fold(lines))
    chosen: list[tuple[str, int]] = []
    room = limit
    for line, stands_for in folded if head else reversed(folded):
        room -= len(line) + 1
        if len(chosen) == LINES or (room < 0 and chosen):
            break
        chosen.append((line, stands_for))
    if not head:
        chosen.reverse()
    shown = sum(times for _, times in chosen)
    return Excerpt("\n".join(line for line, _ in chosen), shown, total, folded=shown > len(chosen))


def _fold(lines: list[str]) -> Iterable[tuple[str, int]]:
    """Yield lines and how many each stands for; of a long row that differs in numbers only, just the ends."""
    for _, group in groupby(lines, key=lambda line: _NUMBERS.sub("#", line[:LINE_CHARACTERS])):
        row = list(group)
        if len(row) < _ALIKE:
            yield from ((line, 1) for line in row)
        else:
            yield row[0], 1
            yield f"[{len(row) - 2} lines that differ only in numbers]", len(row) - 2
            yield row[-1], 1


def _cut(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return f"{line[:LINE_CHARACTERS]}… [{len(line):,} characters]"
