"""Every interleaving of the protocol's steps: the states that can be reached, and what must hold in each of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.protocol.state import RUNS, State
from tests.protocol.steps import NONE, Mistakes, Step, steps, taken


@dataclass
class Explored:
    """The states that were reached, each with how it was reached first, and what was wrong in any of them."""

    came: dict[State, tuple[State, Step] | None]
    ways: dict[State, list[State]] = field(default_factory=dict)
    wrong: dict[str, State] = field(default_factory=dict)

    def path(self, state: State) -> list[str]:
        """The steps that lead to a state, one a line."""
        told: list[str] = []
        while (came := self.came[state]) is not None:
            before, step = came
            changed = [
                f"{name}={new}"
                for name, old, new in zip(State._fields, before, step.after, strict=True)
                if old != new and name not in RUNS
            ]
            changed += [
                f"{run}.{name}={new}"
                for run in RUNS
                for name, old, new in zip(before.a._fields, before.run(run), step.after.run(run), strict=True)
                if old != new
            ]
            told.append(f"{step.actor} {step.function}: {', '.join(changed)}")
            state = before
        return told[::-1]


def explore(first: State, mistakes: Mistakes = NONE, *, until: str = "") -> Explored:
    """Take every step in every order from a host at rest; end as soon as a problem of that name was seen."""
    found = Explored({first: None})
    todo = deque([first])
    while todo and until not in found.wrong:
        state = todo.popleft()
        after = found.ways[state] = []
        for step in steps(state, mistakes):
            after.append(step.after)
            if step.after not in found.came:
                found.came[step.after] = (state, step)
                todo.append(step.after)
        for problem in problems(state, mistakes, goes_on=bool(after)):
            found.wrong.setdefault(problem, state)
    trapped = found.came.keys() - _leading_to(found.ways, rests)
    if trapped:
        found.wrong["a state that no verb can leave"] = next(state for state in found.came if state in trapped)
    return found


def problems(state: State, mistakes: Mistakes, *, goes_on: bool) -> Iterator[str]:
    """Say what must never be seen and is seen in a state."""
    changing = {name for name in RUNS if state.run(name).job in _CHANGING}
    changing |= {state.guards} if state.guard in {"profile", "activate", "boots", "running"} else set()
    if len(changing) > 1:
        yield "two owners"
    if state.guard in {"profile", "activate", "boots", "running"} and state.run(state.guards).decided == "confirm":
        yield "a confirmed system that goes back"
    for name in RUNS:
        run = state.run(name)
        mine = state.running == name
        if run.decided == "confirm" and mine and any(state.run(other).before != name for other in changing - {name}):
            yield "a confirmed system that goes back"
        if run.decided == "confirm" and mine and state.boots != name and not (changing or state.switching):
            yield "a confirmed system that a reboot leaves"
        over = run.runner in {"dead", "left", "kept"} and not (run.verb or run.echo or run.at_work)
        if mine and over and run.decided != "confirm" and not (state.guard and state.guards == name):
            yield "an unconfirmed system that stays"
    waits = state.pending != "" and state.decided != "confirm"
    if passes_audit(state, mistakes) and waits:
        yield "an audit passes a host that is about to go back"
    if not goes_on and not rests(state):
        yield "an end in which somebody still has the host"


def passes_audit(state: State, mistakes: Mistakes) -> bool:
    """Whether an audit finds nothing wrong with what runs, what is set, what boots and what waits."""
    one_system = state.running == state.profile and (mistakes.audits_the_moment or state.running == state.boots)
    return one_system and (mistakes.audits_the_moment or not state.pending or state.decided == "confirm")


def rests(state: State) -> bool:
    """Whether everybody has ended, and a newcomer gets the host."""
    return not (
        state.guard
        or state.switching
        or state.hand not in {"", "ended"}
        or any(run.at_work or run.verb or run.echo for run in (state.a, state.b))
    ) and taken(state, "newcomer") in {"", "disarm"}


_CHANGING = {"profile", "activate", "boots", "running", "earlier"} | {
    f"back.{step}" for step in ("profile", "activate", "boots", "running")
}


def _leading_to(ways: Mapping[State, list[State]], wanted: Callable[[State], bool]) -> set[State]:
    """The states from which some sequence of steps leads to a wanted one."""
    back: dict[State, list[State]] = {}
    for state, after in ways.items():
        for later in after:
            back.setdefault(later, []).append(state)
    seen = {state for state in ways if wanted(state)}
    todo = deque(seen)
    while todo:
        for state in back.get(todo.popleft(), ()):
            if state not in seen:
                seen.add(state)
                todo.append(state)
    return seen
