"""Brings to hosts what they neither build nor fetch: systems that another machine built, and a flake's inputs."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from switchproof.deploy.connection import Provider
from switchproof.deploy.errors import BuildFailed
from switchproof.deploy.plan import Plan
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.run.building import System, Workshop
from switchproof.deploy.run.journey import Journey
from switchproof.deploy.run.parallel import Problems, in_parallel, renewing
from switchproof.deploy.run.sites import Remote, Runner, Site, Stock
from switchproof.deploy.target.types import OWN

COPIES = 8
"""Hosts that get systems from a builder at the same time."""


class Supply:
    """What a run builds or fetches elsewhere for its hosts.

    Args:
        plan: The plan of the run.
        run: The run's id.
        provider: Makes connections to a builder.
        journal: Receives every event.
        journeys: The hosts.
    """

    def __init__(
        self, plan: Plan, run: str, provider: Provider, journal: Journal, journeys: Sequence[Journey]
    ) -> None:
        self._plan, self._journeys = plan, journeys
        on = plan.target.build.on
        self._stop = threading.Event()
        self._site: Site = Runner() if on in OWN else Remote(on, provider, run)
        self._workshop = Workshop(plan.target, journal, self._site, plan.source, self._stop)
        # sshd on a builder refuses connections that begin together; the runner has no such limit.
        self._slots = threading.Semaphore(len(journeys) if isinstance(self._site, Runner) else COPIES)

    def reach(self) -> None:
        """Reach the machine that builds, if hosts do not build themselves.

        Raises:
            SwitchproofError: It cannot be reached.
        """
        if self._builds_elsewhere:
            self._site.reach()

    def bring(self, commit: str) -> Problems:
        """Build elsewhere if the plan says so, and copy the results to every host before any host switches.

        Hosts that build themselves get a flake's inputs that the runner sends, which they may be unable to fetch.
        """
        return self._bring_systems(commit) if self._builds_elsewhere else self._bring_inputs()

    def evaluate(self, commit: str) -> dict[str, str]:
        """Return the system of each configuration of the hosts as the commit evaluates to, without building it.

        Raises:
            SwitchproofError: It could not be evaluated.
        """
        target = self._plan.target
        with self._workshop as workshop:
            self._site.reach()
            return workshop.evaluate(commit, [target.configuration(host) for host in target.hosts])

    def break_off(self) -> None:
        """End what is built and fetched, because the run is to end."""
        self._stop.set()
        self._workshop.break_off()
        self._stop.clear()

    @property
    def _builds_elsewhere(self) -> bool:
        return self._plan.target.build.on != "host" and self._plan.mode.needs_a_system

    def _bring_systems(self, commit: str) -> Problems:
        target = self._plan.target
        of_hosts = {host.name: target.configuration(host) for host in target.hosts}
        problems: Problems = {}
        copies: list[threading.Thread] = []
        with renewing(self._journeys), self._workshop as workshop:
            try:
                for configuration, system in workshop.build(commit, of_hosts):
                    hosts = [each for each in self._journeys if of_hosts[each.host.name] == configuration]
                    copies.append(threading.Thread(target=self._copy, args=(system, hosts, problems), daemon=True))
                    copies[-1].start()
            except BuildFailed as error:
                failing = [each for each in self._journeys if of_hosts[each.host.name] == error.configuration]
                for journey in failing:
                    journey.take_failed_build(error)
                problems |= {journey.host.name: error for journey in failing or self._journeys}
            except Exception as error:  # noqa: BLE001 - it is raised where a host's convergence is asked for
                problems |= dict.fromkeys(of_hosts, error)
            for copy in copies:
                copy.join()
        return problems

    def _bring_inputs(self) -> Problems:
        source = self._plan.source
        if source is None or not source.inputs:
            return {}
        with renewing(self._journeys), self._workshop as workshop:
            try:
                paths, stock = workshop.archive(source), Stock(self._site)
            except BuildFailed as error:
                return {journey.host.name: error for journey in self._journeys}
            return in_parallel(self._journeys, lambda journey: journey.receive_inputs(paths, stock))

    def _copy(self, system: System, hosts: list[Journey], problems: Problems) -> None:
        """Copy a system to its hosts, while other configurations are still built."""
        stock = Stock(self._site)

        def receive(journey: Journey) -> None:
            with self._slots:
                journey.receive(system, stock)

        problems |= in_parallel(hosts, receive)
