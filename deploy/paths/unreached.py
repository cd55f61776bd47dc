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

_PROGRAMS = re.compile(
    r"^(?:[^/]*|(?:.*/)?(?:bin|ci|cron\.\w+|hack|ops|scripts?|systemd|tools|units)/.*)"
    r"\.(?:cjs|exs?|fish|js|lua|mjs|nu|php|pl|ps1|py|rb|service|tcl|ts)$"
    r"|(?:^|/)(?:crontab[^/]*|appveyor\.yml|[^/]+\.(?:cron|service|timer))$|^\.?(?:appveyor\.yml$|tekton/)"
)
"""Programs where people keep what they run, unit files, tables of cron, and files of services that are not read."""
_SWITCHES = re.compile(
    r"\b(nixos-rebuild)\W[^#\n]{0,120}\b(?:switch|boot|test)\b|\b(switch-to-configuration)\b"
    r"|\b(colmena)\W[^\n]{0,60}\bapply\b|\b(nh)\W{1,6}os\W{1,6}(?:switch|boot|test)\b"
    r"|\b(morph)\W{1,6}deploy\b|\b(deploy-rs)\b|\b(nixos-anywhere)\b"
)
"""Commands that put a system on a host, also as words of a list."""

_TESTS = frozenset({"test", "tests", "spec"})

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
        text = self._files.text(path) if is_shell or "." not in path or _PROGRAMS.search(path) else None
        if text is None:
            return
        if not (is_shell or _SHELL_LINE.match(text)):
            if (_PROGRAMS.search(path) or text.startswith("#!")) and not _TESTS & set(path.split("/")):
                yield from self._program(path, text)
            return
        walker = self._walker(path)
        walker.script(path, text)
        yield from first_change(walker.trail, "in a script that no entry point was seen to run")

    def _program(self, path: str, text: str) -> Iterator[Note]:
        """Look for a command that puts a system on a host in a program or unit file, which is not read otherwise."""
        for row, line in enumerate(text.splitlines()):
            if (found := _SWITCHES.search(line)) and not line.lstrip().startswith(("#", "//", "*", ";")):
                yield (
                    self._files.place(path, row + 1),
                    f"{found[found.lastindex or 0]} in a file that is not read, nor was it seen to be run",
                )
                return

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
