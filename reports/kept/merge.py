"""Merges the runs of the parts of an audit into one run (`switchproof reports merge`)."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.events import AnyEvent, EvidenceKept
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.journal import read_events
from switchproof.deploy.record.merging import Part, merge, read_part
from switchproof.deploy.record.record import Record, write_record
from switchproof.deploy.settings import read_settings
from switchproof.reports import files
from switchproof.reports.kept import index
from switchproof.reports.kept.lookup import run_folder
from switchproof.reports.page import layout
from switchproof.reports.terminal import summary


def command(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows `merge` on the command line.

    Returns:
        The exit code of the merged run; 4 if nothing was merged.
    """
    parser = Parser(
        prog="switchproof reports merge",
        description="Make one record and one report of the runs of `audit --shard=K/N`. They are complete, or the "
        "merged run is inconclusive and says what is missing. A merged run is not signed.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of the run of a part")
    parser.add_argument(
        "--report-dir", metavar="DIR", help="folder in which to make the run's folder (default: reports/runs)"
    )
    asked = parser.parse_args(arguments)
    settings = read_settings(Path.cwd())
    kept_in = Path(asked.report_dir) if asked.report_dir else settings.report_dir
    try:
        record, folder = merge_runs(asked.runs, kept_in)
    except UsageError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    except OSError as error:
        print(f"{kept_in}: the merged run cannot be written: {error.strerror or error}", file=sys.stderr)
        return ExitCode.USAGE
    home = settings.home_of(kept_in)
    try:
        files.write(record, folder, home / "latest")
        index.write(kept_in, home)
    except OSError as error:
        print(f"WARNING: the run's files are not all written: {error}", file=sys.stderr)
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    sys.stdout.write(summary.render(record, shown, colour=colour))
    return record.run.exit_code or ExitCode.CANONICAL


def merge_runs(names: Sequence[str], kept_in: Path) -> tuple[Record, Path]:
    """Merge runs into a new folder with events, evidence, record and report.

    Args:
        names: The runs, as on the command line.
        kept_in: The folder of kept runs.

    Returns:
        The record of the merged run, and its folder.

    Raises:
        UsageError: A run cannot be read, or the runs are not parts of one audit; nothing was written.
        OSError: The merged run could not be written.
    """
    parts = [(_read(name), run_folder(name)) for name in names]
    bad = [sentence for part, folder in parts for sentence in _damaged(part, folder)]
    first = min((part.record for part, _ in parts), key=lambda record: record.run.started)
    name = files.run_name(first.run.started, first.run.mode, first.provider, first.revision.sha)
    events = merge([part for part, _ in parts], f"{name}-{secrets.token_hex(2)}", bad)
    record = fold(events)
    folder = files.make_folder(kept_in, name)
    for part, came_from in parts:
        for kept in _evidence(part):
            if (file := _file(came_from, kept)) is not None:
                to = folder / part.place_of(kept)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, to)
    (folder / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    write_record(record, folder / "record.json")
    files.write_text(folder / files.REPORT, layout.standalone(record, folder))
    return record, folder


def _read(name: str) -> Part:
    journal = run_folder(name) / "events.jsonl"
    try:
        events: list[AnyEvent] = list(read_events(journal))
    except FileNotFoundError:
        raise UsageError(
            f"{name}: no events.jsonl is there: name the folder of a run, with all of its files"
        ) from None
    except (OSError, ValueError) as error:
        problem = str(error).removeprefix(f"{journal}:")
        raise UsageError(f"{journal}: cannot be read as a run: {problem}") from error
    if not events:
        raise UsageError(f"{journal}: cannot be read as a run: it is empty")
    return read_part(name, events)


def _evidence(part: Part) -> Iterator[EvidenceKept]:
    return (event for event in part.events if isinstance(event, EvidenceKept))


def _damaged(part: Part, folder: Path) -> Iterator[str]:
    """Yield a sentence for each evidence file of a part that is missing or was changed."""
    for kept in _evidence(part):
        file = _file(folder, kept)
        if file is None:
            yield f"{part.name} lacks its evidence {kept.path}"
        elif file.stat().st_size != kept.bytes or _digest(file) != kept.sha256:
            yield f"{part.name} has evidence that was changed: {kept.path}"


def _digest(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(folder: Path, kept: EvidenceKept) -> Path | None:
    """Return the path of an evidence file in its run's folder; None if it is missing or a link leads out."""
    file = folder.resolve() / kept.path
    return file if file.resolve() == file and file.is_file() else None
