"""Chooses the system that a rollback restores, from a host's earlier systems (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.frame import Frame, FrameError
from switchproof.deploy.observe.revision import is_commit, is_generation

UNREACHED = "no new connection came"
"""How a host begins to say that it went back as nobody reached it anew after its switch."""

_FIELD, _PART = "\x1f", "\x1e"
_SHOWN = 12


class NothingEarlier(UsageError):
    """The host does not have the system to go back to."""

    refused = "a host has no such system to go back to"


class Generation(msgspec.Struct, frozen=True):
    """A generation of the system profile.

    Attributes:
        number: Its number; there may be gaps.
        toplevel: The store path that it points to.
        there: Whether that system is still complete; garbage collection may have removed it.
        current: Whether the profile points to it now.
        commit: The commit that it was built from; empty if unknown.
        specialisations: The toplevels of its specialisations, by name.
    """

    number: int
    toplevel: str
    there: bool
    current: bool
    commit: str
    specialisations: Mapping[str, str] = msgspec.field(default_factory=dict)

    def __str__(self) -> str:
        return f"generation {self.number}{f' of commit {self.commit[:_SHOWN]}' if self.commit else ''}"


class Past(msgspec.Struct, frozen=True):
    """The systems that a host can go back to.

    Attributes:
        running: The system that it runs now.
        generations: The generations of its profile, in order.
        earlier: The system that ran before the newest deploy by Switchproof; empty without one.
    """

    running: str
    generations: tuple[Generation, ...]
    earlier: str

    def of(self, toplevel: str) -> Generation | None:
        """Return the newest generation of a system, or of the one whose specialisation it is; None if it has none."""
        newest_first = reversed(self.generations)
        return next(
            (each for each in newest_first if toplevel in {each.toplevel, *each.specialisations.values()}), None
        )

    def has(self, toplevel: str) -> bool:
        """Whether a system is still on the host, as a generation or as the one before the newest deploy."""
        generation = self.of(toplevel)
        return toplevel == self.earlier or (generation is not None and generation.there)

    def described(self, toplevel: str) -> str:
        """Return a system as text: its path, generation and commit."""
        if (generation := self.of(toplevel)) is None:
            return toplevel
        names = [name for name, special in generation.specialisations.items() if special == toplevel]
        return f"{toplevel} ({f'specialisation {names[0]!r} of ' if names else ''}{generation})"


class Proven(msgspec.Struct, frozen=True):
    """The system on a host at the end of a canonical run."""

    toplevel: str
    run: str


class Choice(msgspec.Struct, frozen=True):
    """The system that a rollback restores, chosen before anything changes.

    Attributes:
        toplevel: The system to restore.
        commit: The full commit that it was built from; empty if unknown.
        why: The reason for the choice.
        intent: The present and the chosen system, as text.
    """

    toplevel: str
    commit: str
    why: str
    intent: str


class Returned(msgspec.Struct, frozen=True):
    """A return of a host to its earlier system by itself: the run, the reason, both systems and the result."""

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
        """Describe the return to the reader of a run; it may have happened in an earlier run.

        Args:
            run: The run that reports it.
        """
        ended = "" if self.status == "0" else f"; that ended with {self.status or 'an unknown status'}"
        author = f" (run {self.run}, {self.owner})" if self.owner else f" (run {self.run})"
        when = "It went" if run == self.run else "Before this run, the host went"
        return f"{when} back by itself at {self.at}: {self.why}{author}. From {self.source} to {self.to}{ended}."


def read_past(frame: Frame) -> Past:
    """Read a host's answer to `generations`.

    Raises:
        FrameError: A part is missing or malformed.
    """
    generations = []
    for line in frame.text("generations").split("\n"):
        if not line:
            continue
        fields = line.split(_FIELD)
        if len(fields) < 5 or not fields[0].isdecimal():  # noqa: PLR2004 - those that are read below
            raise FrameError(f"the host's generations cannot be understood: {line[:80]!r}")
        number, toplevel, there, current, commit = fields[:5]
        named = (each.partition(" ") for each in "".join(fields[6:7]).split(_PART) if each)
        special = {name: path for name, _, path in named}
        generations.append(
            Generation(int(number), toplevel, there == "yes", current == "yes", commit.strip(), special)
        )
    return Past(
        running=frame.text("running").strip(),
        generations=tuple(sorted(generations, key=lambda each: each.number)),
        earlier=frame.get("earlier").strip(),
    )


def read_returned(frame: Frame) -> Returned | None:
    """Read a host's report that it went back by itself; None without one."""
    values = dict(line.split(" ", 1) for line in frame.get("returned").split("\n") if " " in line)
    if not values:
        return None
    names = ("run", "at", "why", "from", "to", "rc", "owner")
    return Returned(*(values.get(name, "").strip() for name in names))


