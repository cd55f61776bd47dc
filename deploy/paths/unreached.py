"""Finds what deploys although no entry point runs it: scripts, scripts of `package.json`, and Nix files."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator

from switchproof.deploy.paths.call import Text
from switchproof.deploy.paths.files import Files
from switchproof.deploy.paths.meaning import CONVERGES
from switchproof.deploy.paths.programs.recipes import script_key
from switchproof.deploy.paths.programs.tools import DEPLOYERS
from switchproof.deploy.paths.readers import nix
from switchproof.deploy.paths.readers.shell import Scope
from switchproof.deploy.paths.survey import Place
from switchproof.deploy.paths.trail import Trail
from switchproof.deploy.paths.walk import Walker

_SHELL_LINE = re.compile(r"#!.*\b(ba|da|z|k)?sh\b")
_FIXTURES = frozenset({"fixtures", "testdata", "__fixtures__"})
"""Folders with the input of tests, which nobody runs."""

Note = tuple[Place, str]


class Unreached:
    """What no entry point runs; ask after every entry point was followed.

    Args:
        files: The repository.
        walk: Makes a walker that takes its notes on a trail.
    """

    def __init__(self, files: Files, walk: Callable[[Trail], Walker]) -> None:
        self._files, self._walk = files, walk

    def notes(self) -> Iterator[Note]:
        """Yield each place, with what it does there.

        Raises:
            OutOfPatience: The survey has reached its limits.
        """
        for path in self._files.listing:
            if _FIXTURES & set(path.split("/")) or self._walker(path).vouches(path):
                continue
            if path.endswith(".nix"):
                yield from self._nix(path)
            elif posixpath.basename(path) == "package.json":
                yield from self._package(path)
            elif path not in self._files.followed:
                yield from self._script(path)

    def _walker(self, path: str) -> Walker:
        return self._walk(Trail(path, "just-recipe", path, self._files.place(path, 1)))

    def _script(self, path: str) -> Iterator[Note]:
        is_shell = path.endswith((".sh", ".bash"))
        text = self._files.text(path) if is_shell or "." not in path else None
        if text is None or not (is_shell or _SHELL_LINE.match(text)):
            return
        walker = self._walker(path)
        walker.script(path, text)
        yield from first_change(walker.trail, "in a script that no entry point was seen to run")

    def _package(self, path: str) -> Iterator[Note]:
        text = self._files.text(path) or ""
        try:
            scripts = json.loads(text).get("scripts", {})
        except (ValueError, AttributeError):
            return
        for name, script in scripts.items() if isinstance(scripts, dict) else ():
            if not isinstance(script, str) or script_key(path, name) in self._files.followed:
                continue
            line = next((at for at, each in enumerate(text.splitlines(), 1) if f"{json.dumps(name)}:" in each), 1)
            walker = self._walker(path)
            walker.shell(Text(script, path, (line,)), Scope(folder=posixpath.dirname(path) or "."))
            yield from first_change(walker.trail, f"in the script {name}, which no entry point was seen to run")

    def _nix(self, path: str) -> Iterator[Note]:
        text = self._files.text(path) or ""
        for row, name in nix.options(text):
            yield self._files.place(path, row + 1), f"with {name} a host deploys itself, at a time of its own"
        for row, shell in nix.commands(text):
            walker = self._walker(path)
            walker.shell(Text(shell, path, (row + 1,)), Scope())
            is_open = any("known only at run time" in each.words for each in walker.trail.not_understood.values())
            if walker.trail.actions or is_open:
                yield (
                    self._files.place(path, row + 1),
                    f"{shell.split()[0]} in a Nix file, whose callers are not read",
                )


def first_change(trail: Trail, where: str) -> Iterator[Note]:
    """Yield the first command that puts a system on a host, or changes a host over a network."""
    for action in trail.actions.values():
        if action.what in CONVERGES | set(DEPLOYERS) or action in trail.remote:
            yield action.place, f"{action.what} {where}"
            return
