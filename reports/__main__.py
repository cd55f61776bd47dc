"""`python -m reports COMMAND …`: what can be done with a run's files, each command in a module of its own."""

from __future__ import annotations

import importlib
import sys

from deploy.contract import ExitCode

COMMANDS = {
    "show": "reports.show",
}
"""Where each command's `command(arguments)` is; loaded when it is used."""


def main(arguments: list[str]) -> int:
    """Run the command that is named first, and return its exit code."""
    name, *rest = arguments or ["--help"]
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        sys.stderr.write(f"usage: python -m reports COMMAND …; COMMAND is one of: {known} (each takes --help)\n")
        return 0 if name in {"-h", "--help"} else ExitCode.USAGE
    command = importlib.import_module(COMMANDS[name]).command
    return int(command(rest))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
