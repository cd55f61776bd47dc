"""The types of a walk: a text of shell with its place, and the call of a program in it (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from switchproof.deploy.paths.readers.shell import Command, Scope
from switchproof.deploy.paths.survey import Place
from switchproof.deploy.paths.values import Values

if TYPE_CHECKING:
    from switchproof.deploy.paths.walk import Walker


class Text(msgspec.Struct, frozen=True):
    """A text of shell, with its place.

    Attributes:
        text: The shell.
        file: The file that contains it.
        rows: The line number in the file for each line of the text.
        entry: Whether the entry point itself contains it, not a script.
        shared: Whether it is part of the shared host-side script.
        provider: The provider of the machine that it changes.
        outer: The command that runs it and gives it its standard input.
    """

    text: str
    file: str
    rows: tuple[int, ...]
    entry: bool = True
    shared: bool = False
    provider: str = "local"
    outer: Command | None = None

    def line(self, row: int) -> int:
        """Return the line number in the file for a line of the text, counted from 0."""
        return self.rows[min(row, len(self.rows) - 1)] if self.rows else 1


def script_text(path: str, text: str, caller: Text | None = None) -> Text:
    """Return the text of a whole script, which changes the same machine as its caller.

    Args:
        path: The script.
        text: Its content.
        caller: The text that runs it; None if a person may run it.
    """
    rows = tuple(range(1, text.count("\n") + 2))
    if caller is None:
        return Text(text, path, rows, entry=False)
    return Text(text, path, rows, entry=False, shared=caller.shared, provider=caller.provider)


class Call(msgspec.Struct, frozen=True):
    """The call of a program.

    Attributes:
        name: The program.
        words: Its arguments.
        command: The command that contains the call.
        text: The text that contains the command.
        scope: The state of the shell.
        place: The line.
    """

    name: str
    words: tuple[Values, ...]
    command: Command
    text: Text
    scope: Scope
    place: Place

    @property
    def plain(self) -> list[str]:
        """The first possible value of each argument."""
        return [word[0] for word in self.words]

    def option(self, *names: str) -> Values | None:
        """Return the value of an option, written as `--name value` or `--name=value`; None without it."""
        for at, word in enumerate(self.words):
            if word[0] in names:
                return self.words[at + 1] if at + 1 < len(self.words) else None
            for name in names:
                if word[0].startswith(f"{name}="):
                    return tuple(text.removeprefix(f"{name}=") for text in word)
        return None


class Recipes(Protocol):
    """The named recipes of a tool: a justfile, a Makefile."""

    def run(self, walker: Walker, call: Call) -> bool:
        """Follow what a call of the tool runs; false if no recipe has the name."""
