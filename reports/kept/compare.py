"""Compares two runs clause by clause and check by check, also across providers."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping

import msgspec
from rich.console import Console
from rich.text import Text

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import Clause
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.record import AuditResult, ClauseResult, Record
from switchproof.reports import text
from switchproof.reports.kept.lookup import read_run

ABSENT = "absent"
"""The verdict shown for a check that only the other run has."""


class Row(msgspec.Struct, frozen=True):
    """One fact of two runs.

    Attributes:
        what: The name of the fact.
        left: Its value in the first run.
        right: Its value in the second run.
        decides: Whether a difference here makes the runs differ. Chosen values, such as the mode, do not.
    """

    what: str
    left: str
    right: str
    decides: bool = True

    @property
    def same(self) -> bool:
        """Whether both values are equal."""
        return self.left == self.right


class Part(msgspec.Struct, frozen=True):
    """Rows about one pair of hosts, or about the runs as a whole."""

    title: str
    rows: tuple[Row, ...]


class Comparison(msgspec.Struct, frozen=True):
    """All rows of a comparison of two runs."""

    left: str
    right: str
    parts: tuple[Part, ...]

    @property
    def same(self) -> bool:
        """Whether no deciding row differs."""
        return all(row.same for part in self.parts for row in part.rows if row.decides)


def compare(left: Record, right: Record, pairs: Mapping[str, str]) -> Comparison:
    """Compare two runs.

    Args:
        left: The first run.
        right: The second run.
        pairs: The hosts of `right` to compare with hosts of `left`, by the names in `left`.

    Raises:
        UsageError: A host is not in its run, or has no counterpart.
    """
    parts = [Part("run", tuple(_run_rows(left, right)))]
    for ours, theirs in _paired(left, right, pairs).items():
        title = ours if ours == theirs else f"{ours} against {theirs}"
        parts.append(Part(f"host {title}", tuple(_host_rows(left, right, ours, theirs))))
    return Comparison(_described(left), _described(right), tuple(parts))


def _described(record: Record) -> str:
    emulated = ", emulated" if record.emulated else ""
    return f"{record.run.mode} through {record.provider}{emulated}, {text.rfc3339(record.run.started)}"


def _run_rows(left: Record, right: Record) -> Iterator[Row]:
    yield Row("verdict", left.verdict, right.verdict)
    yield Row("commit", _short(left.revision.sha), _short(right.revision.sha))
    yield Row("mode", left.run.mode, right.run.mode, decides=False)
    yield Row("provider", left.provider, right.provider, decides=False)
    yield Row("contract", left.contract_sha256[:12], right.contract_sha256[:12], decides=False)
    yield Row("harness", left.run.harness, right.run.harness, decides=False)


def _short(sha: str | None) -> str:
    return sha[:12] if sha else "unknown"


def _paired(left: Record, right: Record, pairs: Mapping[str, str]) -> dict[str, str]:
    ours, theirs = [host.name for host in left.hosts], [host.name for host in right.hosts]
    for name, other in pairs.items():
        if name not in ours or other not in theirs:
            missing, run = (name, ours) if name not in ours else (other, theirs)
            raise UsageError(f"--pair={name}={other}: the run has no host {missing!r}; it has {', '.join(run)}")
    if not pairs and len(ours) == len(theirs) == 1:
        return {ours[0]: theirs[0]}
    whole = {**{name: name for name in ours if name in theirs and name not in pairs}, **pairs}
    alone = [name for name in ours if name not in whole] + [name for name in theirs if name not in whole.values()]
    if alone:
        raise UsageError(
            f"host {', '.join(alone)} is in one of the runs only; pair them with --pair=HOST=HOST "
            f"(first run: {', '.join(ours)}; second run: {', '.join(theirs)})"
        )
    return whole


def _host_rows(first: Record, second: Record, name: str, other: str) -> Iterator[Row]:
    left, right = first.host(name), second.host(other)
    yield Row("state", left.state, right.state, decides=first.run.mode == second.run.mode)
    yield from _leg_rows("", left.clauses, right.clauses)
    if left.audit or right.audit:
        ours, theirs = (str(host.audit.verdict) if host.audit else ABSENT for host in (left, right))
        yield Row("audit", ours, theirs)
        yield from _check_rows("", left.audit, right.audit)
    for word in ("rollback", "again"):
        ours, theirs = (getattr(host, word) for host in (left, right))
        if ours and theirs:
            yield from _leg_rows(f"{word} ", ours.clauses, theirs.clauses)
        elif ours or theirs:
            yield Row(word, ours.verdict if ours else ABSENT, theirs.verdict if theirs else ABSENT)


def _leg_rows(word: str, left: list[ClauseResult], right: list[ClauseResult]) -> Iterator[Row]:
    for clause in Clause:
        results = [next((result for result in leg if result.id is clause), None) for leg in (left, right)]
        verdicts = [str(result.verdict) if result else ABSENT for result in results]
        yield Row(f"{word}{clause}", verdicts[0], verdicts[1])
        yield from _check_rows(word, *results)


def _check_rows(
    word: str, left: ClauseResult | AuditResult | None, right: ClauseResult | AuditResult | None
) -> Iterator[Row]:
    ours, theirs = (
        {check.id: check.verdict for check in result.checks} if result else {} for result in (left, right)
    )
    for check in dict.fromkeys([*ours, *theirs]):
        yield Row(f"{word}{check}", ours.get(check, ABSENT), theirs.get(check, ABSENT))


def render(comparison: Comparison, *, colour: bool) -> str:
    """Render a comparison for a terminal, with the checks that differ and the verdicts of all clauses."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=colour, color_system="standard" if colour else None, _environ={})

    def say(line: str, style: str = "") -> None:
        console.print(Text(text.inert(line), style=style), soft_wrap=True, highlight=False)

    say("SAME" if comparison.same else "DIFFERENT", "bold green" if comparison.same else "bold red")
    say(f"A  {comparison.left}")
    say(f"B  {comparison.right}")
    for part in comparison.parts:
        rows = [row for row in part.rows if "/" not in row.what or not row.same]
        widths = [max(len(getattr(row, name)) for row in rows) for name in ("what", "left", "right")]
        say("")
        say(part.title, "bold")
        for row in rows:
            cells = [f"{cell:<{width}}" for cell, width in zip((row.what, row.left, row.right), widths, strict=True)]
            word = "" if row.same else "differs" if row.decides else "differs; does not count"
            say("  ".join([*cells, word]).rstrip(), "red" if row.decides and not row.same else "")
    return out.getvalue()


