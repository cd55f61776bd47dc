"""Programs that run the command in their arguments, such as sudo, env and timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchproof.deploy.paths.meaning import LEADING, LEADING_VALUES, RUNNERS, WRAPPERS
from switchproof.deploy.paths.programs.shells import inline
from switchproof.deploy.paths.values import Values

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


def find_exec(walker: Walker, call: Call) -> None:
    """Follow the command of find's `-exec`."""
    for option in ("-exec", "-execdir", "-ok"):
        if option in call.plain and (words := call.words[call.plain.index(option) + 1 :]):
            walker.again(call, [word for word in words if word[0] not in {";", "+", "{}"}])
