"""Prepares each check for the page: its anchor, its attempts and its evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record.record import Check, Evidence, Record
from switchproof.reports import text
from switchproof.reports.causes import JOURNAL, LAST_WORDS
from switchproof.reports.legs import Leg, legs_of
from switchproof.reports.page import attempts, excerpts

_TELLING = frozenset({Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.WAIVED})
"""The verdicts of checks whose evidence is quoted, not only listed."""

_MANY = 200
"""Number of checks above which a page explains the checks of one id only once, to stay small."""


class File(msgspec.Struct, frozen=True):
    """An evidence file beside a check.

    Attributes:
        path: Its path in the check.
        evidence: Its entry in the record; None if it was not kept.
        excerpt: Its quoted lines, if they are shown here.
        above: The anchor of the check that shows them, if that is another.
        first: Whether to read it first.
    """

    path: str
    evidence: Evidence | None
    excerpt: excerpts.Excerpt | None = None
    above: str = ""
    first: bool = False


class Proof(msgspec.Struct, frozen=True):
    """A check of one clause, on one leg of one host.

    Attributes:
        check: The check.
        anchor: Its HTML id.
        lead: The first line of its message.
        rest: The other lines of its message.
        attempts: The answers of its endpoint over time, if they explain the verdict.
        used: The used part of its time limit, from 0 to 1; None without a limit.
        files: Its evidence.
        explained: Whether the first check of its id already shows why it matters and its command.
    """

    check: Check
    anchor: str
    lead: str
    rest: str
    attempts: Sequence[attempts.Attempt]
    used: float | None
    files: Sequence[File]
    explained: bool = False

    @property
    def is_telling(self) -> bool:
        """Whether the page shows it open."""
        return self.check.verdict in _TELLING

    @property
    def unquoted(self) -> list[File]:
        """The files that were kept and of which nothing is shown."""
        return [file for file in self.files if file.evidence is not None and file.excerpt is None]

    @property
    def same_as(self) -> str:
        """The anchor of the check that shows all of its evidence; empty if there is none."""
        places = {file.above for file in self.files}
        return places.pop() if len(self.files) > 1 and len(places) == 1 else ""


Part: TypeAlias = Clause | Literal["audit"]

Proofs = Mapping[tuple[str, Part], Sequence[Proof]]
"""The proofs of each clause and of a team's own audit, by the leg's anchor and the clause."""


def proofs(record: Record, folder: Path | None) -> Proofs:
    """Return the proofs of all checks.

    A page quotes each evidence file once, with the first check that names it.

    Args:
        record: The run.
        folder: The run's folder, from which evidence files are quoted; None to quote none.
    """
    many = explained_once(record)
    shelf = _Shelf(record, folder)
    explained: set[tuple[str, str, str]] = set()
    times: Counter[str] = Counter()
    by_clause: dict[tuple[str, Part], list[Proof]] = {}
    for leg, clause, check in _checks(record):
        row = by_clause.setdefault((leg.anchor, clause), [])
        anchor = f"{leg.anchor}_{clause}_{text.slug(check.id)}"
        times[anchor] += 1
        anchor += f"_{times[anchor]}" if times[anchor] > 1 else ""
        proof = _proof(leg, check, anchor, shelf.files(check, anchor))
        explanation = (check.id, check.why, check.command)
        if many and explanation in explained and not proof.is_telling:
            proof = replace(proof, explained=True)
        explained.add(explanation)
        row.append(proof)
    return by_clause


def explained_once(record: Record) -> bool:
    """Whether a record has so many checks that the page explains the checks of one id only once."""
    return sum(1 for _ in _checks(record)) > _MANY


def _checks(record: Record) -> Iterator[tuple[Leg, Part, Check]]:
    for leg in legs_of(record):
        for part in leg.parts:
            for check in part.checks:
                yield leg, part.id, check


def _proof(leg: Leg, check: Check, anchor: str, files: list[File]) -> Proof:
    lead, _, rest = check.message.partition("\n")
    if any(JOURNAL in file.path and (file.excerpt or file.above) for file in files):
        rest = rest.partition(LAST_WORDS)[0]
    lines = [line for line in rest.splitlines() if line.strip() != f"try: {check.remedy}"]
    watch = leg.host.watch(leg.name, check.endpoint) if check.endpoint else None
    bears = check.verdict in _TELLING or check.took_s is not None
    limit = check.limit_s
    return Proof(
        check=check,
        anchor=anchor,
        lead=lead,
        rest="\n".join(lines),
        attempts=attempts.rows_of(watch) if watch is not None and bears else (),
        used=min(max(check.took_s / limit, 0.0), 1.0) if check.took_s is not None and limit else None,
        files=files,
    )


class _Shelf:
    """The evidence of a run, which quotes each file once."""

    def __init__(self, record: Record, folder: Path | None) -> None:
        self._kept = {evidence.path: evidence for evidence in record.evidence}
        telling = [path for _, _, check in _checks(record) if check.verdict in _TELLING for path in check.evidence]
        self._excerpts = excerpts.take(folder, self._kept, telling) if folder is not None else {}
        self._shown: dict[str, str] = {}

    def files(self, check: Check, anchor: str) -> list[File]:
        """Return the evidence files of a check, with quoted lines for files not quoted before."""
        if check.verdict not in _TELLING:
            return [File(path, self._kept.get(path)) for path in check.evidence]
        files, first = [], True
        for path in check.evidence:
            above = self._shown.get(path, "")
            excerpt = None if above else self._excerpts.get(path)
            if excerpt is not None:
                self._shown[path] = anchor
            log = JOURNAL in path and excerpt is not None
            files.append(File(path, self._kept.get(path), excerpt, above, first=log and first))
            first = first and not log
        return files
