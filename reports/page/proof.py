"""One check as the page shows it: its anchor, its attempts, and the evidence that bears on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record.record import Check, Evidence, Record
from switchproof.reports.causes import JOURNAL, LAST_WORDS
from switchproof.reports.legs import Leg, legs_of
from switchproof.reports.page import attempts, excerpts

_TELLING = frozenset({Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.WAIVED})
"""The verdicts whose evidence is shown and not only named."""

_MANY = 200
"""Checks above which what all of one id have in common is told once in the page, for its size."""


@dataclass(frozen=True)
class File:
    """An evidence file beside a check.

    Attributes:
        path: As the check names it.
        evidence: What the record has of it; None if it was not kept.
        excerpt: Its telling lines, where they are shown here.
        above: The anchor of the check where they are shown, if that is another.
        first: Whether it is the one to read first.
    """

    path: str
    evidence: Evidence | None
    excerpt: excerpts.Excerpt | None = None
    above: str = ""
    first: bool = False


@dataclass(frozen=True)
class Proof:
    """A check of one clause, on one leg of one host.

    Attributes:
        check: The check.
        anchor: Its place in the page.
        lead: What it says in one line; empty if it says nothing.
        rest: What else it says.
        attempts: What its endpoint answered over time, where that bears on it.
        used: Which part of its limit it took, from 0 to 1; None where it has no limit.
        files: Its evidence.
        explained: Whether it has been told before why it matters and what asked, with the first check of its id.
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
    def tells(self) -> bool:
        """Whether a reader is to see it without asking."""
        return self.check.verdict in _TELLING

    @property
    def same_as(self) -> str:
        """The anchor of the one check beside which all of its evidence is shown; empty if there is no such."""
        places = {file.above for file in self.files}
        return places.pop() if len(self.files) > 1 and len(places) == 1 else ""


Part: TypeAlias = Clause | Literal["audit"]

Proofs = Mapping[tuple[str, Part], Sequence[Proof]]
"""The proofs of each clause, and of a team's own audit, by the leg's anchor and the clause."""


def proofs(record: Record, folder: Path | None) -> Proofs:
    """Make the proof of every check.

    Lines of evidence stand once in a page, with the first check that they bear on.

    Args:
        record: The run.
        folder: The run's folder, for the lines of evidence files; None if it is not at hand.
    """
    many = told_once(record)
    shelf = _Shelf(record, folder)
    explained: set[tuple[str, str, str]] = set()
    found: dict[tuple[str, Part], list[Proof]] = {}
    for leg, clause, check in _checks(record):
        row = found.setdefault((leg.anchor, clause), [])
        anchor = f"{leg.anchor.partition('-')[0]}{leg.name[0]}-{clause}-{len(row) + 1}"
        proof = _proof(leg, check, anchor, shelf.files(check, anchor))
        words = (check.id, check.why, check.command)
        if many and words in explained and not proof.tells:
            proof = dataclasses.replace(proof, explained=True)
        explained.add(words)
        row.append(proof)
    return found


def told_once(record: Record) -> bool:
    """Whether a record has so many checks that what all of one id have in common is told once."""
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
    said = [line for line in rest.splitlines() if line.strip() != f"try: {check.remedy}"]
    watch = leg.host.watch(leg.name, check.endpoint) if check.endpoint else None
    bears = check.verdict in _TELLING or check.took_s is not None
    limit = check.limit_s
    return Proof(
        check=check,
        anchor=anchor,
        lead=lead,
        rest="\n".join(said),
        attempts=attempts.tell(watch) if watch is not None and bears else (),
        used=min(max(check.took_s / limit, 0.0), 1.0) if check.took_s is not None and limit else None,
        files=files,
    )


class _Shelf:
    """The evidence of a run, of which each file is shown once."""

    def __init__(self, record: Record, folder: Path | None) -> None:
        self._kept = {evidence.path: evidence for evidence in record.evidence}
        telling = [path for _, _, check in _checks(record) if check.verdict in _TELLING for path in check.evidence]
        self._excerpts = excerpts.take(folder, self._kept, telling) if folder is not None else {}
        self._shown: dict[str, str] = {}

    def files(self, check: Check, anchor: str) -> list[File]:
        """Give the files that bear on a check, with the lines of those that are not shown yet."""
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
