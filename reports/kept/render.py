"""Renders the page of a run again from its files alone (`switchproof reports render`)."""

from __future__ import annotations

import sys
from pathlib import Path

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import UsageError
from switchproof.reports import files
from switchproof.reports.kept.lookup import read_run, run_folder
from switchproof.reports.page import layout

PAGE = "conformance.html"


def command(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows `render` on the command line.

    Returns:
        0, or 4 if there is no such run or the page cannot be written. The run's verdict does not matter.
    """
    parser = Parser(
        prog="switchproof reports render",
        description="Make the page of a run again, from its record or, if it was killed, from its events.",
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder, its record.json or events.jsonl, or `latest`")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f"where to write the page, - for standard output (default: {PAGE} in the run's folder, where its links "
        "to evidence lead somewhere)",
    )
    asked = parser.parse_args(arguments)
    try:
        page = layout.standalone(read_run(asked.run), run_folder(asked.run))
    except UsageError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    if asked.output == "-":
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        sys.stdout.write(page)
        return 0
    place = Path(asked.output) if asked.output else run_folder(asked.run) / PAGE
    try:
        files.write_text(place, page)
    except OSError as error:
        print(f"{place}: cannot be written: {error.strerror or error}", file=sys.stderr)
        return ExitCode.USAGE
    print(place)
    return 0
