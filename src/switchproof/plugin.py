"""The pytest plugin: makes a deploy's options known before pytest decides which words of the command line are paths.

Without it `--targets FILE` is refused: pytest takes FILE for a path of tests and looks for `conftest.py` beside it.
The plugin acts on a command line that was given in its own repository; in any other one it is inert.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:  # noqa: ARG001
    """Register the options of a deploy, and read the command line again where pytest has misread it."""
    config = pluginmanager.get_plugin("pytestconfig")
    if not isinstance(config, pytest.Config) or _repository(config.invocation_params.dir) != ROOT:
        return
    from switchproof.deploy import options

    pluginmanager.register(options, options.NAME)
    words = [str(word) for word in config.invocation_params.args]
    joined = options.join_values(words)
    if config.rootpath != ROOT and joined != words:
        _start_again(words, joined)


def _repository(folder: Path) -> Path | None:
    """Return the repository of Switchproof that a folder lies in, None if it lies in another or in none."""
    above = next((one for one in (folder, *folder.parents) if (one / "pyproject.toml").is_file()), None)
    return above if above and (above / "conftest.py").is_file() else None


def _start_again(words: list[str], joined: list[str]) -> None:
    """Start this process again with each value joined to its option, as the root and its settings are already chosen.

    Raises:
        UsageError: The command line is not this process's own.
    """
    own = len(sys.orig_argv) - len(words)
    if own < 1 or sys.orig_argv[own:] != words:
        changed = next(word for word in joined if word not in words)
        raise pytest.UsageError(f"write {changed}: pytest takes the value for a path of tests")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:own], *joined])  # noqa: S606 - no shell
