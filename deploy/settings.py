"""The folders of target files and runs in a repository: defaults, and `[tool.switchproof]` of pyproject.toml."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path

import msgspec

from switchproof.deploy.errors import UsageError

TARGETS = Path(__file__).resolve().parent / "targets"
"""The target files in the package: those of the lab, which makes its own hosts, and examples."""

_LAB = ("lab", "lab-aws")
_EXAMPLES = ("aws", "local")
"""Providers with an example target file in the package; `init` writes the files of hosts over SSH."""

_FOLDER = Path("deploy", "targets")
_RUNS = Path("reports", "runs")
_KEYS = ("report-dir", "targets")


class Settings(msgspec.Struct, frozen=True):
    """The folders of the repository in which a command runs.

    Attributes:
        root: The repository's root directory.
        targets: The folder of target files.
        report_dir: The folder of runs.
    """

    root: Path
    targets: Path
    report_dir: Path

    def target_file(self, name: str) -> Path:
        """Return the path of a target file by name; for the lab the package's own if the repository has none."""
        path = self.targets / f"{name}.toml"
        return TARGETS / path.name if name in _LAB and not path.exists() else path

    def missing(self, name: str, path: Path) -> str:
        """Return the message about a missing target file, with the nearest one and how to write one.

        Args:
            name: The provider.
            path: The path that its target file should have.
        """
        known = sorted({"lab", *(file.stem for file in self.targets.glob("*.toml") if file.stem not in _LAB)})
        near = difflib.get_close_matches(name, known, 1)
        others = f"did you mean --provider={near[0]}?" if near else f"there are {', '.join(known)}."
        write = f"start from the example {TARGETS / path.name}" if name in _EXAMPLES else f"`switchproof init {name}`"
        return (
            f"{path}: no such target file, but --provider={name} needs it; {others} To write one: {write}. "
            "To use another file: --targets=FILE"
        )

    @property
    def home(self) -> Path:
        """The folder of the link `latest` and the index: above the default folder of runs, else that of the runs."""
        return self.home_of(self.report_dir)

    def home_of(self, kept_in: Path) -> Path:
        """Return the folder of the link `latest` and the index for any folder of runs."""
        return kept_in.absolute().parent if kept_in.absolute() == self.root / _RUNS else kept_in

    @property
    def trials(self) -> Path:
        """The folder of trials."""
        return self.report_dir.parent / "trials"


def find_root(folder: Path) -> Path:
    """Return the nearest folder upwards with a pyproject.toml or a .git; without one, the folder itself."""
    above = (folder, *folder.parents)
    return next((each for each in above if (each / "pyproject.toml").is_file() or (each / ".git").exists()), folder)


def read_settings(folder: Path) -> Settings:
    """Read the settings of the repository that a folder is in.

    Args:
        folder: The working directory, absolute.

    Raises:
        UsageError: pyproject.toml is wrong; the message names the key.
    """
    root = find_root(folder)
    given = _table(root / "pyproject.toml")
    return Settings(root, root / given.get("targets", _FOLDER), root / given.get("report-dir", _RUNS))


def _table(path: Path) -> dict[str, str]:
    """Return `[tool.switchproof]` of a pyproject.toml; empty without such a file or table."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if "switchproof" not in text:
        return {}
    try:
        tools = tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    table = tools.get("switchproof", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: tool.switchproof: expected a table")
    for key, value in table.items():
        if key not in _KEYS:
            raise UsageError(f"{path}: tool.switchproof.{key}: unknown key; known: {', '.join(_KEYS)}")
        if not isinstance(value, str) or not value:
            raise UsageError(f"{path}: tool.switchproof.{key}: expected the path of a folder, found {value!r}")
    return table
