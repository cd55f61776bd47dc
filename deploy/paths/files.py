"""The files of a repository, read as text; no path leads outside of it."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from pathlib import Path

from switchproof.deploy.errors import UsageError
from switchproof.deploy.paths.survey import Place
from switchproof.deploy.paths.values import after_marks, is_known

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")

LARGEST = 2_000_000
"""Bytes of the largest file that is read."""


class Files:
    """The files of a repository.

    Args:
        root: Its folder.
        label: Prefix of shown paths, for a repository other than the surveyed one.

    Attributes:
        followed: The scripts that an entry point runs and that were followed.

    Raises:
        UsageError: The folder does not exist.
    """

    def __init__(self, root: Path, label: str = "") -> None:
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder; name the working copy of a repository")
        self.root = root.resolve()
        self._label = label
        self.followed: set[str] = set()

    @functools.cached_property
    def listing(self) -> tuple[str, ...]:
        """Every file except those of git and of tools."""
        files = []
        stack = [self.root]
        while stack:
            try:
                entries = sorted(stack.pop().iterdir())
            except OSError as error:
                raise UsageError(f"{self.root}: one of its folders cannot be read: {error}") from error
            for entry in entries:
                if entry.name in {".git", "node_modules", ".venv", "target", "result"}:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    stack.append(entry)
                elif not entry.is_dir():
                    files.append(entry.relative_to(self.root).as_posix())
        return tuple(sorted(files))

    def commit(self) -> str | None:
        """Return the checked-out commit from git's files; git itself would run programs that they configure."""
        try:
            folder = self.root / ".git"
            if folder.is_file():  # a linked working tree
                folder = self.root / _small(folder).removeprefix("gitdir:").strip()
            head = _small(folder / "HEAD").strip()
            if not head.startswith("ref: "):
                return head if _COMMIT.fullmatch(head) else None
            common = folder / "commondir"
            base = folder / _small(common).strip() if common.exists() else folder
            name = head.removeprefix("ref: ")
            if (base / name).is_file():
                commit = _small(base / name).strip()
                return commit if _COMMIT.fullmatch(commit) else None
            packed = _small(base / "packed-refs").splitlines()
        except (OSError, ValueError):
            return None
        rows = (line.split(" ") for line in packed)
        return next((row[0] for row in rows if row[1:] == [name] and _COMMIT.fullmatch(row[0])), None)

    def is_file(self, path: str) -> bool:
        """Whether a path names a file within the repository."""
        try:
            real = (self.root / path).resolve()
        except (OSError, ValueError, RuntimeError):
            return False
        return real.is_relative_to(self.root) and real.is_file()

    def unreadable(self, path: str) -> str | None:
        """Return why a path cannot be read as text; None if it can, or if nothing is there."""
        place = self.root / path
        if not os.path.lexists(place) or place.is_dir():
            return None
        if not self.is_file(path):
            return "not a regular file in the repository, so it is not read"
        if self.text(path) is None:
            return f"not text, or larger than {LARGEST} bytes, so it is not read"
        return None

    def text(self, path: str) -> str | None:
        """Return a file's text; None if it is missing, binary or too long."""
        if not self.is_file(path):
            return None
        try:
            with (self.root / path).open("rb") as file:
                content = file.read(LARGEST + 1)
        except OSError:
            return None
        if len(content) > LARGEST or b"\0" in content:
            return None
        return content.decode(errors="replace")

    @functools.cache  # noqa: B019 - lives as long as the survey
    def lines(self, path: str) -> tuple[str, ...]:
        """Return the lines of a file; empty if it cannot be read."""
        return tuple((self.text(path) or "").splitlines())

    def place(self, path: str, line: int) -> Place:
        """Return a line of a file as a place."""
        lines = self.lines(path)
        shown = lines[line - 1].strip()[:200] if 0 < line <= len(lines) else ""
        return Place(file=self._label + path, line=line, text=shown)

    def find(self, path: str, *folders: str) -> str | None:
        """Find the file that a script refers to.

        Args:
            path: The path, perhaps with marks.
            folders: Folders that it may be relative to, besides the root.

        Returns:
            Its path from the root; None if the repository has no such file.
        """
        known = is_known(path)
        path = path if known else after_marks(path).lstrip("/")
        if not path:
            return None
        if not path.startswith("/") and known:
            for folder in (*folders, "."):
                candidate = posixpath.normpath(posixpath.join(folder, path))
                if not candidate.startswith("..") and self.is_file(candidate):
                    return candidate
            return None
        return self.ending(path, least=1 if not known else 2)

    def ending(self, path: str, least: int) -> str | None:
        """Find the file that a path outside the repository ends with, such as one in a checkout on a host.

        Args:
            path: The path.
            least: How many components the file must share with it.
        """
        parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
        for start in range(len(parts) - least + 1):
            candidate = "/".join(parts[start:])
            if candidate and self.is_file(candidate):
                return candidate
        return None

    def called(self, name: str) -> list[str]:
        """Return every file with a name."""
        return [path for path in self.listing if posixpath.basename(path) == name]


def _small(path: Path) -> str:
    """Read a file of git; refuse a FIFO or a device, which would never end.

    Raises:
        OSError: It cannot be read, or is not a regular file.
        ValueError: It is not text.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        return file.read(16 * LARGEST).decode()
