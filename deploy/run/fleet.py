"""Runs each phase on all hosts of a run at the same time, and holds hosts back while one has a problem."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import cached_property

from switchproof.deploy.connection import Provider
from switchproof.deploy.contract import HostState, Verdict
from switchproof.deploy.errors import Inconclusive, SwitchproofError, UsageError
from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.observe.earlier import Choice
from switchproof.deploy.observe.observation import Observation
from switchproof.deploy.observe.planned import Differences
from switchproof.deploy.observe.preflight import Readiness
from switchproof.deploy.observe.revision import is_commit, is_full, is_generation
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.record.events import Noted, RevisionResolved
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.record.past_runs import proven
from switchproof.deploy.run.journey import Journey
from switchproof.deploy.run.parallel import RENEW_S, Errand, Problems, in_parallel
from switchproof.deploy.run.results import Before, Confirmation, Diagnostics, Locked
from switchproof.deploy.run.supply import Supply

FRESH_S = 60.0
"""Seconds after the end of a host's watch for which it counts, while other hosts still build and switch."""


class Fleet:
    """The hosts of one run.

    A phase runs on every host at once, when the first result of it is needed. No host is changed before every host
    is connected, claimed and has the revision. An audit is connected to no more hosts at the same time than the plan
    says; with more hosts it disconnects from each one after the observation, and connects again for more questions.

    Args:
        plan: The plan of the run.
        run: The run's id.
        owner: Who started the run.
        provider: Makes connections to the hosts.
        journal: Receives every event.
    """

    def __init__(self, plan: Plan, run: str, owner: str, provider: Provider, journal: Journal) -> None:
        self.plan = plan
        self._stops = {host.name: threading.Event() for host in plan.target.hosts}
        self._abandoned = False
        self._journal = journal
        self.journeys = {
            host.name: Journey(
                host, plan=plan, run=run, owner=owner, provider=provider, journal=journal, stop=self._stops[host.name]
            )
            for host in plan.target.hosts
        }
        self._supply = Supply(plan, run, provider, journal, self._all)
        self._moved: dict[Leg, Problems] = {}
        self._looked: dict[Leg, Problems] = {}
        self._confirmed: dict[Leg, Problems] = {}
        self._unseen: Problems = {}
        self._watched_at: dict[str, float] = {}
        self._going_back: dict[str, Errand] = {}

    def commit(self, host: str) -> str:
        """Return the requested commit as the hosts' repository resolves it: full, except in an audit.

        Raises:
            SwitchproofError: The problem of this host, or of the run.
        """
        _raise_any(self._resolved, host)
        return self._commit

    def choice(self, host: str) -> Choice:
        """Return the system that a rollback of a host restores.

        Raises:
            SwitchproofError: The problem that prevented the choice.
        """
        _raise_any(self._resolved, host)
        choice = self.journeys[host].choice
        assert choice is not None  # chosen where there was no problem
        return choice

    def before(self, host: str) -> Before:
        """Return the state of a host before anything changed.

        Raises:
            SwitchproofError: The problem that prevented the record.
        """
        problems = self._resolved
        before = self.journeys[host].before
        if before is None:
            raise problems.get(host) or Inconclusive(f"{host}: its state before the run was not recorded")
        return before

    def convergence(self, host: str, leg: Leg) -> Convergence:
        """Return the result of a host's switch or rollback.

        Raises:
            SwitchproofError: The problem that prevented it.
        """
        problems, ended = self._converged if leg == "forward" else self._moved[leg], self.journeys[host].convergences
        if leg not in ended:  # a host that was lost may have reported it later
            _raise_any(problems, host)
        return ended[leg]

    def evaluated(self, host: str) -> str:
        """Return the system that the commit evaluates to for a host, without building it.

        Raises:
            SwitchproofError: The problem that prevented it.
        """
        _raise_any(self._resolved, host)
        found = self._evaluated
        if isinstance(found, Exception):
            raise found
        return found[self.plan.target.configuration(self.journeys[host].host)]

    def observation(self, host: str, leg: Leg) -> Observation:
        """Return the observation of a host.

        Raises:
            SwitchproofError: The problem that prevented it.
        """
        _raise_any(self._observed if leg == "forward" else self._seen_on(leg), host)
        return self.journeys[host].observations[leg]

    def differences(self, host: str) -> Differences:
        """Return the changes that a deploy would make on a host.

        Raises:
            SwitchproofError: The problem that prevented it.
        """
        _raise_any(self._compared, host)
        return self.journeys[host].compare()

    def readiness(self, host: str) -> Readiness:
        """Return what a host answered to a preflight.

        Raises:
            SwitchproofError: The problem that prevented it.
        """
        _raise_any(self._inspected, host)
        return self.journeys[host].inspect()

    def diagnostics(self, host: str, leg: Leg) -> Diagnostics:
        """Return the diagnostics of a host, collected now if they were not yet.

        Raises:
            SwitchproofError: The problem that prevented them.
        """
        _raise_any(self._connected, host)
        try:
            return self.journeys[host].diagnose(leg)
        finally:
            self.journeys[host].rest()

    def confirm(self, host: str, ready: Collection[str]) -> Confirmation:
        """Confirm a host, and at the same time every other host that is ready.

        Args:
            host: The host whose answer is needed.
            ready: The hosts that passed every other check; no other host is confirmed.

        Raises:
            SwitchproofError: The problem that prevented the answer.
        """
        leg, problems = self.journeys[host].leg, self._confirmed.setdefault(self.journeys[host].leg, {})
        if leg not in self.journeys[host].confirmations and host not in problems:
            chosen = [journey for name, journey in self.journeys.items() if name in {host, *ready}]
            problems |= in_parallel(chosen, Journey.confirm)
        _raise_any(problems, host)
        return self.journeys[host].confirmations[leg]

    def roll_back(self, reasons: Mapping[str, str]) -> None:
        """Restore the earlier systems of hosts, each with a reason; a host that went back at once has its own."""

        def bring_back(journey: Journey) -> None:
            if (errand := self._going_back.pop(journey.host.name, None)) is not None:
                with suppress(Exception):  # what did not come about is tried once more, here or by the checks
                    errand.end()
                if "back" in journey.convergences:
                    return
            journey.roll_back(reasons[journey.host.name])

        self._move("back", list(reasons), bring_back)

    def await_return(self, hosts: list[str]) -> None:
        """Wait until unconfirmed hosts have returned by themselves."""
        self._move("back", hosts, Journey.await_return)

    def go_again(self, hosts: list[str]) -> None:
        """Deploy the commit to hosts again."""
        self._move("again", hosts, lambda journey: journey.converge("again"))

    def _move(self, leg: Leg, hosts: list[str], step: Callable[[Journey], object]) -> None:
        self._moved[leg] = in_parallel([self.journeys[host] for host in hosts], step)
        self._looked.pop(leg, None)

    def abandon(self) -> None:
        """Break off the questions to all hosts, because the run is to end; hosts that are going back do so first."""
        self._abandoned = True
        left = [name for name in self.journeys if name not in self.going_back]
        for name in left:
            self._stops[name].set()
        self._supply.break_off()
        for name in left:
            self.journeys[name].abandon()
        for name in left:
            self._stops[name].clear()

    @property
    def going_back(self) -> list[str]:
        """The hosts that are going back before their checks have run."""
        return [name for name, errand in list(self._going_back.items()) if not errand.is_over]

    def leave(self, verdicts: Mapping[str, tuple[Verdict, Verdict | None]]) -> dict[str, HostState]:
        """Release every host, and return its state."""
        states = dict.fromkeys(self.journeys, HostState.UNKNOWN)
        for errand in self._going_back.values():
            with suppress(Exception):
                errand.end()

        def leave(journey: Journey) -> None:
            states[journey.host.name] = journey.leave(*verdicts[journey.host.name])

        for host, problem in in_parallel(self._all, leave, self.plan.parallel).items():
            self._journal.emit(Noted(host=host, text=f"The host's final state could not be determined: {problem}"))
        return states

    @property
    def locked(self) -> bool:
        """Whether another deploy holds a host."""
        return any(isinstance(problem, Locked) for problem in self._refusals)

    @property
    def refusal(self) -> UsageError | None:
        """The error that refused the run: an impossible request, or an unexpected host."""
        return next((problem for problem in self._refusals if isinstance(problem, UsageError)), None)

    @property
    def _refusals(self) -> list[Exception]:
        begun = self.__dict__
        return [*begun.get("_connected", {}).values(), *begun.get("_resolved", {}).values()]

    @property
    def _all(self) -> list[Journey]:
        return list(self.journeys.values())

    @cached_property
    def _connected(self) -> Problems:
        if self.plan.mode is Mode.AUDIT:
            return self._visited[0]
        problems = in_parallel(self._all, Journey.connect)
        if not problems:
            try:
                self._supply.reach()
            except Exception as error:  # noqa: BLE001 - it is raised where a host's result is asked for
                return dict.fromkeys(self.journeys, error)
        return problems

    @cached_property
    def _visited(self) -> tuple[Problems, Problems]:
        """Connect to each host and observe it; return the problems of both steps."""
        unreached: Problems = {}

        def visit(journey: Journey) -> None:
            name = journey.host.name
            if self._abandoned:
                unreached[name] = Inconclusive(f"{name}: the run was interrupted before this host was observed")
                return
            try:
                journey.connect()
            except Exception as error:  # noqa: BLE001 - it is raised where the host's result is asked for
                unreached[name] = error
                return
            try:
                journey.observe("forward")
            finally:
                journey.rest()

        unseen = in_parallel(self._all, visit, self.plan.parallel)
        self._name_what_runs()
        return unreached, unseen

    @cached_property
    def _commit(self) -> str:
        asked = self.plan.revision
        assert asked is not None  # only an audit may have none, and it does not ask
        if self.plan.mode is Mode.AUDIT:
            leader = next(journey for journey in self._all if journey.host.name not in self._connected)
            return leader.identify(asked)
        return next(journey.resolution.sha for journey in self._all if journey.resolution)

    @cached_property
    def _resolved(self) -> Problems:
        held_up = self._barrier(self._connected)
        if len(held_up) == len(self.journeys):
            return held_up
        if self.plan.mode is Mode.ROLLBACK:
            return self._chosen()
        if self.plan.mode is Mode.AUDIT:
            try:
                _ = self._commit
            except Exception as error:  # noqa: BLE001 - it is raised where a host's commit is asked for
                return dict.fromkeys(self.journeys, error)
            return held_up
        asked = self.plan.revision
        assert asked is not None  # only an audit may have none
        problems = self._together(lambda journey: journey.resolve(asked), RENEW_S)
        if not problems:  # the name may have moved while the hosts fetched it, each at its own moment
            problems = self._together(lambda journey: journey.resolve(self._commit), RENEW_S)
        resolution = next((journey.resolution for journey in self._all if journey.resolution), None)
        if resolution is not None:
            self._journal.emit(
                RevisionResolved(
                    requested=asked,
                    sha=resolution.sha,
                    subject=resolution.subject,
                    author=resolution.author,
                    authored=resolution.authored,
                )
            )
        return problems

    def _chosen(self) -> Problems:
        """Choose for every host the system that its rollback restores."""
        asked = self.plan.back_to
        if asked is not None and not is_generation(asked) and not is_commit(asked):
            try:
                asked = self._all[0].identify(asked)
            except Exception as error:  # noqa: BLE001 - it is raised where a host's choice is asked for
                return dict.fromkeys(self.journeys, error)

        def choose(journey: Journey) -> None:
            target, name = self.plan.target, journey.host.name
            journey.choose(asked, proven(self.plan.report_dir, target.provider, name) if asked is None else ())

        problems = in_parallel(self._all, choose)
        commits = {journey.choice.commit for journey in self._all if journey.choice}
        if not problems and len(commits) == 1 and is_full(commit := commits.pop()):
            text = self.plan.back_to or "what ran earlier"
            self._journal.emit(RevisionResolved(requested=text, sha=commit, subject=""))
        return problems

    @cached_property
    def _converged(self) -> Problems:
        if held_up := self._barrier(self._resolved):
            return held_up
        if held_up := self._barrier(self._supplied):
            return held_up
        # A host that has switched must not return by itself while others still build.
        limits_s = [self.plan.target.confirm_s, *(journey.reconnect_s for journey in self._all)]
        every_s = min([RENEW_S, *(limit_s / 3 for limit_s in limits_s if limit_s)])
        return self._together(self._go_forward, every_s)

    def _go_forward(self, journey: Journey) -> None:
        """Switch a host and watch it, whatever others still do; bring it back at once where no check can pass it."""
        name = journey.host.name
        journey.converge()
        if self._abandoned:
            return
        try:
            journey.observe("forward")
        except Exception as error:  # noqa: BLE001 - it is raised where the host's observation is asked for
            self._unseen[name] = error
            return
        self._watched_at[name] = time.monotonic()
        if self.plan.goes_back_at_once and (reason := journey.hopeless):
            self._go_back_at_once(journey, reason)

    def _go_back_at_once(self, journey: Journey, reason: str) -> None:
        """Begin to bring a host back before its checks have run, and to watch it there; no other host waits."""
        name = journey.host.name
        try:
            journey.diagnose("forward")
        except SwitchproofError:  # its checks ask again while the host is as it failed, and it goes back after them
            return

        def go_back() -> None:
            journey.roll_back(reason)
            journey.observe("back")

        errand = self._going_back[name] = Errand(go_back)
        if self._abandoned:
            del self._going_back[name]
        else:
            errand.begin()

    @cached_property
    def _supplied(self) -> Problems:
        return {} if self.plan.revision is None else self._supply.bring(self._commit)

    def _together(self, step: Callable[[Journey], object], every_s: float) -> Problems:
        """Take a step on every host; hosts that have finished are renewed until all have."""
        under_way = set(self.journeys)
        all_there = threading.Event()

        def take(journey: Journey) -> None:
            try:
                step(journey)
            finally:
                under_way.discard(journey.host.name)
                if not under_way:
                    all_there.set()
            while self.plan.mode.changes_hosts and not all_there.wait(every_s):
                errand = self._going_back.get(journey.host.name)
                if errand is None or errand.is_over:
                    journey.renew(awaits_confirmation=errand is None)

        return in_parallel(self._all, take)

    @cached_property
    def _evaluated(self) -> dict[str, str] | Exception:
        try:
            return self._supply.evaluate(self._commit)
        except Exception as error:  # noqa: BLE001 - it is raised for each host
            return error

    @cached_property
    def _compared(self) -> Problems:
        held_up = self._barrier(self._resolved) or self._barrier(self._supplied)
        return held_up or in_parallel(self._all, Journey.compare)

    @cached_property
    def _inspected(self) -> Problems:
        """Ask every host that can be reached, so that all findings come at once."""
        reached = [journey for name, journey in self.journeys.items() if name not in self._connected]
        return {**self._connected, **in_parallel(reached, Journey.inspect)}

    @cached_property
    def _observed(self) -> Problems:
        if self.plan.mode is Mode.AUDIT:
            return {**self._connected, **self._visited[1]}
        if held_up := self._barrier(self._resolved):
            return held_up
        _ = self._converged
        # What was seen of a host long before the last one had switched says little of now.
        for name, at in self._watched_at.items():
            if name not in self._going_back and time.monotonic() - at > FRESH_S:
                self.journeys[name].look_anew()
        rest = [journey for name, journey in self.journeys.items() if name not in self._unseen]
        return {**self._unseen, **in_parallel(rest, lambda journey: journey.observe("forward"))}

    def _seen_on(self, leg: Leg) -> Problems:
        """Observe every host that took a leg, when the first observation is needed."""
        if leg not in self._looked:
            moved = [journey for journey in self._all if leg in journey.convergences]
            looked = in_parallel(moved, lambda journey: journey.observe(leg))
            self._looked[leg] = {**self._moved[leg], **looked}
        return self._looked[leg]

    def _name_what_runs(self) -> None:
        """Record the commit of an audit: the requested one, or the one that every observed host runs."""
        seen = {journey.observations["forward"].system.commit for journey in self._all if journey.observations}
        asked = self.plan.revision or ""
        commit = seen.pop() if len(seen) == 1 else None
        if commit and commit.startswith(asked if is_commit(asked) else ""):
            self._journal.emit(RevisionResolved(requested=asked, sha=commit, subject=""))

    def _barrier(self, problems: Problems) -> Problems:
        """Hold every host back because of one host's problem; in an audit only that host."""
        if not problems or self.plan.mode is Mode.AUDIT:
            return problems
        first, problem = next(iter(problems.items()))
        return {
            name: problems.get(name)
            or Inconclusive(
                f"{name}: not started, because host {first} was not ready: {problem}", getattr(problem, "remedy", "")
            )
            for name in self.journeys
        }


def _raise_any(problems: Problems, host: str) -> None:
    if host in problems:
        raise problems[host]
