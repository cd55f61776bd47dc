"""Writes the page of real programs, and reads the outcomes that an earlier run wrote there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.real_cases import CASES, Outcome
from switchproof.deploy.providers.lab.real import look

REBUILDS: Final = ("nixos-rebuild-ng", "nixos-rebuild as a shell script")
BINARY: Final = "switch-to-configuration as a binary"
SWITCHES: Final = ("switch-to-configuration as a script", BINARY)
ABOUT: Final = """\
# Real programs

`just real DIR` ran every case below on lab hosts and wrote this page. nixos-rebuild and switch-to-configuration were
the real programs in DIR; [lab.md](lab.md) describes their form. A missing program has a row that says so. *As
expected* compares the result with the case: a good revision is canonical, a broken one fails at its clause and leaves
the host unchanged or rolled back, and a host whose runner is killed goes back by itself.
"""
_ROW: Final = re.compile(r"^\| (?P<title>.+?) \| (?P<cells>.*) \| (?P<should>yes|\*\*no\*\*.*) \|$", re.MULTILINE)
_CELLS: Final = 4
_SHA_DIGITS: Final = 16


@dataclass(frozen=True)
class Found:
    """A program in DIR: its kind, its file or folder, and the version from its name."""

    kind: str
    path: Path

    @property
    def version(self) -> str:
        """Return its version, the rest of its name."""
        name = self.path.name
        for prefix in ("nixos-rebuild-ng", "nixos-rebuild", "switch-to-configuration-ng", "switch-to-configuration"):
            name = name.removeprefix(prefix)
        return name.lstrip("-").removesuffix(".sh").removesuffix(".pl") or "unknown"

    @property
    def row(self) -> str:
        """Return its row in the list of programs."""
        given = look(str(self.path), None) if self.kind in REBUILDS else look(None, str(self.path))
        sha256 = next(program.sha256 for program in (given.nixos_rebuild, given.switch) if program is not None)
        return f"| {self.kind} | `{self.version}` | `{sha256[:_SHA_DIGITS]}` | yes |"


@dataclass(frozen=True)
class Pair:
    """The programs that share a lab; None means the lab's stand-in."""

    rebuild: Found | None
    switch: Found | None

    @property
    def title(self) -> str:
        """Return the heading of its table."""
        names = (
            (self.rebuild, "the stand-in for nixos-rebuild"),
            (self.switch, "the stand-in for switch-to-configuration"),
        )
        parts = [f"{program.kind} {program.version}" if program else name for program, name in names]
        return f"{parts[0]} with {parts[1]}"


@dataclass(frozen=True)
class Table:
    """The outcome of each case by its title, and the other program that the hosts ran."""

    around: str
    outcomes: Mapping[str, Outcome]


def read(text: str, pairs: Sequence[Pair]) -> dict[str, Table]:
    """Return the tables of a page by heading, for programs that have not changed since."""
    known = {
        pair.title
        for pair in pairs
        if all(program.row in text for program in (pair.rebuild, pair.switch) if program is not None)
    }
    tables = {}
    for part in text.split("\n## ")[1:]:
        title, _, rest = part.partition("\n")
        if title not in known:
            continue
        around = rest.strip().partition(". ")[0]
        tables[title] = Table(around, {row["title"]: _outcome(row) for row in _ROW.finditer(rest)})
    return tables


def merge(before: Mapping[str, Table], now: Mapping[str, Table]) -> dict[str, Table]:
    """Merge the outcomes of this run into those of earlier ones; the newer outcome of a case counts."""
    merged = dict(before)
    for title, table in now.items():
        earlier = before[title].outcomes if title in before else {}
        merged[title] = Table(table.around, {**earlier, **table.outcomes})
    return merged


def render(programs: Sequence[Found], pairs: Sequence[Pair], tables: Mapping[str, Table], notes: str = "") -> str:
    """Write the page in Markdown."""
    lines = [ABOUT, "| program | version | SHA-256 | tried |", "|---|---|---|---|"]
    for kind in (*REBUILDS, *SWITCHES):
        rows = [program.row for program in programs if program.kind == kind]
        lines += rows or [f"| {kind} | not there | | no |"]
    lines += ["", notes.rstrip()] if notes else []
    for pair in pairs:
        table = tables.get(pair.title, Table("Not tried", {}))
        right = sum(outcome.as_it_should for outcome in table.outcomes.values())
        lines += [
            "",
            f"## {pair.title}",
            "",
            f"{table.around}. {right} of {len(table.outcomes)} cases ended as expected; {len(CASES)} exist.",
            "",
            "| case | verdict | clause | exit code | state | as expected |",
            "|---|---|---|---|---|---|",
        ]
        for case in CASES:
            if outcome := table.outcomes.get(case.title):
                should = "yes" if outcome.as_it_should else f"**no**: {case.expected}"
                cells = (case.title, outcome.verdict, outcome.clause, outcome.code, outcome.state, should)
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _outcome(row: re.Match[str]) -> Outcome:
    cells = [cell.strip() for cell in row["cells"].split("|")]
    verdict, clause, code, state = cells if len(cells) == _CELLS else ("", "", "", row["cells"])
    return Outcome(verdict, clause, code, state, as_it_should=row["should"] == "yes")
