"""One host's way through the phases; the only place that orders them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.connection import Provider
from deploy.contract import HostState, Verdict
from deploy.convergence import Convergence
from deploy.dialogue import ANSWER_S, Dialogue
from deploy.errors import Inconclusive, SwitchproofError
from deploy.frame import Frame, read_sections
from deploy.journal import (
    HostLeft,
    Journal,
    Leg,
    Noted,
    Phase,
    PhaseFinished,
    PhaseStarted,
    RollbackBegun,
    SystemSeen,
)
from deploy.observation import Observation, System, Unit, read_failed, read_observation, read_system, read_units
from deploy.plan import Mode, Plan
from deploy.program import endpoints, health_values
from deploy.revision import Resolution, is_commit, is_full, read_resolution
from deploy.target import Health, Host

FETCH_S = 900.0
"""Seconds for a host to fetch the repository; the host itself gives up after 600."""

_LOOK = Health(ready_s=0.0, answers=1, soak_s=0.0)


class Locked(Inconclusive):
    """Another deploy holds the host; nothing was touched."""


@dataclass(frozen=True)
class Before:
    """What a host was before anything changed; the host keeps the same."""

    system: System
    units: Mapping[str, Unit]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Diagnostics:
    """What a host said when something failed: the parts that hold something, by name, and where they are kept."""

    parts: Mapping[str, str]


@dataclass(frozen=True)
class Differences:
    """What a deploy would change: Nix's and switch-to-configuration's own words."""

    running: str
    expected: str
    closure: str
    units: str


class Journey:
    """One host in one run. Phases keep what they learn; asking twice does nothing twice.

    Args:
        host: The host.
        plan: What the run does.
        run: The run's id, the same on every host.
        owner: Who runs it, for whoever finds the host locked.
        provider: How the host is reached.
        journal: Told everything that happens.
        stop: Set when the run was told to end.
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
        self.before: Before | None = None
        self.convergences: dict[Leg, Convergence] = {}
        self.observations: dict[Leg, Observation] = {}
        self.diagnostics: dict[Leg, Diagnostics] = {}
        self.differences: Differences | None = None
        self._journal = journal
        self._host_side = Dialogue(host.name, provider, journal, stop=stop, values=_values(host, plan, run, owner))
        self._busy = threading.RLock()
        self._claimed = self._launched = False

    # Phases, in the order of the contract.

    def connect(self) -> None:
        """Reach the host.

        Raises:
            ConnectionProblem: With what was seen and what to try.
        """
        with self._phase("connect"):
            self._host_side.connect()

    def resolve(self, revision: str) -> Resolution:
        """Claim the host, note what it is, and have it resolve the revision to one full commit.

        Raises:
            Locked: Another deploy has the host.
            UsageError: The revision is malformed, missing or ambiguous.
            RepositoryUnreachable: The host cannot fetch.
        """
        if self.resolution is None or not is_full(revision):
            claim = "1" if self.plan.mode is Mode.DEPLOY else ""
            with self._phase("resolve"):
                self._claimed = bool(claim)  # also when its answer is lost
                frame = self._host_side.ask("resolve", {"RELEASE_SHA": revision, "SWITCHPROOF_CLAIM": claim}, FETCH_S)
                if frame.text("outcome") == "locked":
                    self._claimed = False
                    raise Locked(f"{self.host.name}: another deploy has this host: {frame.text('detail')}")
                if "before" in frame.sections:
                    self._note_before(Frame("before", read_sections("before", frame.sections["before"])))
                if stale := frame.get("lock.stale"):
                    self._note(f"The lock of run {stale}, which is gone, was taken over.")
                self.resolution = read_resolution(frame, revision)
                if "with uncommitted changes" in frame.get("checkout"):
                    self._note(
                        f"The checkout {self.plan.target.repository.checkout} has changes; they were left alone."
                    )
        return self.resolution

    def identify(self, revision: str) -> str:
        """Have the host say which commit a branch or tag is, without fetching anything.

        Raises:
            UsageError: As for `resolve`.
        """
        if is_commit(revision):
            return revision
        with self._phase("resolve"):
            frame = self._host_side.ask("resolve", {"RELEASE_SHA": revision, "SWITCHPROOF_READONLY": "1"}, FETCH_S)
            return read_resolution(frame, revision).sha

    def converge(self) -> Convergence:
        """Bring the host to the commit, following its log.

        Raises:
            Inconclusive: How it ended could not be learnt.
        """
        if "forward" not in self.convergences:
            assert self.resolution is not None  # the fleet resolves first
            with self._phase("converge"):
                self._launched = True
                values = {"RELEASE_SHA": self.resolution.sha}
                frame = self._host_side.ask("converge", values)
                if frame.text("outcome") != "started":
                    self._launched = False
                    raise Inconclusive(f"{self.host.name}: the switch was not begun: {frame.get('detail')}")
                self.convergences["forward"] = self._host_side.follow("converge", self.plan.target.converge.timeout_s)
        return self.convergences["forward"]

    def observe(self, leg: Leg) -> Observation:
        """See whether the host is healthy, waiting there for it to become so; look closer if it does not.

        Raises:
            Inconclusive: The host's answer could not be had.
        """
        if leg not in self.observations:
            ended = self.convergences.get(leg)
            settle = ended is not None and ended.activated
            with self._phase("observe", leg):
                self.observations[leg] = self._observe(self._health(settle=settle))
            if not self.observations[leg].healthy or (ended is not None and not ended.activated):
                self.diagnose(leg)
        return self.observations[leg]

    def diagnose(self, leg: Leg) -> Diagnostics:
        """Keep everything that tells why something failed, as it is now.

        Raises:
            Inconclusive: The host's answer could not be had.
        """
        if leg not in self.diagnostics:
            with self._phase("diagnose", leg):
                frame = self._host_side.ask("diagnose", {}, 2 * ANSWER_S)
                parts = {name: self._keep_part(leg, name, frame.text(name)) for name in frame.sections}
                self.diagnostics[leg] = Diagnostics({name: path for name, path in parts.items() if path})
        return self.diagnostics[leg]

    def roll_back(self, reason: str) -> Convergence:
        """Bring the host back to the very system that it had before.

        Raises:
            Inconclusive: How it ended could not be learnt.
        """
        assert self.before is not None  # only a claimed host was changed
        to = self.before.system.running
        self._journal.emit(RollbackBegun(host=self.host.name, reason=reason, to=to))
        with self._phase("rollback", "back"):
            frame = self._host_side.ask("rollback", {"SWITCHPROOF_TO": to})
            if frame.text("outcome") != "started":
                raise Inconclusive(f"{self.host.name}: the rollback was not begun: {frame.get('detail')}")
            self.convergences["back"] = self._host_side.follow("rollback", self.plan.target.converge.timeout_s)
        return self.convergences["back"]

    def compare(self) -> Differences:
        """Build what a deploy would switch to and say what differs; nothing is switched.

        Raises:
            Inconclusive: The system could not be built, or the host's answer could not be had.
        """
        if self.differences is None:
            assert self.resolution is not None  # the fleet resolves first
            values = {"RELEASE_SHA": self.resolution.sha}
            with self._phase("plan"):
                self._host_side.ask("plan", values)
                ended = self._host_side.follow("plan", self.plan.target.converge.timeout_s)
                frame = self._host_side.ask("plan", values)
                if ended.status != 0 or frame.text("outcome") != "finished":
                    raise Inconclusive(f"{self.host.name}: {ended.ending.value}:\n{ended.words}")
                self.differences = Differences(
                    *(frame.text(name) for name in ("running", "expected", "closure", "units"))
                )
        return self.differences

    @property
    def changed(self) -> bool:
        """Whether the host is, as far as is known, another system than before."""
        if not self._launched or self.before is None:
            return False
        seen = self.observations.get("forward")
        if seen is None:
            return True
        was = self.before.system
        return (seen.system.running, seen.system.profile) != (was.running, was.profile)

    def leave(self, verdict: Verdict, back: Verdict | None) -> HostState:
        """Give the host back and establish the state that it is left in.

        Args:
            verdict: Of the deploy on this host.
            back: Of the system that was restored; None if none was.
        """
        state, reason = self._state(verdict, back)
        self._journal.emit(HostLeft(host=self.host.name, state=state, reason=reason))
        if self._claimed:
            try:
                with self._phase("confirm"):
                    self._host_side.ask("confirm", {"SWITCHPROOF_OUTCOME": f"{verdict} {state}"})
            except SwitchproofError as error:
                self._note(f"The host's lock was not given back ({error}); it ends by itself.")
        self._host_side.hang_up()
        return state

    def abandon(self) -> None:
        """Break off what is being asked, so that the host can be asked something else. Nothing ends on the host."""
        self._host_side.break_off()
        with self._busy:
            self._host_side.hang_up()

    def run_program(self, text: str, timeout_s: float) -> tuple[int | None, bytes, bytes]:
        """Run a shell text on the host, for checks that look at one thing.

        Returns:
            Exit status, standard output, standard error.

        Raises:
            ConnectionProblem: The host was lost, or the time was over.
        """
        done = self._host_side.run(text, timeout_s)
        return done.exit_status, done.stdout, done.stderr

    # How phases are made.

    def _state(self, verdict: Verdict, back: Verdict | None) -> tuple[HostState, str]:
        if not self._launched:
            return HostState.UNCHANGED, "Nothing was begun there."
        seen = self.observations.get("back") or self.observations.get("forward")
        if seen is None or ("back" in self.convergences and "back" not in self.observations):
            try:
                seen = self._observe(_LOOK)
            except SwitchproofError as error:
                return HostState.UNKNOWN, f"The host could not be seen after the switch was begun: {error}"
        self._journal.emit(SystemSeen(host=self.host.name, when="after", system=seen.system.identity))
        assert self.before is not None  # noted when the host was claimed
        was = self.before.system
        same = (seen.system.running, seen.system.profile) == (was.running, was.profile)
        if verdict is Verdict.PASSED:
            return HostState.CONVERGED, "Every clause passed."
        if back is Verdict.PASSED and same:
            return HostState.ROLLED_BACK, "The earlier system is back and passed every clause."
        if back is not None:
            return HostState.UNSAFE, "The earlier system was to be restored, and did not pass every clause."
        if same:
            return HostState.UNCHANGED, "It runs, and would boot, the same system as before."
        if verdict is Verdict.FAILED:
            return HostState.UNSAFE, f"It was switched to {seen.system.running} and did not pass."
        return HostState.UNKNOWN, f"It was switched to {seen.system.running}, and not every clause could be checked."

    def _health(self, *, settle: bool) -> Health:
        health = self.plan.target.health
        if settle:
            return health
        if self.plan.mode is Mode.AUDIT:
            return Health(
                ready_s=0.0,
                answers=health.answers,
                interval_s=health.interval_s,
                soak_s=health.soak_s,
                timeout_s=health.timeout_s,
                max_bytes=health.max_bytes,
            )
        return _LOOK

    def _observe(self, health: Health) -> Observation:
        # What restarts once it was healthy is watched as long again, to see what becomes of it.
        longest = 2 * (health.ready_s + health.soak_s) + (health.answers + 2) * (health.interval_s + health.timeout_s)
        return read_observation(self._host_side.ask("observe", health_values(health), longest + ANSWER_S))

    def _note_before(self, frame: Frame) -> None:
        self.before = Before(read_system(frame), read_units(frame), read_failed(frame))
        self._journal.emit(SystemSeen(host=self.host.name, when="before", system=self.before.system.identity))

    def _note(self, text: str) -> None:
        self._journal.emit(Noted(host=self.host.name, text=text))

    def _keep_part(self, leg: Leg, name: str, text: str) -> str:
        if not text.strip():
            return ""
        folder = "diagnostics" if leg == "forward" else "diagnostics-after-rollback"
        return self._journal.keep(self.host.name, f"{folder}/{name}.txt", f"{name} ({folder})", text)

    @contextmanager
    def _phase(self, phase: Phase, leg: Leg = "forward") -> Iterator[None]:
        with self._busy:
            began = time.monotonic()
            self._journal.emit(PhaseStarted(host=self.host.name, phase=phase, leg=leg))
            problem: str | None = None
            try:
                yield
            except BaseException as error:
                problem = str(error) or type(error).__name__
                raise
            finally:
                seconds = time.monotonic() - began
                self._journal.emit(
                    PhaseFinished(host=self.host.name, phase=phase, leg=leg, seconds=seconds, problem=problem)
                )


def _values(host: Host, plan: Plan, run: str, owner: str) -> dict[str, str]:
    """Say what the host's script must know for every verb."""
    target = plan.target
    return {
        "WORKDIR": target.repository.checkout,
        "REPO_URL": target.repository.url,
        "FLAKE_ATTR": host.flake_attr,
        "SWITCHPROOF_RUN": run,
        "SWITCHPROOF_OWNER": owner,
        "SWITCHPROOF_LEASE_S": str(int(target.health.ready_s + target.health.soak_s + 600)),
        "SWITCHPROOF_TIMEOUT_S": str(int(target.converge.timeout_s)),
        "SWITCHPROOF_ENDPOINTS": endpoints(target),
    }
