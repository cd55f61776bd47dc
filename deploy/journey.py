"""One host's way through the phases; the only place that orders them."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from deploy.connection import Completed, Connection, ConnectionLost, ConnectionProblem, DeadlineExceeded, Provider
from deploy.contract import HostState, Verdict
from deploy.convergence import Convergence
from deploy.errors import Inconclusive, SwitchproofError, UsageError
from deploy.frame import Frame, FrameError, parse, read_sections
from deploy.journal import (
    HostLeft,
    Journal,
    Leg,
    LogLine,
    Noted,
    Phase,
    PhaseFinished,
    PhaseStarted,
    RollbackBegun,
    SystemSeen,
)
from deploy.observation import Observation, System, Unit, read_failed, read_observation, read_system, read_units
from deploy.plan import Mode, Plan
from deploy.program import endpoints, health_values, program
from deploy.revision import Resolution, is_commit, is_full, read_resolution
from deploy.target import Health, Host

RECONNECT_S = 120.0
"""Seconds for which a lost host is tried again: longer than a reboot of a small machine takes."""

FETCH_S = 900.0
"""Seconds for a host to fetch the repository; the host itself gives up after 600."""

ANSWER_S = 60.0
"""Seconds for a verb that does not wait."""

FOLLOW_S = 5.0
"""Seconds that the host waits for news of a job before it answers that there are none."""

_LOOK = Health(ready_s=0.0, answers=1, soak_s=0.0)


class Locked(Inconclusive):
    """Another deploy holds the host; nothing was touched."""


class Interrupted(Inconclusive):
    """The run was told to end before the host's answer was complete."""


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
        self._run, self._owner, self._provider, self._journal, self._stop = run, owner, provider, journal, stop
        self._connection: Connection | None = None
        self._busy = threading.RLock()
        self._claimed = self._launched = False
        self._endpoints = endpoints(plan.target)

    # Phases, in the order of the contract.

    def connect(self) -> None:
        """Reach the host.

        Raises:
            ConnectionProblem: With what was seen and what to try.
        """
        if self._connection is None:
            with self._phase("connect"):
                self._connection = self._provider.connect(self.host.name)

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
                frame = self._ask("resolve", {"RELEASE_SHA": revision, "SWITCHPROOF_CLAIM": claim}, FETCH_S)
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
            frame = self._ask("resolve", {"RELEASE_SHA": revision, "SWITCHPROOF_READONLY": "1"}, FETCH_S)
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
                frame = self._ask("converge", values, ANSWER_S)
                if frame.text("outcome") != "started":
                    self._launched = False
                    raise Inconclusive(f"{self.host.name}: the switch was not begun: {frame.get('detail')}")
                self.convergences["forward"] = self._follow("converge")
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
                frame = self._ask("diagnose", {}, 2 * ANSWER_S)
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
            frame = self._ask("rollback", {"SWITCHPROOF_TO": to}, ANSWER_S)
            if frame.text("outcome") != "started":
                raise Inconclusive(f"{self.host.name}: the rollback was not begun: {frame.get('detail')}")
            self.convergences["back"] = self._follow("rollback")
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
                self._ask("plan", values, ANSWER_S)
                ended = self._follow("plan")
                frame = self._ask("plan", values, ANSWER_S)
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
                    self._ask("confirm", {"SWITCHPROOF_OUTCOME": f"{verdict} {state}"}, ANSWER_S)
            except SwitchproofError as error:
                self._note(f"The host's lock was not given back ({error}); it ends by itself.")
        if self._connection is not None:
            self._connection.close()
        return state

    def abandon(self) -> None:
        """Break off what is being asked, so that the host can be asked something else. Nothing ends on the host."""
        if (connection := self._connection) is not None:
            connection.close()
        with self._busy:
            self._drop()

    def run_program(self, text: str, timeout_s: float) -> tuple[int | None, bytes, bytes]:
        """Run a shell text on the host, for checks that look at one thing.

        Returns:
            Exit status, standard output, standard error.

        Raises:
            ConnectionProblem: The host was lost, or the time was over.
        """
        try:
            done = self._reached().run(text.encode(), timeout_s=timeout_s)
        except (ConnectionLost, DeadlineExceeded):
            self._drop()
            raise
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
        longest = health.ready_s + health.soak_s + (health.answers + 2) * (health.interval_s + health.timeout_s)
        return read_observation(self._ask("observe", health_values(health), longest + ANSWER_S))

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

    def _follow(self, job: Literal["converge", "rollback", "plan"]) -> Convergence:
        """Follow a job by offset until it ends; a lost connection is neither success nor failure."""
        log = bytearray()
        shown = 0
        deadline = time.monotonic() + self.plan.target.converge.timeout_s + RECONNECT_S
        while True:
            values = {
                "SWITCHPROOF_JOB": job,
                "SWITCHPROOF_OFFSET": str(len(log)),
                "SWITCHPROOF_WAIT_S": str(FOLLOW_S),
            }
            frame = self._ask("status", values, ANSWER_S)
            log += base64.b64decode(frame.text("log"))
            ended = frame.text("state") != "running" and len(log) >= int(frame.text("log.size"))
            shown = self._show(log, shown, ended=ended)
            if ended:
                break
            if time.monotonic() > deadline or self._stop.is_set():
                why = "the run was told to end" if self._stop.is_set() else "the time was over"
                raise Interrupted(f"{self.host.name}: the {job} was still running there when {why}")
        text = log.decode("utf-8", "replace")
        path = self._journal.keep(self.host.name, f"{job}.log", f"log of the {job}", text)
        status = frame.text("rc").strip()
        return Convergence(
            finished=frame.text("state") == "finished",
            status=int(status) if status.isdigit() else None,
            stage=frame.text("stage").strip(),
            expected=frame.text("expected").strip(),
            unit=frame.text("unit"),
            journal=frame.text("journal"),
            log=text,
            log_path=path,
        )

    def _show(self, log: bytearray, shown: int, *, ended: bool) -> int:
        """Show whoever watches what the log has beyond `shown` bytes, up to its last whole line.

        Lines are redacted together, as a secret may have several; one cut in two would not be known for one.
        """
        upto = len(log) if ended else log.rfind(b"\n") + 1
        for line in self._journal.redact(log[shown:upto].decode("utf-8", "replace")).splitlines():
            self._journal.emit(LogLine(host=self.host.name, text=line))
        return max(shown, upto)

    def _ask(self, verb: str, values: Mapping[str, str], timeout_s: float) -> Frame:
        """Ask the host one verb. Every verb may be asked again: the host begins nothing twice for one run."""
        give_up = time.monotonic() + RECONNECT_S
        while True:
            nonce = secrets.token_hex(8)
            text = program(verb, nonce, {**self._values(), **values})
            try:
                done = self._reached().run(text, timeout_s=timeout_s)
                frame = _parse(done, nonce, verb)
            except (ConnectionLost, DeadlineExceeded) as error:
                self._drop()
                if time.monotonic() > give_up or self._stop.is_set():
                    raise
                self._note(f"The connection was lost while asking {verb!r}, and is made again: {error}")
                continue
            if lacking := frame.get("lacking").strip():
                raise Inconclusive(f"{self.host.name}: the host lacks commands that {verb!r} needs: {lacking}")
            return frame

    def _reached(self) -> Connection:
        """Return the connection, made again if it was lost."""
        give_up = time.monotonic() + RECONNECT_S
        while self._connection is None:
            try:
                self._connection = self._provider.connect(self.host.name)
            except ConnectionProblem as error:
                # Another host key does not become the right one by waiting.
                if isinstance(error, UsageError) or time.monotonic() > give_up or self._stop.wait(1.0):
                    raise
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _values(self) -> dict[str, str]:
        target = self.plan.target
        return {
            "WORKDIR": target.repository.checkout,
            "REPO_URL": target.repository.url,
            "FLAKE_ATTR": self.host.flake_attr,
            "SWITCHPROOF_RUN": self._run,
            "SWITCHPROOF_OWNER": self._owner,
            "SWITCHPROOF_LEASE_S": str(int(target.health.ready_s + target.health.soak_s + 600)),
            "SWITCHPROOF_TIMEOUT_S": str(int(target.converge.timeout_s)),
            "SWITCHPROOF_ENDPOINTS": self._endpoints,
        }

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


def _parse(done: Completed, nonce: str, verb: str) -> Frame:
    """Find the frame in what a host printed; without one, what it said to standard error tells why."""
    try:
        return parse(done.stdout, nonce=nonce, verb=verb)
    except FrameError as error:
        words = done.stderr[-2000:].decode("utf-8", "replace").strip().splitlines()[-3:]
        if not words:
            raise
        raise FrameError(f"{error}; on standard error: {' / '.join(words)}") from error


def in_parallel(journeys: list[Journey], step: Callable[[Journey], object]) -> dict[str, Exception]:
    """Take one step of several hosts at the same time.

    Args:
        journeys: The hosts.
        step: What each of them does.

    Returns:
        What went wrong, by host.
    """
    problems: dict[str, Exception] = {}

    def take(journey: Journey) -> None:
        try:
            step(journey)
        except Exception as error:  # noqa: BLE001 - it is raised where the host's result is asked for
            problems[journey.host.name] = error

    threads = [threading.Thread(target=take, args=(journey,), daemon=True) for journey in journeys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems
