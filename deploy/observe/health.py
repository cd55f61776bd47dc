"""Judges an observed endpoint against the target file (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import msgspec

from switchproof.deploy.observe import asking
from switchproof.deploy.observe.answers import (
    Answer,
    due_of,
    is_unknown,
    json_problem,
    judged,
    problem_of,
    read_direct,
)
from switchproof.deploy.observe.causes.container import Container
from switchproof.deploy.observe.causes.machine import Machine
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.observe.parts.listeners import Listener
from switchproof.deploy.observe.parts.processes import Program
from switchproof.deploy.observe.parts.units import Unit
from switchproof.deploy.observe.parts.watch import Streak
from switchproof.deploy.target.types import Endpoint, Health, JsonValue

_SHOWN = 300


class EndpointSeen(msgspec.Struct, frozen=True, dict=True):
    """One endpoint in one observation.

    Attributes:
        name: `hypervisor`, or a runtime unit's name.
        want: The endpoint in the target file.
        health: The target file's limits for a healthy host.
        observation: The observation.
        peers: The other runtime units of the host; crossed forwards give the answers of one of them.
    """

    name: str
    want: Endpoint
    health: Health
    observation: Observation
    peers: Mapping[str, Endpoint] = msgspec.field(default_factory=dict)

    @property
    def units(self) -> list[Unit | str]:
        """The endpoint's systemd units; only the name of a unit that was not seen."""
        return [self.observation.units.get(name, name) for name in self.want.units]

    @property
    def states(self) -> str:
        """The units with their states."""
        return "; ".join(
            f"{unit} not seen" if isinstance(unit, str) else f"{unit.name} {unit.state}" for unit in self.units
        )

    @property
    def all_active(self) -> bool:
        """Whether every unit is active."""
        return all(not isinstance(unit, str) and unit.active == "active" for unit in self.units)

    @property
    def listeners(self) -> list[Listener]:
        """The processes that a connection to the endpoint's address or socket would reach."""
        where = self.want.container or ""
        listeners = self.observation.listeners
        return [each for each in listeners if each.container == where and each.hears(self.want.listen)]

    @property
    def exposed(self) -> list[Listener]:
        """Sockets of its units on its port that other machines can reach, if it should be private."""
        if not self.want.is_private:
            return []
        where, port = self.want.container or "", self.want.listen.rpartition(":")[2]
        return [
            each
            for each in self.observation.listeners
            if each.container == where
            and each.address.rpartition(":")[2] == port
            and not each.is_loopback
            and (each.unit in self.want.units or each.hears(self.want.listen))
        ]

    @property
    def program(self) -> Program | None:
        """The file that its `exec` probe runs; None for other probes."""
        return self.observation.programs.get(self.name)

    @property
    def elsewhere(self) -> str:
        """The other addresses of its unit, as the end of a sentence; empty without any."""
        where = self.want.container or ""
        own = [each for each in self.observation.listeners if each.unit == self.want.listening_unit]
        addresses = [
            each.address + ("" if each.container == where else f" in the network of {each.container or 'the host'}")
            for each in own
        ]
        return f"; it listens on {', '.join(dict.fromkeys(addresses))} instead" if addresses else ""

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """Every answer, in order, judged by the target file."""
        return judged(self.observation.answers.get(self.name, ()), self.want, self.due)

    @property
    def body(self) -> str:
        """The body of the last answer."""
        return self.answers[-1].text if self.answers else ""

    @property
    def wanted(self) -> str:
        """The answer that the target file asks for, as text."""
        return asking.wanted(self.want, self.due)

    @property
    def command(self) -> str:
        """The command with which a person sends the probe on the host."""
        return asking.command(self.want, self.health)

    @property
    def due(self) -> dict[str, JsonValue]:
        """JSON keys and values that the body must contain, by the target file and the running system."""
        return due_of(self.want, self.observation.due.get(self.name, {}))

    @property
    def unknown(self) -> list[str]:
        """Files of the running system with an expected value that the host could not read."""
        read = self.observation.due.get(self.name, {})
        return [file for file in self.want.json_of_system.values() if file not in read]

    @property
    def seen(self) -> str:
        """The last answer with the beginning of its body, as text."""
        if not self.answers:
            return "never asked"
        body = self.body.strip()
        shown = body if len(body) <= _SHOWN else f"{body[:_SHOWN]}… ({len(body)} characters)"
        return f"{self.answers[-1]}{': ' + shown if shown else ''}"

    @property
    def answer_problem(self) -> str | None:
        """The problem of the last answer; None if there is none."""
        if not self.answers:
            return "it was never asked"
        last = self.answers[-1]
        problem = problem_of(last, self.want, self.due)
        return f"{problem}{self._behind}" if problem and last.curl != 0 else problem

    @property
    def unjudged(self) -> list[Answer]:
        """Answers that prove nothing, after the last answer that was certainly bad."""
        unjudged: list[Answer] = []
        for answer in reversed(self.answers):
            if is_unknown(answer, self.want, self.due):
                unjudged.append(answer)
            elif not answer.good:
                break
        return unjudged

    @property
    def machine(self) -> Machine | None:
        """The virtual machine behind it; None if it was not inspected."""
        return self.observation.machines.get(self.name)

    @property
    def container(self) -> Container | None:
        """The container around it; None if it was not inspected."""
        return self.observation.containers.get(self.name)

    @property
    def direct(self) -> Answer | None:
        """The workload's own answer, asked past the forward; None if unknown."""
        try:
            return read_direct(self.observation.backends.get(self.name, ""))
        except ValueError:
            return None

    @property
    def asked_directly(self) -> str:
        """The workload's own answer as text."""
        return self._behind.removeprefix("; ") or f"the workload was not asked at {self.want.backend}"

    @property
    def healthy(self) -> bool:
        """Whether the endpoint answered well over the soak and its units stayed the same processes."""
        streak = self.streak
        lasting = (
            streak.identity_kept and streak.answers >= self.health.answers and streak.seconds >= self.health.soak_s
        )
        return lasting and self.all_active and self.answer_problem is None

    @property
    def given_up(self) -> str:
        """The evidence for which the host stopped waiting; empty if it did not."""
        return self.observation.reasons.get(self.name, "")

    @property
    def cut_short(self) -> str:
        """Why its watch ended early, when a later answer might have been good; empty if it did not.

        Another endpoint whose failure was certain ends the watch of all.
        """
        if self.observation.settled.get(self.name) != "cut-short":
            return ""
        others = ", ".join(self.observation.reasons)
        return f"not watched to its end, because the host gave up on {others or 'another endpoint'} first"

    @property
    def streak(self) -> Streak:
        """The consecutive good answers at the end of the watch."""
        return self.observation.streak(self.answers, self.want.units)

    @property
    def history(self) -> str:
        """The answers over time with equal ones grouped, then every restart."""
        history: list[str] = []
        previous = ""
        for answer in self.answers:
            text = answer.short
            text += "" if answer.good else f" (bad{self._why(answer)})"
            if text != previous:
                history.append(f"+{answer.at:.1f} s {text}")
            previous = text
        return "; ".join([*history, *self.observation.restarts(self.want.units)])

    @property
    def _behind(self) -> str:
        """The workload's own answer when the forward did not answer, as the end of a sentence."""
        if self.name not in self.observation.backends:
            return ""
        direct = self.direct
        if direct is not None and direct.curl == 0:
            return f"; the workload itself answers at {self.want.backend} with HTTP {direct.code}"
        why = (direct.words or direct) if direct else "nothing"
        return f"; the workload itself does not answer at {self.want.backend} either ({why})"

    def _why(self, answer: Answer) -> str:
        """The problem of an answer that has the wanted status."""
        if answer.curl != 0 or answer.code != self.want.code:
            return ""
        return f": {(problem_of(answer, self.want, self.due) or '')[:_SHOWN]}"

    def json_problem(self, due: Mapping[str, JsonValue]) -> str | None:
        """Return why the last body does not contain these keys and values; None if it does."""
        return json_problem((self.answers[-1].body or b"") if self.answers else b"", due)
