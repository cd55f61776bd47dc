"""Writes the lab's sample repository: a bare git repository whose commits are the same wherever it is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from switchproof.deploy.providers.lab import process
from switchproof.deploy.providers.lab.errors import CommandFailedError
from switchproof.deploy.providers.lab.revisions import REVISIONS, Clause, Edit, Revision

__all__ = ["REVISIONS", "Clause", "Edit", "Revision", "build_repository", "tree"]

SAMPLE: Final = Path(__file__).parent / "sample"
_WHO: Final = "ChoirOS <release@choiros.example>"
_EPOCH: Final = 1_767_225_600  # 2026-01-01T00:00:00Z; each revision is a minute younger than the one before

Tree = dict[str, str]


def tree(revision: Revision) -> Tree:
    """All files of a revision, by path.

    Raises:
        ValueError: an edit does not fit the file that it changes.
    """
    if revision.parent is None:
        paths = sorted(path for path in SAMPLE.rglob("*") if path.is_file())
        files = {path.relative_to(SAMPLE).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    else:
        files = tree(next(parent for parent in REVISIONS if parent.ref == revision.parent))
    for edit in revision.edits:
        files[edit.path] = _edited(files, edit, revision)
    return files


def build_repository(path: Path) -> None:
    """Make the bare repository at `path`, with a branch or tag for every revision.

    Raises:
        ValueError: an edit does not fit the file that it changes.
        CommandFailedError: git failed; the message holds its words.
    """
    # The person's own git configuration would change hashes and branch names, and GIT_DIR, which is set while
    # a git hook runs, the repository that is written to.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    init = ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(path)]
    process.check(init, timeout_s=20, env=environment)
    stream = "".join(_commands(number, revision) for number, revision in enumerate(REVISIONS, start=1))
    load = ["git", "-C", str(path), "fast-import", "--quiet", "--done"]
    loaded = process.run(load, timeout_s=20, env=environment, input=stream + "done\n")
    if loaded.returncode != 0:
        raise CommandFailedError(f"git could not make the sample repository {path}:\n{loaded.stderr.strip()}")


def _edited(files: Tree, edit: Edit, revision: Revision) -> str:
    if edit.old == "" and edit.path not in files:
        return edit.new
    text = files.get(edit.path, "")
    if text.count(edit.old) != 1:
        raise ValueError(
            f"{revision.ref}: {edit.path} must hold {edit.old!r} once, and holds it {text.count(edit.old)} times; "
            "bring the edit and the sample's file together again"
        )
    return text.replace(edit.old, edit.new)


def _commands(number: int, revision: Revision) -> str:
    """What `git fast-import` is told about one revision."""
    when = f"{_WHO} {_EPOCH + 60 * number} +0000"
    # A commit is made through a branch; that of an annotated tag goes away again.
    branch = "refs/heads/import" if revision.annotated else revision.ref
    parts = [f"commit {branch}\nmark :{number}\ncommitter {when}\n", _data(revision.title + "\n")]
    if revision.parent is not None:
        parent = next(n for n, other in enumerate(REVISIONS, start=1) if other.ref == revision.parent)
        parts.append(f"from :{parent}\n")
    parts.append("deleteall\n")
    for path, text in tree(revision).items():
        parts += [f"M 100644 inline {path}\n", _data(text)]
    if revision.annotated:
        parts.append(f"reset {branch}\nfrom {'0' * 40}\n\n")
        parts.append(f"tag {revision.name}\nfrom :{number}\ntagger {when}\n")
        parts.append(_data(revision.title + "\n"))
    return "".join(parts)


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"
