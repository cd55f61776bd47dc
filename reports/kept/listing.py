"""Lists every kept run as a line of text (`switchproof reports list`)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len, chop_cells

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import UsageError
from switchproof.deploy.settings import read_settings
from switchproof.reports import text
from switchproof.reports.kept.runs import Kept, read_kept

_HEADINGS = ("started (UTC)", "verdict", "mode", "provider", "commit", "hosts", "run")
_OTHER_WORDS = {"going-on": "still running", "killed": "killed", "unreadable": "unreadable"}
_HOSTS_SHOWN = 4
_HOSTS_CHARACTERS = 12
"""The fewest columns for hosts in a narrow list."""
_GAP = "  "


def command(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows `list` on the command line.

    Returns:
        0, or 4 if the folder does not exist.
    """
    parser = Parser(
        prog="switchproof reports list", description="List every kept run as a line of text, the newest first."
    )
    described = "the folder of kept runs, as given with --report-dir (default: reports/runs)"
    parser.add_argument("folder", metavar="DIR", nargs="?", type=Path, help=described)
    asked = parser.parse_args(arguments)
    try:
        folder = asked.folder or read_settings(Path.cwd()).report_dir
    except UsageError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    if asked.folder and not folder.is_dir():
        print(f"{folder}: no such folder", file=sys.stderr)
        return ExitCode.USAGE
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    sys.stdout.write(render(read_kept(folder), folder, columns))
    return 0


def render(runs: Sequence[Kept], folder: Path, columns: int | None = None) -> str:
    """Render the list.

    Args:
        runs: The kept runs, the newest first.
        folder: The folder of kept runs.
        columns: Of the terminal; a list that does not fit leaves out what the runs' names say. None: no limit.
    """
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    if not runs:
        return f"No run is kept in {text.inert(str(shown))}.\n"
    rows = [_HEADINGS, *(_row(run) for run in runs)]
    lines = _table(rows)
    if columns is not None and max(cell_len(line) for line in lines) > columns:
        lines = _narrow(rows, columns)
    return "\n".join([*lines, "", *_next(runs, shown)]) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        _GAP.join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _narrow(rows: Sequence[tuple[str, ...]], columns: int) -> list[str]:
    """Return a row of run, verdict and hosts for each run; a run's name has its time, mode, provider and commit."""
    run, verdict, hosts = (_HEADINGS.index(name) for name in ("run", "verdict", "hosts"))
    taken = sum(max(cell_len(row[column]) for row in rows) + len(_GAP) for column in (run, verdict))
    room = max(columns - taken, _HOSTS_CHARACTERS)
    return _table([(row[run], row[verdict], _cut(row[hosts], room)) for row in rows])


def _cut(words: str, room: int) -> str:
    return words if cell_len(words) <= room else f"{chop_cells(words, room - 1)[0]}…"


def _next(runs: Sequence[Kept], shown: Path) -> Iterator[str]:
    readable = next((run for run in runs if run.digest), None)
    if readable:
        yield f"Show one: switchproof reports show {text.inert(str(shown / readable.folder))}"


def _row(run: Kept) -> tuple[str, ...]:
    digest = run.digest
    hosts = [f"{host.name} {host.state}" for host in digest.hosts] if digest else []
    more = [f"and {len(hosts) - _HOSTS_SHOWN} more"] if len(hosts) > _HOSTS_SHOWN else []
    return tuple(
        text.one_line(cell) or "-"
        for cell in (
            text.moment(run.started).removesuffix(" UTC") if run.started else "",
            _OTHER_WORDS.get(run.end) or (digest.word if digest else ""),
            run.mode,
            run.provider,
            digest.sha[:7] if digest and digest.sha else "",
            ", ".join([*hosts[:_HOSTS_SHOWN], *more]),
            run.folder,
        )
    )
