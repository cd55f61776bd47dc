"""Parses the command lines of Switchproof's own verbs; a wrong one ends with exit code 4: nothing was touched."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from switchproof.deploy.contract import ExitCode


class Parser(argparse.ArgumentParser):
    """A parser that reports an unknown option before a missing one, and ends with the exit code of wrong usage."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        self._arguments: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, and keep the arguments for an error."""
        self._arguments = [str(argument) for argument in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the error and how to get help, and exit with 4."""
        unknown = "; ".join(self._unknown()) if message.startswith(("the following", "unrecognized")) else ""
        rest = "" if message.startswith("unrecognized") and unknown else message
        text = "; ".join(part for part in (unknown, rest) if part)
        self.exit(ExitCode.USAGE, f"{self.prog}: {text}\nSee `{self.prog} --help`.\n")

    def _unknown(self) -> Iterator[str]:
        """Describe each unknown option, with the nearest known one."""
        if self._subparsers is not None:
            return  # the options after a command are that command's
        known = {name.lstrip("-"): name for name in self._option_string_actions}
        for argument in self._arguments:
            name = argument.partition("=")[0]
            if argument == "--":
                return
            if argument.startswith("--") and name not in self._option_string_actions:
                near = difflib.get_close_matches(name.lstrip("-"), known, 1)
                yield f"unknown option {name}" + (f"; did you mean {known[near[0]]}?" if near else "")
