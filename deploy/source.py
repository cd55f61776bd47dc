"""One commit of a clone on this machine, for hosts that do not fetch it themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from switchproof.deploy.errors import Inconclusive, UsageError

GIT_S = 120.0
"""Seconds for one call of git on a local clone."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHOWN = 3
"""Files that a message names."""

OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")
"""Variables that lead git to another repository than the one that it is called for."""

_SOMEBODY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "switchproof"), ("EMAIL", "switchproof@localhost"))
}


_OPEN = {"http", "https", "git"}
"""Schemes of URLs that can be fetched without a key, and are the same from everywhere."""


class Input(msgspec.Struct, frozen=True):
    """A locked input of a flake.

    Attributes:
        name: Its name in flake.lock.
        url: The place from which nix fetches it, without user and password.
        is_private: Whether hosts cannot fetch it as it is: it takes a key, or is a place on this machine.
    """

    name: str
    url: str
    is_private: bool


class Source(msgspec.Struct, frozen=True):
    """A commit to send.

    Attributes:
        clone: The clone that contains it, absolute.
        commit: The full commit.
        tree: The hash of its tree if that is not committed in the clone; else empty.
        inputs: The locked inputs of its flake that are sent as well.
    """

    clone: Path
    commit: str
    tree: str = ""
    inputs: tuple[Input, ...] = ()

    @contextmanager
    def bundle(self, known: Collection[str]) -> Iterator[Path]:
        """Make a file from which git fetches the commit; it is deleted at the end.

        Args:
            known: Commits that the receiver has, with all that they need; others are left out.

        Raises:
            Inconclusive: git cannot read the clone.
        """
        with tempfile.TemporaryDirectory(prefix="switchproof-source-", ignore_cleanup_errors=True) as folder:
            file = Path(folder) / "bundle"
            try:
                own = self.repository(Path(folder))
                left_out = self._left_out(own, known)
                git(own, "bundle", "create", "--quiet", str(file), "--stdin", told="\n".join(left_out))
            except (UsageError, OSError) as error:
                raise Inconclusive(f"{self.commit} cannot be read from {self.clone}: {error}") from error
            yield file

    def repository(self, folder: Path) -> Path:
        """Make a repository with the commit on a branch and the objects of the clone, which does not change.

        Raises:
            UsageError: git cannot read the clone.
            OSError: The folder cannot be written.
        """
        objects = git(self.clone, "rev-parse", "--path-format=absolute", "--git-path", "objects")
        own = folder / "git"
        git(folder, "init", "--quiet", "--bare", str(own))
        (own / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")
        git(own, "update-ref", "refs/heads/switchproof", self.commit)
        return own

    def _left_out(self, repository: Path, known: Collection[str]) -> list[str]:
        """Return the lines for `git bundle`: the name, and what the receiver has; a bundle must not be empty."""
        name = "refs/heads/switchproof"
        asked = "\n".join(commit for commit in known if _COMMIT.fullmatch(commit))
        kinds = git(repository, "cat-file", "--batch-check=%(objectname) %(objecttype)", told=asked)
        there = [line.split()[0] for line in kinds.splitlines() if line.endswith(" commit")]
        excluded = [f"^{commit}" for commit in there]
        if not git(repository, "rev-list", "--max-count=1", "--stdin", told="\n".join([self.commit, *excluded])):
            excluded = [f"^{self.commit}^@"]
        return [name, *excluded]


def find_source(clone: str, revision: str | None, *, dirty: bool) -> Source:
    """Find what to send.

    Args:
        clone: A folder of a git repository.
        revision: A branch, tag or commit of the clone; None for its working tree.
        dirty: Whether the working tree is meant.

    Raises:
        UsageError: It cannot be sent; the message says why.
    """
    folder = Path(clone).absolute()
    option = f"--source={clone}"
    try:
        top = _whole_clone(folder)
        return _working_tree(top) if dirty else Source(top, _commit(top, revision or "HEAD"))
    except (UsageError, OSError) as error:
        raise UsageError(f"{option}: {error}") from error


def locked_inputs(source: Source) -> tuple[Input, ...]:
    """Return the inputs that the flake.lock of a commit names; none if it has no such file or one of another form."""
    try:
        text = git(source.clone, "show", f"{source.commit}:flake.lock")
        nodes = msgspec.json.decode(text, type=_Lock).nodes
    except (UsageError, msgspec.MsgspecError):  # nix says what is wrong with it
        return ()
    return tuple(_input(name, node.locked) for name, node in nodes.items() if node.locked)


class _Locked(msgspec.Struct, frozen=True):
    type: str
    url: str = ""
    path: str = ""
    owner: str = ""
    repo: str = ""


class _Node(msgspec.Struct, frozen=True):
    locked: _Locked | None = None


class _Lock(msgspec.Struct, frozen=True):
    nodes: dict[str, _Node]


def _input(name: str, locked: _Locked) -> Input:
    if locked.type == "path":  # a relative one is a part of the commit itself
        return Input(name, f"path:{locked.path}", is_private=locked.path.startswith("/"))
    if not locked.url:
        return Input(name, f"{locked.type}:{locked.owner}/{locked.repo}", is_private=False)
    url = urlsplit(locked.url)
    place = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}" if url.scheme else url.path
    return Input(name, f"{locked.type}+{place}", is_private=url.scheme not in _OPEN)


def _whole_clone(folder: Path) -> Path:
    """Return the top of a clone that has all its commits and their files."""
    if git(folder, "rev-parse", "--is-shallow-repository") != "false":
        raise UsageError("it is a shallow clone, which lacks earlier commits; run `git fetch --unshallow` there")
    if any(name.endswith(".promisor") for name in git(folder, "config", "--list", "--name-only").splitlines()):
        raise UsageError("it is a partial clone, which lacks files of its commits; use one made without --filter")
    return Path(git(folder, "rev-parse", "--show-toplevel"))


def _commit(clone: Path, revision: str) -> str:
    """Return the one commit that a revision means in a clone, whose own branches come first."""
    if _COMMIT.fullmatch(revision.lower()):
        names = [revision.lower()]
    else:
        names = [f"refs/heads/{revision.removeprefix('heads/')}", f"refs/tags/{revision.removeprefix('tags/')}"]
    found = {}
    for name in names:
        try:
            found[name] = git(clone, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")
        except UsageError:
            continue
    if not found and re.fullmatch("[0-9a-fA-F]{4,39}", revision):
        found[revision] = git(clone, "rev-parse", "--verify", f"{revision}^{{commit}}")
    if not found:
        raise UsageError(f"the clone has no commit, branch or tag {revision!r}")
    if len(set(found.values())) > 1:
        raise UsageError(f"{revision!r} is a branch and a tag; write heads/{revision} or tags/{revision}")
    return next(iter(found.values()))


def _working_tree(clone: Path) -> Source:
    """Make a commit of all tracked files as they are. The clone's own index and branches stay as they are."""
    head = git(clone, "rev-parse", "--verify", "HEAD")
    if untracked := git(clone, "ls-files", "--others", "--exclude-standard").splitlines():
        shown = ", ".join(untracked[:_SHOWN]) + (f" and {len(untracked) - _SHOWN} more" if untracked[_SHOWN:] else "")
        raise UsageError(f"untracked files would be left out: {shown}; add them with `git add`, or ignore them")
    with tempfile.TemporaryDirectory(prefix="switchproof-index-") as folder:
        own = {"GIT_INDEX_FILE": f"{folder}/index"}
        shutil.copy(git(clone, "rev-parse", "--path-format=absolute", "--git-path", "index"), f"{folder}/index")
        git(clone, "add", "--update", environment=own)
        tree = git(clone, "write-tree", environment=own)
    # The same tree on the same commit is the same commit again.
    date = git(clone, "show", "--no-patch", "--format=%cI", head)
    somebody = {**_SOMEBODY, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    text = f"The working tree {tree}, which is not committed"
    return Source(clone, git(clone, "commit-tree", tree, "-p", head, "-m", text, environment=somebody), tree)


def git(folder: Path, *arguments: str, told: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run git in a folder, and return its output without the last line feed.

    Raises:
        UsageError: It failed; the message is its last line.
    """
    given = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
    command: Sequence[str] = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            input=told,
            stdin=subprocess.DEVNULL if told is None else None,
            env={**given, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(environment or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"git {arguments[0]} did not end within {GIT_S:g} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UsageError(
            lines[-1].removeprefix("fatal: ")
            if lines
            else f"git {arguments[0]} failed with exit status {done.returncode}"
        )
    return done.stdout.rstrip("\n")
