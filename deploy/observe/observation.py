"""Everything that one `observe` saw on a host, read from its frame (pure)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.answers import Answer, seconds
from switchproof.deploy.observe.boot.facts import BootFacts, read_boot_facts
from switchproof.deploy.observe.causes.container import Container, read_container
from switchproof.deploy.observe.causes.machine import Machine, read_machine
from switchproof.deploy.observe.parts.listeners import Listener, read_listeners
from switchproof.deploy.observe.parts.processes import Process, Program, read_processes, read_programs
from switchproof.deploy.observe.parts.system import System, read_system
from switchproof.deploy.observe.parts.text import lines_of, pairs, refuse_malformed, sections_named
from switchproof.deploy.observe.parts.units import Unit, read_failed, read_units
from switchproof.deploy.observe.parts.watch import Presence, Streak, read_presences, read_series
from switchproof.deploy.observe.pending import Pending, read_pending

START_S = 5.0
"""Seconds by which systemd may note a unit's start later than its first process began, because it forks first."""


class Observation(msgspec.Struct, frozen=True):
    """Everything that one `observe` saw.

    Attributes:
        system: The host's system.
        units: The contract's units, by name.
        failed: Names of all units of the host that have failed, or that wait to be restarted after a failure.
        settled: How the watch of each endpoint ended: `healthy`, `unhealthy` or `restarted`; `unit-failed`,
            `failing-alike` or `same-answer` if waiting longer could not help; `cut-short` if the watch of another
            endpoint ended for that reason; or `unknown`.
        reasons: The evidence that waiting longer could not help, by endpoint.
        watched_s: Seconds of the watch.
        answers: Every answer of every endpoint with its body, by endpoint, in order.
        backends: The answer of the workload behind an endpoint that did not answer, body first.
        due: JSON values that bodies must contain, from files of the running system, by endpoint and file.
        machines: The virtual machines behind endpoints that were not healthy.
        containers: The containers of endpoints that were not healthy.
        presences: The state of every unit at each change, by seconds since the watch began.
        processes: Processes of the contract's units; None if the closure could not be read.
        processes_problem: The error of nix if the closure could not be read.
        programs: The files that `exec` probes run, by endpoint.
        listeners: The listening processes.
        listeners_problem: Why the listeners could not be read; empty if they could.
        activated_s: When the running system was activated, in seconds since the boot; None if unknown.
        diagnosable: Sources of diagnostics, with the number of characters that each gave.
        clock: The host's clock, in seconds since 1970.
        boot: The files and variables that the host's boot loader reads.
        pending: A return to the host's earlier system that waits for a confirmation; None if there is none.
    """

    system: System
    units: Mapping[str, Unit]
    failed: tuple[str, ...]
    settled: Mapping[str, str]
    watched_s: float
    answers: Mapping[str, tuple[Answer, ...]]
    backends: Mapping[str, str]
    due: Mapping[str, Mapping[str, str]]
    machines: Mapping[str, Machine]
    containers: Mapping[str, Container]
    presences: tuple[tuple[float, Mapping[str, Presence]], ...]
    processes: tuple[Process, ...] | None
    listeners: tuple[Listener, ...]
    diagnosable: Mapping[str, int]
    clock: float
    boot: BootFacts
    pending: Pending | None = None
    listeners_problem: str = ""
    activated_s: float | None = None
    processes_problem: str = ""
    programs: Mapping[str, Program] = msgspec.field(default_factory=dict)
    reasons: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def survivors(self) -> list[Process]:
        """Processes that outlived a restart of their unit, and began before the running system was activated.

        They belong to an earlier release, even if both releases contain the program.
        """
        survivors = []
        for process in self.processes or ():
            unit = self.units.get(process.unit)
            if process.began_s is None or unit is None or unit.began_s is None or process.pid == unit.main_pid:
                continue
            before = self.activated_s is None or process.began_s < self.activated_s
            if before and process.began_s + START_S < unit.began_s:
                survivors.append(process)
        return survivors

    @property
    def healthy(self) -> bool:
        """Whether every endpoint was healthy, as the host judged it."""
        return bool(self.settled) and set(self.settled.values()) == {"healthy"}

    def streak(self, answers: tuple[Answer, ...], units: tuple[str, ...]) -> Streak:
        """Count the good answers at the end of the watch, and check that `units` stayed the same processes.

        They must be the same from the first good answer of the whole watch on. A unit that restarts after it was
        healthy is not healthy, however long it then answers.

        Args:
            answers: The judged answers of one endpoint.
            units: The units behind it, which must be active all along.
        """
        good: list[Answer] = []
        for answer in reversed(answers):
            if not answer.good:
                break
            good.append(answer)
        if not good:
            return Streak(0, 0.0, identity_kept=False)
        since = good[-1].at
        first = next(answer.at for answer in answers if answer.good)
        # A process that gave the very first answer was there before it. A later one may have replaced a bad one.
        since_then = [at for at, _ in self.presences if (at < first if answers[0].good else at <= first)][-1:]
        during = [seen for at, seen in self.presences if at >= (since_then[0] if since_then else first)]
        while len(during) > 1 and not all(unit in during[0] and during[0][unit].active == "active" for unit in units):
            during.pop(0)
        kept = bool(during) and all(
            unit in seen and seen[unit].identity == during[0].get(unit, seen[unit]).identity
            for seen in during
            for unit in units
        )
        kept = kept and all(during[-1][unit].active == "active" for unit in units)
        return Streak(len(good), round(self.watched_s - since, 3), kept)

    def lives(self, unit: str) -> int:
        """Count the invocations of a unit during the watch."""
        return len({seen[unit].invocation for _, seen in self.presences if unit in seen} - {"-"})

    def restarts(self, units: tuple[str, ...]) -> list[str]:
        """Describe each moment of the watch when one of `units` became another process or stopped being active."""
        return [
            f"+{at:.1f} s {unit}: {before[unit]} → {after[unit]}"
            for (_, before), (at, after) in zip(self.presences, self.presences[1:], strict=False)
            for unit in units
            if unit in before and unit in after and before[unit] != after[unit]
        ]


