"""The command line of runs that are over: `switchproof reports COMMAND …`."""

from __future__ import annotations

import importlib
import sys

from switchproof.deploy.contract import ExitCode

COMMANDS = {
    "compare": ("switchproof.reports.compare", "compare two runs, check by check"),
    "index": ("switchproof.reports.index", "write the page that lists every kept run"),
    "list": ("switchproof.reports.listing", "list every kept run as text, the newest first"),
    "merge": ("switchproof.reports.merge", "join the runs of the parts of an audit into one"),
    "render": ("switchproof.reports.render", "make the page of a run again from its files"),
    "show": ("switchproof.reports.show", "print what a run proved, as text, Markdown or JSON"),
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
        found = f"{arguments[0]!r} is not a command" if arguments else "a command is missing"
        print(f"switchproof reports: {found}\n{usage}", file=sys.stderr)
        return ExitCode.USAGE
    module = importlib.import_module(COMMANDS[arguments[0]][0])
    code: int = module.command(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
