"""Which checks a command line asks for; what it leaves out is expected all the same, so that it is missed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError


@dataclass(frozen=True)
class Typed:
    """A plugin that holds the command line of a session which a person did not start as pytest.

    Attributes:
        words: The whole command line.
    """

    words: tuple[str, ...]


def typed_words(config: pytest.Config) -> tuple[str, ...]:
    """Return the command line as it was typed, without the name of pytest."""
    plugins = config.pluginmanager.get_plugins()
    typed = next((plugin.words for plugin in plugins if isinstance(plugin, Typed)), None)
    return typed or tuple(str(word) for word in config.invocation_params.args)


class Selection:
    """The paths on a command line, each with the names behind its `::`.

    Args:
        words: As they were typed; none selects every check.
        folder: Where they were typed.
    """

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self._wanted: list[tuple[str, Path, str]] = []
        for word in words:
            path, _, names = word.partition("::")
            self._wanted.append((word, (folder / path).resolve(), names))

    def takes(self, item: pytest.Item) -> bool:
        """Whether a check is asked for."""
        return not self._wanted or any(_is(item, path, names) for _, path, names in self._wanted)

    def options(self, config: pytest.Config) -> str:
        """Name the options and paths of the command line that leave checks out; empty where there are none."""
        given = config.option
        words = [
            f"{option} {shlex.quote(value)}"
            for option, value in (("-k", given.keyword), ("-m", given.markexpr))
            if value
        ]
        words += [f"--deselect {prefix}" for prefix in given.deselect or ()]
        return " ".join([*words, *(word for word, _, _ in self._wanted)])

    def refuse(self, items: Sequence[pytest.Item]) -> None:
        """Refuse what selects nothing.

        Args:
            items: Every check that there is.

        Raises:
            UsageError: Names the word, and what to do.
        """
        for word, path, names in self._wanted:
            if not any(_is(item, path, names) for item in items):
                folder = path if path.is_dir() else path.parent
                raise UsageError(
                    f"{word}: matches no check of this run; to add checks of your own to the contract's, "
                    f"use --checks={folder}"
                )


def _is(item: pytest.Item, path: Path, names: str) -> bool:
    if not item.path.resolve().is_relative_to(path):
        return False
    own = item.nodeid.partition("::")[2]
    return not names or own == names or own.startswith((f"{names}::", f"{names}["))