def markdown(comparison: Comparison) -> str:
    """Render a comparison as Markdown, with every row."""
    lines = [f"**{'Same' if comparison.same else 'Different'}**", ""]
    for part in comparison.parts:
        lines += [f"| {part.title} | {comparison.left} | {comparison.right} | |", "|---|---|---|---|"]
        for row in part.rows:
            word = "same" if row.same else "**differs**" if row.decides else "differs; does not count"
            lines.append(f"| {row.what} | {row.left} | {row.right} | {word} |")
        lines.append("")
    return "\n".join(text.inert(line) for line in lines)


def command(arguments: list[str]) -> int:
    """Run the command: return 0 if no deciding row differs, else 1."""
    parser = Parser(prog="switchproof reports compare", description=__doc__)
    parser.add_argument("left", metavar="A", help="a run: its folder, its record.json, or `latest`")
    parser.add_argument("right", metavar="B", help="another run")
    parser.add_argument("--pair", action="append", default=[], metavar="HOST=HOST", help="a host of A and one of B")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    given = parser.parse_args(arguments)
    try:
        pairs = {}
        for pair in given.pair:
            ours, _, theirs = pair.partition("=")
            if not theirs:
                raise UsageError(f"--pair={pair}: a host of A, an equals sign and a host of B")  # noqa: TRY301 - one way out
            pairs[ours] = theirs
        comparison = compare(read_run(given.left), read_run(given.right), pairs)
    except UsageError as error:
        parser.error(str(error))
    match given.format:
        case "json":
            parts = [
                {"title": part.title, "rows": [{**msgspec.to_builtins(row), "same": row.same} for row in part.rows]}
                for part in comparison.parts
            ]
            whole = {"same": comparison.same, "left": comparison.left, "right": comparison.right, "parts": parts}
            sys.stdout.write(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n")
        case "markdown":
            sys.stdout.write(markdown(comparison) + "\n")
        case _:
            sys.stdout.write(render(comparison, colour=sys.stdout.isatty()))
    return 0 if comparison.same else 1
