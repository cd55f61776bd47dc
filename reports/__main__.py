"""Dispatches `switchproof reports COMMAND …` to the module of each command."""

from __future__ import annotations

import importlib
import sys

from switchproof.deploy.contract import ExitCode

COMMANDS = {
    "compare": ("switchproof.reports.kept.compare", "compare two runs, check by check"),
    "history": ("switchproof.reports.kept.history", "show how a host or a check fared, the newest run first"),
    "index": ("switchproof.reports.kept.index", "write the page that lists every kept run"),
    "list": ("switchproof.reports.kept.listing", "list every kept run as text, the newest first"),
    "merge": ("switchproof.reports.kept.merge", "join the runs of the parts of an audit into one"),
    "render": ("switchproof.reports.kept.render", "make the page of a run again from its files"),
    "show": ("switchproof.reports.kept.show", "print what a run proved, as text, Markdown or JSON"),
}
"""Module and purpose of each command; a module loads when its command is used."""


def main(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    if not arguments or arguments[0] not in COMMANDS:
        lines = [f"  {name:<10} {purpose}" for name, (_, purpose) in COMMANDS.items()]
        usage = "usage: switchproof reports COMMAND …\n\n" + "\n".join(lines)
        if arguments[:1] in (["-h"], ["--help"]):
            print(usage)
            return 0
        problem = f"{arguments[0]!r} is not a command" if arguments else "a command is missing"
        print(f"switchproof reports: {problem}\n{usage}", file=sys.stderr)
        return ExitCode.USAGE
    module = importlib.import_module(COMMANDS[arguments[0]][0])
    code: int = module.command(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
