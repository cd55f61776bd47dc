"""The protocol's state: what of a host decides who may change it, and what becomes of it."""

from __future__ import annotations

from typing import NamedTuple

OLD, BY_HAND = "old", "hand"
"""The system before every run, and the one that a person switches to; a run's new system bears the run's name."""

RUNS = ("a", "b")


class Run(NamedTuple):
    """One run: its runner, its processes on the host, and what the host keeps of it.

    Attributes:
        runner: Where the runner is; empty before it begins, `dead` after it was killed.
        verb: The step of the verb that it asked last; empty between two verbs.
        echo: The step of a verb whose runner was lost and that lives on.
        job: The step of its job; `ended`, or `lost` when a power cut took it; empty before it begins.
        back: Whether its job is the way back.
        before: The system that the host noted before it.
        decided: What was decided about its switch: `confirm`, `rollback` or `guard`.
        good: Whether its switch came to its end and its checks passed.
        told: What its last verb answered.
    """

    runner: str = ""
    verb: str = ""
    echo: str = ""
    job: str = ""
    back: bool = False
    before: str = ""
    decided: str = ""
    good: bool = False
    told: str = ""

    @property
    def at_work(self) -> bool:
        """Whether its job is on the host and has not ended."""
        return self.job not in {"", "ended", "lost"}


NOBODY = Run()


class State(NamedTuple):
    """One host and everybody who deals with it.

    Attributes:
        running: The system that runs.
        profile: The system that the profile points to.
        boots: The system that a power cut leads to.
        lock: The run that holds the lock.
        lease: Whether the lock's lease lasts.
        pending: The run whose switch waits for its confirmation.
        rebooted: Whether the host was booted since that was armed.
        unit: The run for which the guard's unit is installed, so that a boot starts it.
        guard: The guard's step; empty when it does not run.
        guards: The run that it runs for.
        since: Whether the countdown has begun.
        mutex: Who is in the guarded section.
        switching: Who holds the lock of switch-to-configuration.
        systemd: Whether systemd answers.
        hand: The step of a switch by hand.
        faults: The faults that may still happen, each a letter.
        a: The first run.
        b: The second run.
    """

    running: str = OLD
    profile: str = OLD
    boots: str = OLD
    lock: str = ""
    lease: bool = False
    pending: str = ""
    rebooted: bool = False
    unit: str = ""
    guard: str = ""
    guards: str = ""
    since: bool = False
    mutex: str = ""
    switching: str = ""
    systemd: bool = True
    hand: str = ""
    faults: str = ""
    a: Run = Run()
    b: Run = Run()

    def run(self, name: str) -> Run:
        """The run of that name."""
        return {"a": self.a, "b": self.b}.get(name, NOBODY)

    def with_run(self, name: str, run: Run) -> State:
        """The same state with another state of a run."""
        return self._replace(a=run) if name == "a" else self._replace(b=run)

    @property
    def decided(self) -> str:
        """What was decided about the pending switch."""
        return self.run(self.pending).decided if self.pending else ""
