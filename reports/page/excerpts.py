"""The telling lines of evidence files, for a page that is read without the files beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from switchproof.deploy.record.record import Evidence
from switchproof.reports import text

LINES = 20
"""Lines of one file that are shown."""

LINE_CHARACTERS = 240
"""Characters of one line that are shown."""

PAGE_CHARACTERS = 120_000
"""Characters of all files together: what keeps the report of ten hosts with full diagnostics below 1 MB."""

FILE_CHARACTERS = 2400
"""Characters of one file, where there are few of them."""

READ_BYTES = 64 * 1024**2
"""A file that is larger is not read."""

_LOOKED_AT = 1000
"""Lines at the telling end of a file that are looked at, where there are few files; of many as many fewer."""

_ALIKE = 4
"""Lines in a row, alike but for their numbers, from which only the first and the last are shown."""

_NUMBERS = re.compile(r"[0-9a-f]{8,}|\d+")
_HEAD_TELLS = re.compile(r"/(?:status|show)/|/(?:sockets|disk|memory)\b|\.(?:facts|network)\.")
"""Files that say what matters at their beginning; a log says it at its end."""


@dataclass(frozen=True)
class Excerpt:
    """Lines of a file, or why there are none.

    Attributes:
        lines: What is shown of it, as text.
        shown: How many of its lines that stands for.
        total: How many lines it has.
        folded: Whether some of them stand for others that are alike.
        problem: Why nothing is shown; empty if something is.
    """

    lines: str = ""
    shown: int = 0
    total: int = 0
    folded: bool = False
    problem: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing of the file is missing."""
        return not self.problem and self.shown == self.total


def take(folder: Path, kept: Mapping[str, Evidence], paths: Iterable[str]) -> dict[str, Excerpt]:
    """Take excerpts of files of a run, all of them together no longer than a page bears.

    A file whose digest is another than the record's is not shown: it is not what was kept.

    Args:
        folder: The run's folder.
        kept: The evidence of the record, by path.
        paths: The files to show. One that was not kept is left out.
    """
    wanted = [path for path in dict.fromkeys(paths) if path in kept]
    limit = min(FILE_CHARACTERS, PAGE_CHARACTERS // max(len(wanted), 1))
    return {path: _read(folder, kept[path], limit) for path in wanted}


def _read(folder: Path, evidence: Evidence, limit: int) -> Excerpt:
    path = PurePosixPath(evidence.path)
    if path.is_absolute() or ".." in path.parts:
        return Excerpt(problem="its path leads out of the run's folder")
    place = folder / path
    try:
        if not place.resolve(strict=True).is_relative_to(folder.resolve()) or not place.is_file():
            return Excerpt(problem="it is no file of the run's folder")
        if place.stat().st_size > READ_BYTES:
            return Excerpt(problem=f"it has more than {text.size(READ_BYTES)}")
        body = place.read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or "its path is none"
        return Excerpt(problem=f"it could not be read: {reason}")
    if hashlib.sha256(body).hexdigest() != evidence.sha256:
        return Excerpt(problem="it is not the file that was kept: its SHA-256 is another now")
    return excerpt(body.decode("utf-8", "replace"), head=bool(_HEAD_TELLS.search(f"/{path}")), limit=limit)


def excerpt(content: str, *, head: bool, limit: int = FILE_CHARACTERS) -> Excerpt:
    """Show the first or the last lines of a text, rows of like ones as one.

    Args:
        content: The text.
        head: Whether its first lines tell most, else its last ones.
        limit: Characters that may be shown.
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
    """Give lines, and for how many each stands: of a long row alike but for numbers only the ends."""
    for _, group in groupby(lines, key=lambda line: _NUMBERS.sub("#", line[:LINE_CHARACTERS])):
        row = list(group)
        if len(row) < _ALIKE:
            yield from ((line, 1) for line in row)
        else:
            yield row[0], 1
            yield f"[{len(row) - 2} lines alike but for their numbers]", len(row) - 2
            yield row[-1], 1


def _cut(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    return f"{line[:LINE_CHARACTERS]}… [{len(line):,} characters]"
