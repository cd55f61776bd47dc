"""What a host ran earlier, which of it a rollback means, and what it says of going back by itself (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.frame import Frame, FrameError
from switchproof.deploy.observe.revision import is_commit, is_generation

UNREACHED = "no new connection came"
"""How a host begins to say that it went back as nobody reached it anew after its switch."""

_FIELD = "\x1f"
_SHOWN = 12


class NothingEarlier(UsageError):
    """The host does not have the system that it is to go back to."""

    refused = "a host has no such system to go back to"


@dataclass(frozen=True)
class Generation:
    """A generation of the system profile.

    Attributes:
        number: Its number; there may be gaps.
        toplevel: The store path that it points to.
        there: Whether that is still a whole system on the host: garbage collection may have taken it.
        current: Whether the profile points to it now.
        commit: The commit that it was built from, empty where nobody knows.
    """

    number: int
    toplevel: str
    there: bool
    current: bool
    commit: str

    def __str__(self) -> str:
        return f"generation {self.number}{f' of commit {self.commit[:_SHOWN]}' if self.commit else ''}"


@dataclass(frozen=True)
class Past:
    """What a host can go back to.

    Attributes:
        running: The system that it runs now.
        generations: Those of its profile, in order.
        earlier: The system that ran before the newest deploy of ours, empty if there was none.
    """

    running: str
    generations: tuple[Generation, ...]
    earlier: str

    def of(self, toplevel: str) -> Generation | None:
        """The newest generation of a system, None where there is none."""
        return next((each for each in reversed(self.generations) if each.toplevel == toplevel), None)

    def has(self, toplevel: str) -> bool:
        """Whether a system is still there, as a generation or as what ran before the newest deploy."""
        found = self.of(toplevel)
        return toplevel == self.earlier or (found is not None and found.there)

    def named(self, toplevel: str) -> str:
        """A system in words: its path, generation and commit."""
        found = self.of(toplevel)
        return f"{toplevel}{f' ({found})' if found else ''}"


@dataclass(frozen=True)
class Proven:
    """A system that a canonical run left a host with."""

    toplevel: str
    run: str


@dataclass(frozen=True)
class Choice:
    """What a rollback goes back to, chosen before anything changes.

    Attributes:
        toplevel: The system to restore.
        commit: The full commit that it was built from, empty where nobody knows.
        why: Why this one.
        intent: From what to what, in words.
    """

    toplevel: str
    commit: str
    why: str
    intent: str


@dataclass(frozen=True)
class Returned:
    """How a host went back by itself: which run nobody confirmed, when, why, from what to what, how that ended."""

    run: str
    at: str
    why: str
    source: str
    to: str
    status: str
    owner: str

    @property
    def is_unreached(self) -> bool:
        """Whether it went back as no new connection had reached it."""
        return self.why.startswith(UNREACHED)

    def message(self, run: str) -> str:
        """Say it to the reader of a run: what happened in an earlier run is not the state that this run found.

        Args:
            run: The run whose reader it is.
        """
        ended = "" if self.status == "0" else f"; that ended with {self.status or 'an unknown status'}"
        whose = f" (run {self.run}, {self.owner})" if self.owner else f" (run {self.run})"
        when = "It went" if run == self.run else "Before this run, the host went"
        return f"{when} back by itself at {self.at}: {self.why}{whose}. From {self.source} to {self.to}{ended}."


def read_past(frame: Frame) -> Past:
    """Read a host's answer to `generations`.

    Raises:
        FrameError: A part is missing or cannot be understood.
    """
    generations = []
    for line in frame.text("generations").split("\n"):
        if not line:
            continue
        fields = line.split(_FIELD)
        if len(fields) < 5 or not fields[0].isdecimal():  # noqa: PLR2004 - those that are read below
            raise FrameError(f"the host's generations cannot be understood: {line[:80]!r}")
        number, toplevel, there, current, commit = fields[:5]
        generations.append(Generation(int(number), toplevel, there == "yes", current == "yes", commit.strip()))
    return Past(
        running=frame.text("running").strip(),
        generations=tuple(sorted(generations, key=lambda each: each.number)),
        earlier=frame.get("earlier").strip(),
    )


def read_returned(frame: Frame) -> Returned | None:
    """Read what a host says of having gone back by itself, None if it does not."""
    said = dict(line.split(" ", 1) for line in frame.get("returned").split("\n") if " " in line)
    if not said:
        return None
    names = ("run", "at", "why", "from", "to", "rc", "owner")
    return Returned(*(said.get(name, "").strip() for name in names))


def choose(past: Past, asked: str | None, proven: Sequence[Proven] = ()) -> Choice:
    """Choose what a rollback goes back to.

    Args:
        past: What the host can go back to.
        asked: A generation's number or a commit; None where it was left open.
        proven: What canonical runs left the host with, newest first. Counts only where it was left open.

    Raises:
        NothingEarlier: There is no such system on the host; nothing was touched.
    """
    if asked is None:
        toplevel, why = _left_open(past, proven)
    elif is_generation(asked):
        toplevel, why = _by_number(past, int(asked)), f"--rollback={asked} asks for that generation"
    else:
        toplevel, why = _by_commit(past, asked), f"--rollback={asked} asks for that commit"
    found = past.of(toplevel)
    commit = found.commit if found else ""
    return Choice(toplevel, commit, why, f"from {past.named(past.running)} to {past.named(toplevel)}")


def _by_number(past: Past, number: int) -> str:
    found = next((each for each in past.generations if each.number == number), None)
    if found is None:
        raise NothingEarlier(f"--rollback={number}: the host has no generation {number}; {_offer(past)}")
    if not found.there:
        raise NothingEarlier(
            f"--rollback={number}: generation {number} is gone: garbage collection removed {found.toplevel}; "
            f"{_offer(past)}"
        )
    return found.toplevel


def _by_commit(past: Past, asked: str) -> str:
    of_commit = [each for each in past.generations if each.commit and _same_commit(each.commit, asked)]
    there = [each for each in of_commit if each.there]
    if not there:
        gone = f"its generation {of_commit[-1].number} is garbage-collected; " if of_commit else ""
        raise NothingEarlier(f"--rollback={asked}: the host has no system of that commit; {gone}{_offer(past)}")
    return there[-1].toplevel


def _same_commit(known: str, asked: str) -> bool:
    return is_commit(asked) and known.startswith(asked.lower())


def _left_open(past: Past, proven: Sequence[Proven]) -> tuple[str, str]:
    for left in proven:
        if left.toplevel != past.running and past.has(left.toplevel):
            return (
                left.toplevel,
                f"{left.run} is the newest canonical run that left a system other than the running one",
            )
    if past.earlier and past.earlier != past.running:
        return past.earlier, "it ran before the newest deploy there"
    current = next((each.number for each in past.generations if each.current), None)
    for each in reversed(past.generations):
        if each.there and each.toplevel != past.running and (current is None or each.number < current):
            return each.toplevel, "it is the newest generation before the current one with another system"
    raise NothingEarlier(f"--rollback: the host has nothing to go back to; {_offer(past)}")


def _offer(past: Past) -> str:
    offered = [f"{each}{' (current)' if each.current else ''}" for each in past.generations if each.there]
    return f"what it has: {', '.join(offered) or 'no generation'}"
