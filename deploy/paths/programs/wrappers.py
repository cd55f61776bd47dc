"""Programs that run the command in their arguments, such as sudo, env and timeout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from switchproof.deploy.paths.meaning import LEADING, LEADING_VALUES, RUNNERS, WRAPPERS
from switchproof.deploy.paths.programs.shells import inline
from switchproof.deploy.paths.values import Values, joined

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


def is_runner(call: Call) -> bool:
    """Whether a call is one such as `uv run`, whose subcommand runs a program."""
    return call.name in RUNNERS and bool(call.words) and call.plain[0] in RUNNERS[call.name]


def run_wrapped(walker: Walker, call: Call) -> None:
    """Follow the command in a program's arguments."""
    with_value = WRAPPERS.get(call.name, LEADING_VALUES)
    words = list(call.words)
    if is_runner(call):
        words = words[1:]
    leading = LEADING.get(call.name, 0)
    assigned: dict[str, Values] = {}
    while words:
        word = words[0][0]
        if word == "--":
            words.pop(0)
        elif word.startswith("-") and word != "-":
            if call.name == "command" and word in {"-v", "-V"}:
                return  # only asks whether the program exists
            words.pop(0)
            if word in with_value and words:
                words.pop(0)
        elif "=" in word and word.partition("=")[0].isidentifier():
            name = word.partition("=")[0]
            assigned[name] = tuple(each.partition("=")[2] for each in words.pop(0))
        elif leading:
            leading -= 1
            words.pop(0)
        else:
            break
    walker.note_assigned(assigned, call.place)
    if words:
        walker.again(call, words)


def other_user(walker: Walker, call: Call) -> None:
    """Follow the command of su and runuser."""
    if command := call.option("-c", "--command"):
        inline(walker, call, command)
    elif "--" in call.plain and (words := call.words[call.plain.index("--") + 1 :]):
        walker.again(call, words)


_TERMINAL_VALUES = frozenset({"-c", "-e", "-F", "-L", "-n", "-p", "-S", "-s", "-t", "-dmS"})
"""Options of tmux and screen that take a value."""
_TERMINAL_VERBS = frozenset(
    {"new", "new-session", "new-window", "neww", "respawn-pane", "run-shell", "send-keys", "split-window"}
)
"""Verbs of tmux that run a command."""


def in_terminal(walker: Walker, call: Call) -> None:
    """Follow the command that tmux or screen runs in a terminal of its own."""
    words = _after_options(call.words)
    if call.name == "tmux":
        if not words or words[0][0] not in _TERMINAL_VERBS:
            return
        words = _after_options(words[1:])
    if command := [word for word in words if word[0] not in {"Enter", "C-m"}]:
        inline(walker, call, joined(command, " "))


def _after_options(words: Sequence[Values]) -> list[Values]:
    rest = list(words)
    while rest and rest[0][0].startswith("-"):
        option = rest.pop(0)[0]
        del rest[: option in _TERMINAL_VALUES]
    return rest


def find_exec(walker: Walker, call: Call) -> None:
    """Follow the command of find's `-exec`."""
    for option in ("-exec", "-execdir", "-ok"):
        if option in call.plain and (words := call.words[call.plain.index(option) + 1 :]):
            walker.again(call, [word for word in words if word[0] not in {";", "+", "{}"}])
