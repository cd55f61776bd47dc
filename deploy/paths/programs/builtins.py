"""The shell's builtins that run text, read files or change the folder."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from switchproof.deploy.paths.programs.scripts import source_file
from switchproof.deploy.paths.programs.shells import inline
from switchproof.deploy.paths.values import is_known, joined, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker

_SITE = frozenset({"/etc/profile", "/etc/os-release", "/etc/bashrc", "/etc/bash.bashrc"})


def trap(walker: Walker, call: Call) -> None:
    """Follow the text that runs at a signal."""
    if call.words and call.plain[0] not in {"-", "", "-p", "-l"}:
        inline(walker, call, call.words[0])


def evaluate(walker: Walker, call: Call) -> None:
    """Follow the text of eval."""
    if call.words and call.plain[0].startswith("⟦") and _is_harmless_eval(call.plain[0]):
        return
    inline(walker, call, joined(list(call.words), " "))


def _is_harmless_eval(text: str) -> bool:
    return any(word in text for word in ("ssh-agent", "direnv", "brew_shellenv", "shellenv"))


def source(walker: Walker, call: Call) -> None:
    """Follow a file that is read into the same shell."""
    if not call.words:
        return
    for argument in call.words[0]:
        path = walker.files.find(argument, call.scope.folder, posixpath.dirname(call.scope.script or ""))
        if path:
            source_file(walker, path, call)
        elif not (
            argument.endswith(("/bin/activate", "nix-daemon.sh", "/nix.sh", ".env"))
            or argument in _SITE
            or walker.vouches(argument)
        ):
            walker.trail.unknown(call.place, f"{shown(argument)}, which it sources, is not in the repository")


def change_folder(_: Walker, call: Call) -> None:
    """Change the folder in which the following commands find their files."""
    folder = next((word for word in call.plain if not word.startswith("-")), None)
    if folder and is_known(folder) and not folder.startswith(("/", "~")) and not call.command.conditional:
        call.scope.folder = posixpath.normpath(posixpath.join(call.scope.folder, folder))
