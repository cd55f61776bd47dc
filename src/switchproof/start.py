"""Prepares pytest for a deploy before it has read the whole command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from switchproof import conftests, options
from switchproof.process import early, garbage

_INSTEAD = "use the command `switchproof`, which takes the same options and loads no conftest.py of your tests"


def begin(config: pytest.Config) -> None:
    """Prepare pytest for a deploy, before anything else of the package is imported."""
    garbage.wait()
    _keep_messages(config)
    _read_again(config)


def _keep_messages(config: pytest.Config) -> None:
    """Keep pytest from rewriting assertions of the package: that indents the lines of a check's message."""
    names: set[str] = getattr(config.pluginmanager.rewrite_hook, "_must_rewrite", set())
    names.discard(__package__)


def _read_again(config: pytest.Config) -> None:
    """Read the command line again if pytest mistakes an option's value for a path of tests.

    Before the options are registered, `--targets FILE` is an unknown switch and a path, which decides about the root
    directory and about which `conftest.py` is loaded.
    """
    argv = [str(word) for word in config.invocation_params.args]
    joined = options.join_values(argv)
    misread = set(argv) - set(joined)
    if any(Path(word.partition("::")[0]).exists() for word in misread if not word.startswith("-")):
        _start_again(argv, joined)


def refuse_broken(error: Exception) -> None:
    """Name a `conftest.py` that cannot be imported, and what to use instead.

    Raises:
        UsageError: The error is about a `conftest.py`.
    """
    path, cause = getattr(error, "path", None), getattr(error, "cause", None)
    if path is not None and cause is not None:
        _refuse(f"{path} cannot be imported ({type(cause).__name__}: {cause})")


def proceed(config: pytest.Config, foreign: Sequence[str]) -> None:
    """Leave out every `conftest.py` that pytest has loaded, if the session is really a deploy.

    Raises:
        UsageError: A `conftest.py` or another plugin registers the same option.
    """
    if options.belongs_to_others(foreign):
        early.begun()
        return
    if foreign:
        _refuse(f"{', '.join(foreign)}: your conftest.py or a plugin also defines an option of this name")
    conftests.leave_out(config)


def _refuse(problem: str) -> NoReturn:
    early.begun()
    raise pytest.UsageError(f"{problem}: {_INSTEAD}") from None


def _start_again(argv: list[str], joined: list[str]) -> None:
    """Start this process again with each value joined to its option, because pytest has already chosen a root.

    Raises:
        UsageError: The command line is not this process's own.
    """
    own = len(sys.orig_argv) - len(argv)
    if own < 1 or sys.orig_argv[own:] != argv:
        changed = next(word for word in joined if word not in argv)
        early.begun()
        raise pytest.UsageError(f"write {changed}: pytest reads a separate value as a path of tests")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:own], *joined])  # noqa: S606 - no shell
