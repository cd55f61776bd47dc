"""Prints the JSON Schemas that the project publishes, and the SSM document of a target file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import UsageError


def _target() -> dict[str, Any]:
    from switchproof.deploy.providers import json_schema

    return json_schema()


def _record() -> dict[str, Any]:
    from switchproof.deploy.record.schema import record_schema

    return record_schema()


def _trial() -> dict[str, Any]:
    from switchproof.trials.schema import trial_schema

    return trial_schema()


def _paths() -> dict[str, Any]:
    from switchproof.deploy.paths.__main__ import paths_schema

    return paths_schema()


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "target": _target,
    "record": _record,
    "trial": _trial,
    "paths": _paths,
}
DOCUMENT = "ssm-document"


def main(argv: Sequence[str]) -> int:
    """Print what is asked for.

    Args:
        argv: The command line after `switchproof schema`.

    Returns:
        0, or 4 if the target file cannot be used.
    """
    parser = Parser(
        prog="switchproof schema", description="Print a JSON Schema, or the SSM document of a target file."
    )
    parser.add_argument(
        "name", choices=(*SCHEMAS, DOCUMENT), help="the file whose schema to print, or the SSM document"
    )
    parser.add_argument("file", nargs="?", type=Path, help=f"with {DOCUMENT}: a target file of the provider aws")
    arguments = parser.parse_args(list(argv))
    if (arguments.file is None) == (arguments.name == DOCUMENT):
        parser.error(f"FILE: needed with {DOCUMENT}, and only there")
    if arguments.name != DOCUMENT:
        sys.stdout.write(
            msgspec.json.format(msgspec.json.encode(SCHEMAS[arguments.name]()), indent=2).decode() + "\n"
        )
        return 0
    from switchproof.deploy.providers import load
    from switchproof.deploy.providers.aws import document

    try:
        target = load(arguments.file, os.environ, ())
    except UsageError as error:
        print(f"switchproof schema: {error}", file=sys.stderr)
        return ExitCode.USAGE
    sys.stdout.write(document.text(document.document(target)))
    return 0
