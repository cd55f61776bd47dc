"""What the host's script did, function by function, held against the protocol's steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from tests.protocol.explore import explore
from tests.protocol.state import Run, State
from tests.protocol.steps import NONE, steps

SILENT = frozenset({"", "guarded", "conclude", "due", "verb_guard"})
"""Functions that are entered also where they come to nothing, so that entering them says nothing."""

CALLER = {"run_switch": "restore", "set_what_boots": "undo_refused", "end_job": "verb_job"}
"""Functions that are a step of the protocol only where this one calls them."""


class Entered(NamedTuple):
    """A function that a process entered."""

    actor: str
    function: str


@cache
def functions() -> frozenset[str]:
    """Every function of the script that a step names."""
    found = explore(State(faults="FP", b=Run(runner="left")))
    return frozenset(came[1].function for came in found.came.values() if came) - {""}


def traced(script: str, log: str) -> str:
    """Have a script write down each such function that it enters, with the run, the verb and the calling function.

    Args:
        script: The text of `host-switch.sh`.
        log: A file on the host.
    """
    line = 'printf "%s %s %s %s\\n" "$RUN" "$VERB"'
    wrapped = "".join(
        f'eval "traced_$(declare -f {name})"\n'
        f'{name}() {{ {line} {name} "${{FUNCNAME[1]#traced_}}" >>{log}; traced_{name} "$@"; }}\n'
        for name in sorted(functions() - SILENT)
    )
    body, last = script.rsplit('\nmain "$@"', 1)
    return f'{body}\nreadonly VERB=$1\n{wrapped}main "$@"{last}'


def read(log: str) -> list[Entered]:
    """Read what was written down; a function that one process enters several times in a row stands there once."""
    entered: list[Entered] = []
    last: dict[str, Entered] = {}
    for line in log.splitlines():
        run, verb, function, caller = line.split()
        actor = {"job": f"{run}.job", "guard": "guard"}.get(verb, f"{run}.verb")
        if CALLER.get(function, caller) != caller:
            continue
        step = Entered(actor, function)
        if last.get(actor) != step:
            entered.append(step)
        last[actor] = step
    return entered


def refused(trace: Sequence[Entered], first: State) -> str:
    """Say where a trace leaves the protocol; empty if the protocol accepts all of it."""
    states, last = {first}, dict[str, str]()
    for number, entered in enumerate(trace):
        reached = _unseen(states, last)
        states = {
            step.after
            for state in reached
            for step in steps(state, NONE)
            if (step.actor, step.function) == (entered.actor, entered.function)
        }
        last[entered.actor] = entered.function
        if not states:
            before = ", ".join(" ".join(step) for step in trace[:number]) or "the beginning"
            return f"{entered.actor} enters {entered.function} after {before}"
    return ""


def _unseen(states: Iterable[State], last: dict[str, str]) -> set[State]:
    """Add what a trace does not show: the steps of others than the script, and further ones of a function entered."""
    reached = set(states)
    todo = list(reached)
    while todo:
        for step in steps(todo.pop(), NONE):
            if (step.function in SILENT or step.function == last.get(step.actor)) and step.after not in reached:
                reached.add(step.after)
                todo.append(step.after)
    return reached
