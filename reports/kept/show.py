"""Prints a run's verdicts as text, Markdown or JSON (`switchproof reports show`)."""

from __future__ import annotations

import os
import secrets
import sys

import msgspec

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import UsageError
from switchproof.reports import text
from switchproof.reports.ci import markdown
from switchproof.reports.kept.lookup import read_run, run_folder
from switchproof.reports.terminal import summary


def command(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows `show` on the command line.

    Returns:
        0, or 4 if there is no such run. The run's verdict does not matter.
    """
    parser = Parser(prog="switchproof reports show", description="Show what a run proved.")
    parser.add_argument("run", metavar="RUN", help="a run's folder, its record.json or events.jsonl, or `latest`")
    parser.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    asked = parser.parse_args(arguments)
    try:
        record = read_run(asked.run)
    except UsageError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    match asked.format:
        case "json":
            shown = text.escaped(msgspec.json.format(msgspec.json.encode(record), indent=2).decode()) + "\n"
        case "markdown":
            shown = markdown.render(record)
        case _:
            shown = summary.render(
                record, run_folder(asked.run), colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ
            )
    if os.environ.get("GITHUB_ACTIONS") == "true":  # its runner obeys log lines that look like commands
        word = secrets.token_hex(16)
        shown = f"::stop-commands::{word}\n{shown}::{word}::\n"
    sys.stdout.write(shown)
    return 0
