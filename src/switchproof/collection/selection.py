"""Reads which checks a command line selects; the others stay expected, so that the run misses them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.errors import UsageError


class Typed(msgspec.Struct, frozen=True):
    """A plugin that holds the command line of a session that was started by the command `switchproof`.

    Attributes:
        argv: The whole command line, with the name of the command.
    """

    argv: tuple[str, ...]


def typed_argv(config: pytest.Config) -> tuple[str, ...]:
    """Return the command line as it was typed, without the name of pytest."""
    plugins = config.pluginmanager.get_plugins()
    typed = next((plugin.argv for plugin in plugins if isinstance(plugin, Typed)), None)
    return typed or tuple(str(word) for word in config.invocation_params.args)


def is_typed(config: pytest.Config) -> bool:
    """Whether the command `switchproof` started the session: no option, plugin or conftest.py leaves checks out."""
    return any(isinstance(plugin, Typed) for plugin in config.pluginmanager.get_plugins())


class Selection:
    """The paths on a command line, each with the names behind its `::`.

    Args:
        typed_paths: As they were typed; none selects every check.
        folder: Where they were typed.
    """

    def __init__(self, typed_paths: Sequence[str], folder: Path) -> None:
        self._wanted: list[tuple[str, Path, str]] = []
        for typed in typed_paths:
            path, _, names = typed.partition("::")
            self._wanted.append((typed, (folder / path).resolve(), names))

    def takes(self, item: pytest.Item) -> bool:
        """Whether a check is asked for."""
        return not self._wanted or any(_is(item, path, names) for _, path, names in self._wanted)

    def options(self, config: pytest.Config) -> str:
        """Name the options and paths of the command line that leave checks out; empty where there are none."""
        options_given = config.option
        leaving_out = [
            f"{option} {shlex.quote(value)}"
            for option, value in (("-k", options_given.keyword), ("-m", options_given.markexpr))
            if value
        ]
        leaving_out += [f"--deselect {prefix}" for prefix in options_given.deselect or ()]
        return " ".join([*leaving_out, *(word for word, _, _ in self._wanted)])

    def refuse(self, items: Sequence[pytest.Item]) -> None:
        """Refuse a path that selects no check.

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
    item_names = item.nodeid.partition("::")[2]
    return not names or item_names == names or item_names.startswith((f"{names}::", f"{names}["))
