"""`python -m reports show RUN`: a run's verdicts in a terminal, in Markdown or as JSON."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from deploy.contract import ExitCode
from deploy.journal import read_events
from deploy.record import Record, fold, read_record
from reports import markdown, summary

LATEST = Path(__file__).parent / "latest"


def command(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows `show` on the command line.

    Returns:
        0, or 4 if there is no such run; the run's own verdict changes nothing about it.
    """
    parser = argparse.ArgumentParser(prog="python -m reports show", description="Show what a run proved.")
    parser.add_argument("run", metavar="RUN", help="a run's folder, its record.json or events.jsonl, or `latest`")
    parser.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    asked = parser.parse_args(arguments)
    try:
        record, folder = load(asked.run)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return ExitCode.USAGE
    match asked.format:
        case "json":
            shown = msgspec.json.format(msgspec.json.encode(record), indent=2).decode() + "\n"
        case "markdown":
            shown = markdown.render(record)
        case _:
            shown = summary.render(record, folder, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    sys.stdout.write(shown)
    return 0


def load(run: str) -> tuple[Record, Path]:
    """Read a run back: from its record, or from its events if it was killed before it had one.

    Args:
        run: A run's folder, one of its two files, or `latest`.

    Returns:
        The record and the run's folder.

    Raises:
        ValueError: It is no run, or its files cannot be read as one; the message names the file.
        OSError: A file cannot be read.
    """
    path = LATEST if run == "latest" and not Path(run).exists() else Path(run)
    folder, wanted = (path, "") if path.is_dir() else (path.parent, path.name)
    if wanted != "events.jsonl" and (record := folder / (wanted or "record.json")).is_file():
        return read_record(record), folder
    if (events := folder / "events.jsonl").is_file() and wanted in {"", "events.jsonl"}:
        try:
            return fold(read_events(events)), folder
        except ValueError as error:
            raise ValueError(f"{events}: {error}") from error
    raise ValueError(f"{run}: no run: neither a folder with record.json or events.jsonl, nor one of these files")
