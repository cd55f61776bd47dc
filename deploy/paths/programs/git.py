"""Git: the commit that a call chooses, and whether it can be another one tomorrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchproof.deploy.paths.meaning import is_moving
from switchproof.deploy.paths.survey import Kind
from switchproof.deploy.paths.values import Values, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


_CHANGES_FILES = frozenset({"checkout", "clone", "merge", "pull", "rebase", "reset", "restore", "stash", "switch"})
"""Verbs that change the files of a working copy, which on a host may be what it runs."""


def git(walker: Walker, call: Call) -> None:
    """Note a commit that git takes from a branch."""
    words = list(call.words)
    while words and words[0][0].startswith("-"):
        option = words.pop(0)[0]
        if option in {"-C", "-c", "--git-dir", "--work-tree"} and words:
            words.pop(0)
    if not words:
        return
    verb, rest = words[0][0], words[1:]
    names = [word for word in rest if not word[0].startswith("-")]
    if any("switchproof" in text.lower() for word in rest for text in word) or _in_switchproof(call):
        walker.fetched_switchproof = True
        walker.trail.fetched_branch = any(is_moving(text) for word in names for text in word)
        if walker.trail.fetched_branch:
            walker.trail.find(Kind.FLOATING, call.place, "Switchproof itself is fetched by a branch")
        return
    if verb in _CHANGES_FILES and call.text.provider not in {"local", "lab"}:
        walker.note_change(call, f"git {verb}")
    match verb:
        case "pull":
            walker.trail.find(Kind.FLOATING, call.place, "git pull takes the head of the branch at that time")
        case "fetch":
            revisions = names[1:]
            walker.trail.fetched_branch = not revisions or any(is_moving(text) for word in revisions for text in word)
        case "clone":
            branch = call.option("--branch", "-b")
            if branch and not any(is_moving(text, any_name=True) for text in branch):
                return
            walker.trail.cloned = call.place
        case "checkout" | "merge" | "rebase" | "reset" | "switch":
            _choose(walker, call, [word for word in names if word[0] != "--"])
        case "submodule" if any(word[0] == "--remote" for word in rest):
            walker.trail.find(Kind.FLOATING, call.place, "the submodules' branches are followed")


def _in_switchproof(call: Call) -> bool:
    folder = call.option("-C")
    return "switchproof" in call.scope.folder.lower() or bool(folder and "switchproof" in folder[0].lower())


def _choose(walker: Walker, call: Call, names: list[Values]) -> None:
    for text in (text for word in names for text in word):
        if is_moving(text) or (text == "FETCH_HEAD" and walker.trail.fetched_branch):
            walker.trail.find(Kind.FLOATING, call.place, f"{shown(text)} can be another commit tomorrow")
            return
    if names:
        walker.trail.cloned = None
