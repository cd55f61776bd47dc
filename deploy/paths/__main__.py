"""The command: `switchproof paths REPO`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from switchproof.deploy.command_line import Parser
from switchproof.deploy.errors import UsageError
from switchproof.deploy.extras import require
from switchproof.deploy.paths.sources import Surveyor
from switchproof.deploy.paths.survey import Survey
from switchproof.deploy.paths.text import survey_text
from switchproof.deploy.record.schema import schema_of
from switchproof.deploy.redact.redactor import Redactor


def paths_schema() -> dict[str, Any]:
    """Return the JSON Schema of the survey."""
    return schema_of(
        Survey, "Switchproof survey of a repository's deploy paths, version 1", "urn:switchproof:paths:v1"
    )


def main(arguments: list[str] | None = None) -> int:
    """Survey a repository and print the findings.

    Returns:
        0 if every active path is clean, 1 if one breaks the contract, 11 if something was not understood, 4 if the
        folder or an option is wrong.
    """
    parser = Parser(
        prog="switchproof paths",
        description="Find a repository's active deploy paths by reading it, and check them against the contract.",
    )
    parser.add_argument("repository", type=Path, nargs="?", help="the folder of its working copy")
    parser.add_argument("--json", action="store_true", help="print the survey as JSON (docs/paths.schema.json)")
    parser.add_argument(
        "--vouch",
        action="append",
        default=[],
        metavar="NAME",
        help="an action, program, file or entry point that you have reviewed yourself; takes wildcards; repeatable",
    )
    given = parser.parse_args(arguments)
    if given.repository is None:
        parser.error("the repository is missing: name the folder of its working copy")
    try:
        require("paths", "switchproof paths")
        survey = Surveyor(given.repository, given.vouch).survey()
    except UsageError as error:
        parser.error(str(error))
    text = _json(survey) if given.json else survey_text(survey)
    sys.stdout.write(Redactor()(text))
    return int(survey.exit_code)


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.exit(main())