def read_observation(frame: Frame) -> Observation:
    """Read the answer to `observe`.

    Raises:
        FrameError: A part is missing or malformed; nothing may be concluded from the rest.
    """
    with refuse_malformed():
        began = seconds(frame.text("watch.began"))
        return Observation(
            system=read_system(frame),
            units=read_units(frame),
            failed=read_failed(frame),
            settled=pairs(frame.text("watch.settled")),
            reasons=pairs(frame.get("watch.reasons")),
            watched_s=seconds(frame.text("watch.ended")) - began,
            answers=read_series(frame, began),
            backends=sections_named(frame, "backend."),
            due={name: pairs(text) for name, text in sections_named(frame, "due.").items()},
            machines={
                name: read_machine(text, frame.text(f"systemd.{name}"), frame.text(f"console.{name}"))
                for name, text in sections_named(frame, "machine.").items()
            },
            containers={
                name: read_container(text, frame.text(f"outside.{name}"), frame.text(f"inside.{name}"))
                for name, text in sections_named(frame, "container.").items()
            },
            presences=read_presences(frame, began),
            processes=read_processes(frame),
            processes_problem=frame.get("processes.problem").strip(),
            activated_s=_activated(frame),
            programs=read_programs(frame),
            listeners_problem=frame.get("sockets.problem").strip(),
            listeners=read_listeners(frame),
            diagnosable={
                f"{tool} {source}": int(size)
                for tool, source, size in (line.split(" ") for line in lines_of(frame.text("diagnosable")))
            },
            clock=seconds(frame.text("system.clock")),
            boot=read_boot_facts(frame),
            pending=read_pending(frame),
        )


def _activated(frame: Frame) -> float | None:
    """Return when the running system was activated, in seconds since the boot; the host reports it by the clock."""
    clock, uptime, *_ = [*frame.get("system.activated").split(), "", ""]
    if not uptime:
        return None
    return seconds(uptime) - (seconds(frame.text("system.clock")) - seconds(clock))