def choose(past: Past, asked: str | None, proven: Sequence[Proven] = (), specialisation: str | None = None) -> Choice:
    """Choose the system that a rollback restores.

    Args:
        past: The systems that the host can go back to.
        asked: A generation's number or a commit; None if the option has no value.
        proven: The systems of canonical runs, newest first. They count only if `asked` is None.
        specialisation: The specialisation of a generation that is restored, if that generation has it.

    Raises:
        NothingEarlier: The host does not have that system; nothing was touched.
    """
    if asked is None:
        system, why = _left_open(past, proven)
    elif is_generation(asked):
        system, why = _by_number(past, int(asked)), f"--rollback={asked} asks for that generation"
    else:
        system, why = _by_commit(past, asked), f"--rollback={asked} asks for that commit"
    if isinstance(system, str):
        toplevel = system
    else:
        toplevel = system.specialisations.get(specialisation or "", system.toplevel)
        if specialisation and specialisation not in system.specialisations:
            why += f", which has no specialisation {specialisation!r}"
    generation = past.of(toplevel)
    commit = generation.commit if generation else ""
    return Choice(toplevel, commit, why, f"from {past.described(past.running)} to {past.described(toplevel)}")


def _by_number(past: Past, number: int) -> Generation:
    generation = next((each for each in past.generations if each.number == number), None)
    if generation is None:
        raise NothingEarlier(f"--rollback={number}: the host has no generation {number}; {_offer(past)}")
    if not generation.there:
        raise NothingEarlier(
            f"--rollback={number}: generation {number} is gone: garbage collection removed {generation.toplevel}; "
            f"{_offer(past)}"
        )
    return generation


def _by_commit(past: Past, asked: str) -> Generation:
    of_commit = [each for each in past.generations if each.commit and _same_commit(each.commit, asked)]
    there = [each for each in of_commit if each.there]
    if not there:
        gone = f"its generation {of_commit[-1].number} is garbage-collected; " if of_commit else ""
        raise NothingEarlier(f"--rollback={asked}: the host has no system of that commit; {gone}{_offer(past)}")
    return there[-1]


def _same_commit(known: str, asked: str) -> bool:
    return is_commit(asked) and known.startswith(asked.lower())


def _left_open(past: Past, proven: Sequence[Proven]) -> tuple[str | Generation, str]:
    for ended in proven:
        if ended.toplevel != past.running and past.has(ended.toplevel):
            return (
                ended.toplevel,
                f"{ended.run} is the newest canonical run that left a system other than the running one",
            )
    if past.earlier and past.earlier != past.running:
        return past.earlier, "it ran before the newest deploy there"
    current = next((each.number for each in past.generations if each.current), None)
    for each in reversed(past.generations):
        if each.there and each.toplevel != past.running and (current is None or each.number < current):
            return each, "it is the newest generation before the current one with another system"
    raise NothingEarlier(f"--rollback: the host has nothing to go back to; {_offer(past)}")


def _offer(past: Past) -> str:
    offered = [f"{each}{' (current)' if each.current else ''}" for each in past.generations if each.there]
    return f"what it has: {', '.join(offered) or 'no generation'}"
