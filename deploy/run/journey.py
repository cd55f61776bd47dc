"""Takes one host through the phases of a run; no other module orders them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from contextlib import suppress

from switchproof.deploy.connection import ConnectionProblem
from switchproof.deploy.contract import HostState, Verdict
from switchproof.deploy.errors import BuildFailed, Inconclusive, SwitchproofError, UsageError
from switchproof.deploy.host.budget import ANSWER_S, FETCH_S
from switchproof.deploy.observe.boot.choice import choose_boot
from switchproof.deploy.observe.boot.facts import read_boot_facts
from switchproof.deploy.observe.convergence import Convergence, Ending
from switchproof.deploy.observe.earlier import Choice, Proven, choose, read_past
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.observe.pending import awaited_return
from switchproof.deploy.observe.planned import Differences, Elsewhere, read_differences
from switchproof.deploy.observe.preflight import Readiness, read_nix, read_readiness
from switchproof.deploy.observe.revision import LEFT_OUT, Resolution, is_commit, is_full, read_resolution
from switchproof.deploy.observe.secrets import recipient_of
from switchproof.deploy.plan import Mode
from switchproof.deploy.record.events import (
    HostLeft,
    SystemSeen,
)
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.run.building import System
from switchproof.deploy.run.leaving import Departure, audited_state
from switchproof.deploy.run.own_builds import OwnBuild
from switchproof.deploy.run.results import Confirmation, Diagnostics, is_same
from switchproof.deploy.run.sites import Stock
from switchproof.deploy.run.variables import source_file
from switchproof.deploy.run.visit import LOOK, Visit


class Journey(Visit):
    """One host in one run. A phase keeps its result, so that it runs once."""

    # Phases, in the order of the contract.

    def connect(self) -> None:
        """Reach the host.

        Raises:
            ConnectionProblem: The host cannot be reached; the message says what was seen and what to try.
        """
        with self._phase("connect"):
            self._host_side.connect()

    def resolve(self, revision: str) -> Resolution:
        """Claim the host, record its state, and resolve the revision on it to one full commit.

        Raises:
            Locked: Another deploy has the host.
            UsageError: The revision is malformed, missing or ambiguous.
            RepositoryUnreachable: The host cannot fetch.
        """
        if self.resolution is None or (is_full(revision) and self.resolution.sha != revision):
            claim = "1" if self.plan.mode.changes_hosts else ""
            with self._phase("resolve"):
                if self.plan.source:
                    self._delivery.bring_source(self.plan.source, self.plan.target.repository.checkout)
                values = {"RELEASE_SHA": revision, "SWITCHPROOF_CLAIM": claim}
                frame = self._claim("resolve", values, FETCH_S)
                self._nix = read_nix(frame) or self._nix
                if self.resolution is None:
                    self._look_before(frame)
                    self._recipient = recipient_of(frame.get("ssh_key"))
                if self.plan.source:
                    with suppress(ConnectionProblem):  # what stays there is deleted by a later run
                        self._host_side.run(f"rm -f {source_file(self._run)}\n", ANSWER_S)
                self.resolution = read_resolution(frame, revision)
                for warning in (text for kind, text in LEFT_OUT.items() if kind in frame.get("left_out").split()):
                    self._warn(warning)
                if "with uncommitted changes" in frame.get("checkout"):
                    checkout = self.plan.target.repository.checkout
                    self._note(f"The checkout {checkout} has uncommitted changes; they were not touched.")
        return self.resolution

    def choose(self, asked: str | None, proven: Sequence[Proven]) -> Choice:
        """Claim the host, record its state, and choose the system that a rollback restores.

        Args:
            asked: A generation's number or a commit; None if the option has no value.
            proven: The systems of canonical runs, newest first.

        Raises:
            Locked: Another deploy has the host.
            HostUnready: The host cannot be deployed to.
            UsageError: The host has no such system.
        """
        if self.choice is None:
            with self._phase("resolve"):
                frame = self._claim("generations", {"SWITCHPROOF_CLAIM": "1"}, ANSWER_S)
                self.choice = choose(read_past(frame), asked, proven, self.host.specialisation)
                self._warn(f"A rollback {self.choice.intent}: {self.choice.why}.")
        return self.choice

    def identify(self, revision: str) -> str:
        """Ask the host for the commit of a branch or tag, without fetching anything.

        Raises:
            UsageError: As for `resolve`.
        """
        if is_commit(revision):
            return revision.lower()
        with self._phase("resolve"):
            frame = self._host_side.ask("resolve", {"RELEASE_SHA": revision, "SWITCHPROOF_READONLY": "1"}, FETCH_S)
            return read_resolution(frame, revision).sha

    def converge(self, leg: Leg = "forward") -> Convergence:
        """Switch the host to the requested commit or earlier system, and follow the job's log.

        Raises:
            Inconclusive: How it ended could not be learnt.
        """
        if leg not in self.convergences:
            self.leg = leg
            if self.plan.mode is Mode.ROLLBACK:
                assert self.choice is not None  # the fleet chooses first
                verb, job, values = "rollback", "rollback", {"SWITCHPROOF_TO": self.choice.toplevel}
            else:
                assert self.resolution is not None  # the fleet resolves first
                verb, job = "converge", "again" if leg == "again" else "converge"
                values = {
                    "RELEASE_SHA": self.resolution.sha,
                    "SWITCHPROOF_BUILT": self.built,
                    "SWITCHPROOF_AGE_RECIPIENT": self._recipient,
                    "SWITCHPROOF_LOCKED_SECRETS": "" if "secrets" in self.plan.target.preflight.refuse else "1",
                }
            values["SWITCHPROOF_RECONNECT_S"] = str(math.ceil(self.reconnect_s))
            with self._phase("rollback" if verb == "rollback" else "converge", leg):
                self._launched, self.returned, self._return, self._unended = True, False, None, leg
                self._jobs.append(job)
                frame = self._host_side.ask(verb, {**values, "SWITCHPROOF_JOB": job})
                if frame.text("outcome") != "started":
                    self._launched, self._unended = leg != "forward", None
                    kind = UsageError if frame.text("outcome") == "gone" else Inconclusive
                    raise kind(f"{self.host.name}: the switch did not start: {frame.get('detail')}")
                self._follow_job(leg)
        return self.convergences[leg]

    def receive(self, system: System, stock: Stock) -> None:
        """Copy a system to the host from the store of the machine that built it; nothing is switched.

        Raises:
            Inconclusive: It could not be copied.
            BuildFailed: The copy in that store is damaged, or it could not be read.
        """
        lacks = self._delivery.bring(system, stock)
        self.built, self._elsewhere = system.toplevel, Elsewhere(stock.label, system.forecast, lacks)

    def receive_inputs(self, paths: Sequence[str], stock: Stock) -> None:
        """Copy the locked inputs of the flake to the host, which builds.

        Raises:
            Inconclusive: They could not be copied.
            BuildFailed: The copy in that store is damaged, or it could not be read.
        """
        self._delivery.bring_inputs(paths, stock)

    def take_failed_build(self, error: BuildFailed) -> None:
        """Record that nix failed on the machine that builds; checks judge it like a failure on the host."""
        self.convergences["forward"] = Convergence(
            finished=True,
            status=1,
            stage="build",
            expected="",
            unit="",
            journal="",
            log=error.log,
            log_path=error.log_path,
        )

    def renew(self, *, awaits_confirmation: bool = True) -> None:
        """Renew the host's lock while the run waits for other hosts; a host that is lost is not waited for.

        Args:
            awaits_confirmation: Whether to renew its wait for the confirmation as well.
        """
        if not self._claimed:
            return
        values = {"SWITCHPROOF_RENEW": "1"} if awaits_confirmation else {}
        if self._jobs:
            values["SWITCHPROOF_JOB"] = self._jobs[-1]
        with suppress(SwitchproofError), self._busy:
            self._host_side.ask("status", values, retries=False)

    def confirm(self) -> Confirmation:
        """Tell the host to keep the new system, over a connection that the new system has accepted.

        Raises:
            Inconclusive: The host's answer could not be had.
        """
        if self.leg not in self.confirmations:
            self.confirmations[self.leg] = self._confirm()
        return self.confirmations[self.leg]

    def _confirm(self) -> Confirmation:
        with self._phase("confirm", self.leg):
            self._host_side.hang_up()
            values = {"SWITCHPROOF_JOB": self._jobs[-1], "SWITCHPROOF_KEEP": "1", "SWITCHPROOF_OUTCOME": "passed"}
            frame = self._host_side.ask("confirm", values, 2 * ANSWER_S)
            outcome, ended = frame.text("outcome"), self.convergences.get(self.leg)
            boot = choose_boot(read_boot_facts(frame), self.plan.target.boot.loader) if outcome == "ok" else None
            boots = ended.boots if ended else ("",)
            expected = boot.first_of(*boots) if boot else boots[0]
            answer = Confirmation(outcome, frame.get("detail").strip(), expected, boot)
            # A host that keeps the system but boots another one is rolled back like a failed one.
            self.kept = answer.is_lasting
            if answer.outcome == "ok":
                self._account.mark("confirmed", answer.detail)
            self.returned = answer.outcome in {"late", "booted"}
            self._claimed = not self.kept
        return answer

    def observe(self, leg: Leg) -> Observation:
        """Observe the host once it is healthy or its time is over; collect diagnostics if it is not healthy.

        Raises:
            Inconclusive: The host's answer could not be had.
        """
        if leg not in self.observations:
            if self._unended == leg:
                with suppress(SwitchproofError), self._phase("converge", leg):
                    self._follow_job(leg)
            ended = self.convergences.get(leg)
            settle = ended is not None and (ended.activated if leg == "back" else self._may_pass(ended))
            with self._phase("observe", leg), self._knocking(leg):
                health = self._health(settle=settle)
                seen = self.observations[leg] = self._observe(health)
                endpoints, began = self.plan.target.endpoints, self._host_side.began
                self._account.watched(seen, endpoints, leg=leg, began=began, limit_s=health.longest_s)
            if not self.observations[leg].healthy or (ended is not None and not ended.activated):
                self.diagnose(leg)
        return self.observations[leg]

    @property
    def hopeless(self) -> str:
        """Why no check of the contract can pass the host after its switch; empty if one might."""
        ended, seen = self.convergences.get("forward"), self.observations.get("forward")
        if ended is None or seen is None or not self.changed:
            return ""
        if ended.finished and not self._may_pass(ended):
            return f"the switch failed: {ended.ending.value}"
        if seen.healthy:
            return ""
        target = self.plan.target
        every = [EndpointSeen(name, want, target.health, seen) for name, want in target.endpoints.items()]
        # The host's word and the runner's own judgement.
        unwell = [endpoint for endpoint in every if seen.settled.get(endpoint.name, "healthy") != "healthy"]
        sick = [endpoint.name for endpoint in unwell if not endpoint.healthy and not endpoint.cut_short]
        return f"{', '.join(sick)} did not become healthy" if sick else ""

    def look_anew(self) -> None:
        """Forget what was seen of a healthy host after its switch, so that it is watched once more."""
        if self.observations["forward"].healthy:
            self._note("The host waited for others since it was seen healthy, and is watched once more.")
            del self.observations["forward"]

    def _may_pass(self, ended: Convergence) -> bool:
        """Whether to wait for health after a switch; a switch that failed itself is rolled back in any case."""
        if ended.ending is not Ending.UNITS_FAILED:
            return ended.activated
        assert self.before is not None  # noted when the host was claimed
        explained = {*self.before.failed, *self.plan.target.contract_units}
        return bool(ended.failed_units) and ended.failed_units <= explained

    def diagnose(self, leg: Leg) -> Diagnostics:
        """Collect the host's diagnostics as they are now, and keep them as evidence.

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
        """Restore the system that the host had before; the host may be returning by itself already.

        Raises:
            Inconclusive: How it ended could not be learnt.
        """
        to = self._begin_way_back(reason)
        if self.returned:
            with self._phase("wait", "back"):
                self.convergences["back"] = self._follow_return("")
            if self._return:
                return self._return
        with self._phase("rollback", "back"):
            if not self._way_back:
                job = next(name for name in ("rollback", "back", "back-again") if name not in self._jobs)
                frame = self._host_side.ask("rollback", {"SWITCHPROOF_TO": to, "SWITCHPROOF_JOB": job})
                if frame.text("outcome") == "returning":
                    self.convergences["back"] = self._follow_return(frame.get("job").strip())
                    return self.convergences["back"]
                if frame.text("outcome") != "started":
                    raise Inconclusive(f"{self.host.name}: the rollback did not start: {frame.get('detail')}")
                self._jobs.append(job)
                self._way_back = job
            ended = self._host_side.follow(self._way_back, self._way_back_s)
            self._way_back = ""
            self.convergences["back"] = self._returning(ended) or ended
        return self.convergences["back"]

    def await_return(self) -> Convergence:
        """Leave the new system unconfirmed, and wait until the host has returned by itself.

        Raises:
            Inconclusive: How it ended could not be learnt.
        """
        self._begin_way_back("the drill leaves the new system unconfirmed, so that the host goes back by itself")
        self._note(awaited_return(self.plan.target.confirm_s, dt.datetime.now(dt.UTC)))
        with self._phase("wait", "back"):
            self.convergences["back"] = self._follow_return("", self.plan.target.confirm_s)
        return self.convergences["back"]

    def inspect(self) -> Readiness:
        """Ask for everything that a deploy looks at before it begins; nothing is changed, nor is the host claimed.

        Raises:
            Inconclusive: The host's answer could not be had.
        """
        if self.readiness is None:
            with self._phase("preflight"):
                frame = self._host_side.ask("preflight", {})
                self._tell_return(frame)
                ready = self.readiness = read_readiness(frame, self._host_side.clock, self.plan.target.preflight)
                for problem in ready.problems:
                    if problem.finding not in ready.limits.refuse:
                        self._warn(f"Before this run, {problem.text}.")
        return self.readiness

    def compare(self) -> Differences:
        """Build the system of a deploy and compare it with the running one; nothing is switched.

        Raises:
            Inconclusive: The system could not be built, or the host's answer could not be had.
        """
        if self.differences is None:
            assert self.resolution is not None  # the fleet resolves first
            values = {"RELEASE_SHA": self.resolution.sha, "SWITCHPROOF_BUILT": self.built}
            with self._phase("plan"):
                self._host_side.ask("plan", values)
                ended = self._host_side.follow("plan", self.plan.target.converge.timeout_s)
                frame = self._host_side.ask("plan", values)
                if ended.status != 0 or frame.text("outcome") != "finished":
                    raise Inconclusive(f"{self.host.name}: {ended.ending.value}\n{ended.excerpt}")
                self.differences = read_differences(frame, self._elsewhere)
        return self.differences

    @property
    def own_build(self) -> OwnBuild | None:
        """The system that the host built for itself in this run; None if it built none."""
        ended = self.convergences.get("forward")
        if self.resolution is None or self.built or ended is None or not ended.expected:
            return None
        configuration, specialisation = self.plan.target.configuration(self.host), self.host.specialisation or ""
        return OwnBuild(self.host.name, configuration, specialisation, ended.expected, self._nix)

    @property
    def changed(self) -> bool:
        """Whether the host may have changed since before the run, or has returned from a change by itself."""
        if not self._launched or self.before is None:
            return False
        seen = self.observations.get(self.leg)
        if seen is None or self.returned or self._unended:  # a running job may still change it
            return True
        was, ended = self.before.system, self.convergences.get(self.leg)
        if not is_same(seen.system, was):
            return True
        # A host that is as before, although it was switched, has returned or is about to return.
        return ended is not None and ended.touched and ended.expected not in {"", was.running}

    @property
    def reboot(self) -> str:
        """A sentence about a reboot during the run; empty if there was none."""
        was = self.before.system.boot_id if self.before else ""
        seen = (self._newest.system.boot_id if self._newest else "", self._host_side.boot_id)
        now = next((boot for boot in seen if was and boot and boot != was), "")
        return f"the host rebooted during the run (boot {was} → {now})" if now else ""

    def leave(self, verdict: Verdict, back: Verdict | None) -> HostState:
        """Release the host and determine its final state.

        Args:
            verdict: The verdict of the run on this host.
            back: The verdict of the restored system; None if none was restored.
        """
        problem = self._end(verdict) if self._claimed else None
        state, reason = self._state(verdict, back, problem)
        if self._newest and (waits := self._newest.system.awaits_reboot):
            self._warn(waits)
        self._journal.emit(HostLeft(host=self.host.name, state=state, reason=reason))
        self._host_side.hang_up()
        return state

    def abandon(self) -> None:
        """Break off the current question, so that another one can be asked. Jobs on the host continue."""
        self._host_side.break_off()
        self._delivery.break_off()
        with self._busy:
            self._host_side.hang_up()

    def rest(self) -> None:
        """Close the connection of an audit with more hosts than it may be connected to at the same time.

        The next question opens it again.
        """
        if self.plan.mode is Mode.AUDIT and len(self.plan.target.hosts) > self.plan.parallel:
            self._host_side.hang_up()

    def run_program(self, text: str, timeout_s: float) -> tuple[int | None, bytes, bytes]:
        """Run a shell text on the host, for a check.

        Returns:
            Exit status, standard output, standard error.

        Raises:
            ConnectionProblem: The connection was lost, or the time is over.
        """
        try:
            done = self._host_side.run(text, timeout_s)
        finally:
            self.rest()
        return done.exit_status, done.stdout, done.stderr

    def _end(self, verdict: Verdict) -> str | None:
        """Tell the host that the run is over; return why that failed, None if it did not."""
        values = {"SWITCHPROOF_OUTCOME": str(verdict)}
        if self._jobs:
            values["SWITCHPROOF_JOB"] = self._jobs[-1]
        if self._kept_broken:
            values["SWITCHPROOF_KEEP"] = "broken"
        try:
            with self._phase("confirm", self.leg if self.kept or "back" not in self.convergences else "back"):
                frame = self._host_side.ask("confirm", values)
                if frame.text("outcome") in {"late", "booted"} and self._launched:
                    self._follow_return(frame.get("job").strip())
                elif frame.text("outcome") != "ok":
                    self._note(
                        f"At the end of the run the host reported {frame.text('outcome')}: {frame.get('detail')}"
                    )
        except SwitchproofError as error:
            self._note(f"The host could not be released ({error}); its lock expires by itself.")
            return str(error)
        return None

    @property
    def _kept_broken(self) -> bool:
        """Whether a system that did not pass is kept, for a person to look at."""
        return self.plan.on_failure == "keep" and self.changed and not self.returned and not self.kept

    def _state(self, verdict: Verdict, back: Verdict | None, problem: str | None) -> tuple[HostState, str]:
        if self.plan.mode is Mode.AUDIT:
            return audited_state(verdict)
        if not self._launched:
            return HostState.UNCHANGED, "Nothing was started on this host."
        if problem is not None:
            return HostState.UNKNOWN, f"The host could not be observed after the switch began: {problem}{self._alone}"
        assert self.before is not None  # noted when the host was claimed
        seen = self.observations.get(self.leg if self.kept else "back")
        if seen is None or not (self.kept or (back is not None and back.accepted)):
            try:
                seen = self._observe(LOOK)
            except SwitchproofError as error:
                text = f"The host could not be observed after the switch began: {error}{self._alone}"
                return HostState.UNKNOWN, text
        self._journal.emit(SystemSeen(host=self.host.name, when="after", system=seen.system.identity))
        was, now = self.before.system, seen.system
        same = is_same(now, was)
        if self._kept_broken and not same:
            self._warn(
                f"LEFT AS IT IS, because of --on-failure=keep: the host runs {now.running}, which did not pass every "
                f"clause. Before this run it ran {was.running}."
            )
        state, reason = Departure(verdict, back, self.kept, self.returned, same, now.running).state
        if state is HostState.UNSAFE and self._host_side.guard == "armed":
            reason += self._alone
        return state, reason

    @property
    def _alone(self) -> str:
        """A sentence about the automatic return of a host that cannot be reached; empty if there is none."""
        if self.kept or not self.plan.target.confirm_s:
            return ""
        after_s, within_s = self.plan.target.confirm_s, self.reconnect_s
        text = f" Unless it is confirmed, the host goes back by itself {after_s:g} s after the switch"
        return f"{text}, and {within_s:g} s after it unless a new connection reaches it." if within_s else f"{text}."
