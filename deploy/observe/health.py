"""An endpoint as it was seen, held against what the target file asks of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

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


@dataclass(frozen=True)
class EndpointSeen:
    """What one observation says of one endpoint.

    Attributes:
        name: `hypervisor`, or a runtime unit's name.
        want: What the target file asks of it.
        health: When a host counts as healthy.
        observation: What was seen.
        peers: The other runtime units of the host, whose answers this one may give when forwards are crossed.
    """

    name: str
    want: Endpoint
    health: Health
    observation: Observation
    peers: Mapping[str, Endpoint] = field(default_factory=dict)

    @property
    def units(self) -> list[Unit | str]:
        """The endpoint's systemd units as seen; the bare name of one that was not."""
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
        """Whoever would hear a connection to the endpoint's address, or to its socket."""
        where = self.want.container or ""
        return [one for one in self.observation.listeners if one.container == where and one.hears(self.want.listen)]

    @property
    def exposed(self) -> list[Listener]:
        """Sockets of its units on its port that others than the host itself reach, though nobody else should."""
        if not self.want.is_private:
            return []
        where, port = self.want.container or "", self.want.listen.rpartition(":")[2]
        return [
            one
            for one in self.observation.listeners
            if one.container == where
            and one.address.rpartition(":")[2] == port
            and not one.is_loopback
            and (one.unit in self.want.units or one.hears(self.want.listen))
        ]

    @property
    def program(self) -> Program | None:
        """The file that a probe runs, None if it was not looked at."""
        return self.observation.programs.get(self.name)

    @property
    def elsewhere(self) -> str:
        """Where its unit listens instead, in words; empty if nowhere."""
        where = self.want.container or ""
        mine = [one for one in self.observation.listeners if one.unit == self.want.listening_unit]
        told = [
            one.address + ("" if one.container == where else f" in the network of {one.container or 'the host'}")
            for one in mine
        ]
        return f"; it listens on {', '.join(dict.fromkeys(told))} instead" if told else ""

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """Every answer, in order, each judged as the last one is."""
        return judged(self.observation.answers.get(self.name, ()), self.want, self.due)

    @property
    def body(self) -> str:
        """The last answer's body."""
        return self.answers[-1].text if self.answers else ""

    @property
    def wanted(self) -> str:
        """The answer that the target file asks for, in words."""
        return asking.wanted(self.want, self.due)

    @property
    def command(self) -> str:
        """What asks it, as a person would type it on the host."""
        return asking.command(self.want, self.health)

    @property
    def due(self) -> dict[str, JsonValue]:
        """The keys of the body and their values, as the target file and the running system ask for them."""
        return due_of(self.want, self.observation.due.get(self.name, {}))

    @property
    def unknown(self) -> list[str]:
        """What the running system should say and does not, so that the answer cannot be held against it."""
        said = self.observation.due.get(self.name, {})
        return [file for file in self.want.json_of_system.values() if file not in said]

    @property
    def seen(self) -> str:
        """The last answer, in words."""
        if not self.answers:
            return "never asked"
        body = self.body.strip()
        shown = body if len(body) <= _SHOWN else f"{body[:_SHOWN]}… ({len(body)} characters)"
        return f"{self.answers[-1]}{': ' + shown if shown else ''}"

    @property
    def answer_problem(self) -> str | None:
        """What is wrong with the last answer, None if nothing is."""
        if not self.answers:
            return "it was never asked"
        last = self.answers[-1]
        found = problem_of(last, self.want, self.due)
        return f"{found}{self._behind}" if found and last.curl != 0 else found

    @property
    def unjudged(self) -> list[Answer]:
        """Answers of which nothing may be concluded, after the last one that was bad for sure."""
        told: list[Answer] = []
        for answer in reversed(self.answers):
            if is_unknown(answer, self.want, self.due):
                told.append(answer)
            elif not answer.good:
                break
        return told

    @property
    def machine(self) -> Machine | None:
        """The machine behind it, if it was looked at."""
        return self.observation.machines.get(self.name)

    @property
    def container(self) -> Container | None:
        """The container that it is in, if that was looked at."""
        return self.observation.containers.get(self.name)

    @property
    def direct(self) -> Answer | None:
        """What the workload itself answered when the forward did not answer well; None if that is not known."""
        try:
            return read_direct(self.observation.backends.get(self.name, ""))
        except ValueError:
            return None

    @property
    def asked_directly(self) -> str:
        """What came of asking the workload itself, in words."""
        return self._behind.removeprefix("; ") or f"the workload was not asked at {self.want.backend}"

    @property
    def healthy(self) -> bool:
        """Whether everything is as it should be."""
        streak = self.streak
        lasting = (
            streak.identity_kept and streak.answers >= self.health.answers and streak.seconds >= self.health.soak_s
        )
        return lasting and self.all_active and self.answer_problem is None

    @property
    def given_up(self) -> str:
        """What showed the host that waiting could not mend it, in words; empty if that was not shown."""
        return self.observation.reasons.get(self.name, "")

    @property
    def cut_short(self) -> str:
        """That its watch did not come to an end, and why, as a bad sight of it may still have become a good one.

        Empty where the watch came to its end.
        """
        if self.observation.settled.get(self.name) != "cut-short":
            return ""
        others = ", ".join(self.observation.reasons)
        return f"not watched to its end, because the host gave up on {others or 'another endpoint'} first"

    @property
    def streak(self) -> Streak:
        """The good answers with which the watch ended."""
        return self.observation.streak(self.answers, self.want.units)

    @property
    def history(self) -> str:
        """The answers over time, runs of like ones together, and every restart."""
        told: list[str] = []
        previous = ""
        for answer in self.answers:
            text = answer.short
            text += "" if answer.good else f" (bad{self._why(answer)})"
            if text != previous:
                told.append(f"+{answer.at:.1f} s {text}")
            previous = text
        return "; ".join([*told, *self.observation.restarts(self.want.units)])

    @property
    def _behind(self) -> str:
        """What the workload behind a forward said, when the forward did not answer."""
        if self.name not in self.observation.backends:
            return ""
        direct = self.direct
        if direct is not None and direct.curl == 0:
            return f"; the workload itself answers at {self.want.backend} with HTTP {direct.code}"
        why = (direct.words or direct) if direct else "nothing"
        return f"; the workload itself does not answer at {self.want.backend} either ({why})"

    def _why(self, answer: Answer) -> str:
        """What is wrong with an answer whose status is the wanted one."""
        if answer.curl != 0 or answer.code != self.want.code:
            return ""
        return f": {(problem_of(answer, self.want, self.due) or '')[:_SHOWN]}"

    def json_problem(self, due: Mapping[str, JsonValue]) -> str | None:
        """What keeps the last body from holding these keys and values, None if nothing does."""
        return json_problem((self.answers[-1].body or b"") if self.answers else b"", due)
