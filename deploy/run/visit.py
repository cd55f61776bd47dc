"""The state and steps that all phases of one host share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from msgspec.structs import replace

from switchproof.deploy.connection import Provider
from switchproof.deploy.errors import HostUnready
from switchproof.deploy.host import limits
from switchproof.deploy.host.budget import ANSWER_S, Budget, longest_s
from switchproof.deploy.host.dialogue import Dialogue
from switchproof.deploy.host.frame import Frame, read_sections
from switchproof.deploy.host.program import health_values
from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.observe.earlier import Choice, read_returned
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.observe.parts.system import read_system
from switchproof.deploy.observe.parts.units import read_failed, read_units
from switchproof.deploy.observe.planned import Differences, Elsewhere
from switchproof.deploy.observe.preflight import (
    Readiness,
    describe,
    find_clock_problems,
    find_room_problems,
    find_state_problems,
)
from switchproof.deploy.observe.revision import Resolution
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.providers import kind_named, kind_of
from switchproof.deploy.record.events import (
    LogLine,
    Noted,
    PhaseFinished,
    PhaseStarted,
    RollbackBegun,
    Warned,
)
from switchproof.deploy.record.facts import Leg, Phase
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.run.account import Account
from switchproof.deploy.run.delivery import Delivery
from switchproof.deploy.run.knock import Knock
from switchproof.deploy.run.results import Before, Confirmation, Diagnostics, Locked
from switchproof.deploy.run.variables import audit_health, variables_of
from switchproof.deploy.target.types import Health, Host

NO_STORE_PATH = "this nixos-rebuild takes no store path"
"""The host script's message if nixos-rebuild does not accept a store path."""

LOOK = Health(ready_s=0.0, answers=1, soak_s=0.0, timeout_s=1.0)
"""Health limits for an observation without waiting."""


class Visit:
    """The state of one host in a run, and the steps that every phase uses.

    Args:
        host: The host.
        plan: The plan of the run.
        run: The run's id, the same on every host.
        owner: Who started the run, shown to another run that finds the host locked.
        provider: Makes connections to the host.
        journal: Receives every event.
        stop: Set when the run is to end.
    """

    def __init__(
        self,
        host: Host,
        *,
        plan: Plan,
        run: str,
        owner: str,
        provider: Provider,
        journal: Journal,
        stop: threading.Event,
    ) -> None:
        self.host = host
        self.plan = plan
        self.resolution: Resolution | None = None
        self.choice: Choice | None = None
        self.before: Before | None = None
        self.convergences: dict[Leg, Convergence] = {}
        self.observations: dict[Leg, Observation] = {}
        self.diagnostics: dict[Leg, Diagnostics] = {}
        self.confirmations: dict[Leg, Confirmation] = {}
        self.differences: Differences | None = None
        self.readiness: Readiness | None = None
        self.built = ""
        """The system that another machine built; empty if the host builds its own."""
        self._elsewhere: Elsewhere | None = None
        self._recipient = self._nix = ""
        self.leg: Leg = "forward"
        self.kept = False
        self.returned = False
        self.locked_out: dict[Leg, str] = {}
        """Why no new connection was accepted after the switch, by leg; empty if one was."""
        self.went_back: dict[Leg, str] = {}
        """The host's report that it returned by itself, by the leg that it returned from."""
        self._journal = journal
        self._host_side = Dialogue(
            host.name,
            provider,
            journal,
            stop=stop,
            values=variables_of(host, plan, run, owner),
            budget=Budget(host.name, longest_s(plan.target)),
        )
        limits, build = plan.target.preflight, plan.target.build
        self._delivery = Delivery(
            host.name,
            run,
            provider,
            journal,
            stop=stop,
            stall_s=build.stall_s,
            reserve_mib=limits.store_mib if "store" in limits.refuse else 0,
            substituter=build.substituter or "",
        )
        self._busy = threading.RLock()
        self._claimed = self._launched = False
        self._unended: Leg | None = None
        self._run = run
        self._jobs: list[str] = []
        self._way_back = ""
        """The job of a way back that began and whose end was not seen; it is followed, and none is begun."""
        self._return: Convergence | None = None
        self._reported: set[str] = set()
        self._knock: Knock | None = None
        self._newest: Observation | None = None
        self._account = Account(host.name, journal)

    def _follow_job(self, leg: Leg) -> None:
        """Follow the job of a leg to its end, also after the host was lost and answers again."""
        ended = self.convergences[leg] = self._host_side.follow(self._jobs[-1], self.plan.target.converge.timeout_s)
        self._unended = None
        self._host_side.note_switch(self._jobs[-1])
        self._begin_to_knock(leg)
        self._account.boot(self._host_side.boot_id)
        if self.before is not None:
            if leg != "back":
                self.before = replace(self.before, failed=tuple(sorted({*self.before.failed, *ended.failing})))
            self._account.closure(leg, self.before.system.running, ended)
        if ended.activated:
            for secret in ended.secrets:
                self._warn(f"The host cannot decrypt {secret}.")
        if NO_STORE_PATH in ended.log:
            self._note(
                "The host's nixos-rebuild accepts no store path, so the system switched itself, in the same unit."
            )
        self._returning(ended)

    def _claim(self, verb: str, values: Mapping[str, str], timeout_s: float) -> Frame:
        """Ask the host a question that claims it, if the run changes hosts.

        Raises:
            Locked: Another run holds the host.
            HostUnready: The host cannot be deployed to.
        """
        before, self._claimed = self._claimed, bool(values["SWITCHPROOF_CLAIM"])  # also when its answer is lost
        taking = {"SWITCHPROOF_TAKE_LOCK": "1"} if self.plan.take_lock else {}
        try:
            frame = self._host_side.ask(verb, {**values, **taking}, timeout_s)
        except HostUnready:
            self._claimed = before
            raise
        self._take(frame)
        return frame

    def _take(self, frame: Frame) -> None:
        """Process a host's answer to a claim.

        Raises:
            Locked: Another run holds the host.
            HostUnready: The host cannot be deployed to.
        """
        if frame.get("outcome") == "locked":
            self._claimed = False
            raise Locked(f"{self.host.name}: this host is locked: {frame.text('detail')}")
        if frame.get("outcome") == "unready":
            self._claimed = False
            raise HostUnready(f"{self.host.name}: the host cannot be deployed to: {frame.get('detail')}")
        if "before" in frame.sections:
            self._note_before(Frame("before", read_sections("before", frame.sections["before"])))
        if stale := frame.get("lock.stale").strip():
            holder = f"{frame.get('lock.stale.owner').strip()}, since {frame.get('lock.stale.since').strip()}"
            lock = f"The lock of run {stale} ({holder})"
            if left := frame.get("lock.taken").strip():
                self._warn(f"{lock} was taken over because of --take-lock, {left} s before it would have expired.")
            else:
                self._note(f"{lock} had expired and was taken over.")
        self._tell_return(frame)

    def _look_before(self, frame: Frame) -> None:
        """Check that the host has what a deploy needs, before anything begins there.

        Raises:
            HostUnready: It lacks something; the message lists everything.
        """
        limits_of_host, before = self.plan.target.preflight, self.before
        problems = find_room_problems(frame, limits_of_host)
        problems += find_clock_problems(self._host_side.clock, limits_of_host)
        if before is not None:
            problems += find_state_problems(before.system.reboot_parts, before.failed)
        refused = [problem for problem in problems if problem.finding in limits_of_host.refuse]
        for problem in problems:
            if problem.finding not in limits_of_host.refuse:
                self._warn(f"Before this run, {problem.text}.")
        if refused:
            raise HostUnready(f"{self.host.name}: the host cannot be deployed to: {describe(refused)}")

    def _tell_return(self, frame: Frame) -> None:
        """Report once that the host returned by itself, in this run or an earlier one."""
        returned = read_returned(frame)
        if returned is None or (message := returned.message(self._run)) in self._reported:
            return
        self._reported.add(message)
        if returned.run == self._run:
            self.returned = True
            self.went_back[self.leg] = message
            if returned.is_unreached:
                self.locked_out[self.leg] = returned.why
            self._account.mark("went-back", message)
        if returned.run == self._run and self.plan.drill == "dead-man" and self.leg == "forward":
            self._note(message)
        else:
            self._warn(message)

    @property
    def _way_back_s(self) -> float:
        return max(self.plan.target.converge.timeout_s, limits.WAY_BACK_S)

    def _begin_way_back(self, reason: str) -> str:
        assert self.before is not None  # only a claimed host was changed
        to = self.before.system.running
        self._forget_knock()
        self._host_side.note_switch("")
        self._journal.emit(RollbackBegun(host=self.host.name, reason=reason, to=to))
        for results in (self.convergences, self.observations, self.diagnostics, self.locked_out):
            results.pop("back", None)
        return to

    def _returning(self, ended: Convergence) -> Convergence | None:
        """Wait for the host's own return after a job that never ended, as after a reboot; None if there is none."""
        assert self.before is not None  # only a claimed host was changed
        guard, booted = self._host_side.guard, self._host_side.boot_id not in {"", self.before.system.boot_id}
        if ended.finished or guard not in {"armed", "rolled-back", "returning", "returned"}:
            return None
        return self._follow_return("") if booted or guard.startswith("return") else None

    def _follow_return(self, job: str, wait_s: float = 0.0) -> Convergence:
        if self._return is None:
            job = job or ("return-again" if self.leg == "again" else "return")
            ended = self._host_side.follow(job, wait_s + self._way_back_s)
            if not ended.finished:
                return ended
            self._return, self.returned = ended, True
        return self._return

    def _health(self, *, settle: bool) -> Health:
        if settle:
            return self.plan.target.health
        return audit_health(self.plan.target) if self.plan.mode is Mode.AUDIT else LOOK

    def _observe(self, health: Health) -> Observation:
        names = ", ".join(self.plan.target.endpoints)
        waits = (
            "" if health is LOOK else f"{names} to become healthy" if health.ready_s else f"{names} to stay healthy"
        )
        frame = self._host_side.ask("observe", health_values(health), health.longest_s + ANSWER_S, waits=waits)
        self._tell_return(frame)
        seen = self._newest = read_observation(frame)
        self._account.seen(seen)
        return seen

    @property
    def kind(self) -> str:
        """The kind of the last connection; empty before the first."""
        return self._host_side.kind

    @property
    def reconnect_s(self) -> float:
        """Seconds after a switch within which a new connection must reach the host; 0: none is waited for."""
        asked_s = self.plan.target.converge.reconnect_s
        return (kind_named(self.kind) or kind_of(self.plan.target)).reconnect_s if asked_s is None else asked_s

    def _begin_to_knock(self, leg: Leg) -> None:
        """Begin to check, beside other questions, whether the host accepts a new connection after a leg's switch."""
        if (within_s := self.reconnect_s) and (self._knock is None or self._knock.leg != leg):
            self._forget_knock()
            self._knock = Knock(leg, lambda over: self._host_side.knock(within_s, over))

    def _forget_knock(self) -> None:
        """Wait for no new connection any more, as the host goes back in any case."""
        if self._knock:
            self._knock.over.set()
            self._knock = None

    @contextmanager
    def _knocking(self, leg: Leg) -> Iterator[None]:
        """Check in parallel whether the host accepts a new connection after the switch of a leg."""
        if leg in self.convergences and leg not in self.locked_out:
            self._begin_to_knock(leg)
        knock = self._knock
        try:
            yield
        finally:
            if knock:
                self._knock, problem = None, knock.end(self._await_connection)
                if problem is not None:
                    self.locked_out.setdefault(leg, problem)
                if problem:
                    text = f"within {self.reconnect_s:g} s after the switch: {problem}"
                    self._warn(f"No new SSH connection was accepted {text}")

    def _await_connection(self, since_s: float) -> None:
        """Report that a new connection is waited for, since so many seconds."""
        left_s = max(0.0, self.reconnect_s - since_s)
        last = f": {self._host_side.refused}" if self._host_side.refused else ""
        text = f"waiting: a new connection to be accepted{last} (at most {left_s:.0f} s left)"
        self._journal.emit(LogLine(host=self.host.name, text=text))

    def _note_before(self, frame: Frame) -> None:
        if self.before is None:
            text = "\n".join(f"{name}:\n{frame.text(name).strip()}\n" for name in frame.sections)
            self._journal.keep(self.host.name, "before.txt", "what the host was before anything changed", text)
        self.before = Before(read_system(frame), read_units(frame), read_failed(frame))
        was = self.before.system
        if was.specialisation:
            if was.specialisation != self.host.specialisation:
                self._warn(f"Before this run, the host ran the specialisation {was.specialisation!r} of its system.")
        elif was.profile and was.profile != was.running:
            self._warn(
                f"Before this run, the system profile pointed to {was.profile}, but the host ran {was.running}. "
                "A rollback restores both."
            )
        self._account.before(self.before.system, self.before.units)

    def _note(self, text: str) -> None:
        self._journal.emit(Noted(host=self.host.name, text=text))

    def _warn(self, text: str) -> None:
        self._journal.emit(Warned(host=self.host.name, text=text))

    def _keep_part(self, leg: Leg, name: str, text: str) -> str:
        if not text.strip():
            return ""
        folder = {"forward": "diagnostics", "back": "diagnostics-after-rollback", "again": "diagnostics-again"}[leg]
        return self._journal.keep(self.host.name, f"{folder}/{name}.txt", f"{name} ({folder})", text)

    @contextmanager
    def _phase(self, phase: Phase, leg: Leg = "forward") -> Iterator[None]:
        with self._busy:
            began, asked = time.monotonic(), self._host_side.questions
            self._journal.emit(PhaseStarted(host=self.host.name, phase=phase, leg=leg))
            problem: str | None = None
            try:
                yield
            except BaseException as error:
                problem = str(error) or type(error).__name__
                raise
            finally:
                self._journal.emit(
                    PhaseFinished(
                        host=self.host.name,
                        phase=phase,
                        leg=leg,
                        seconds=time.monotonic() - began,
                        problem=problem,
                        questions=self._host_side.questions - asked,
                    )
                )
