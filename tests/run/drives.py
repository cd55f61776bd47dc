"""A fleet of fake hosts on its way through a run, as a session takes it there, without pytest and without waiting."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from switchproof.deploy.contract import HostState, Verdict, combine
from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.host.patience import Patience
from switchproof.deploy.observe.convergence import Ending
from switchproof.deploy.plan import PARALLEL, Drill, Mode, Plan
from switchproof.deploy.providers import load
from switchproof.deploy.record.events import HostLeft, Noted, PhaseStarted, Warned
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run.fleet import Fleet
from switchproof.deploy.run.journey import Journey
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.source import Source
from switchproof.deploy.target.types import Build, Converge, Rollback, Target, Waiver
from tests.run.hosts import Clock, Host, Turn

CONFIRM_S = 30.0
HOST = Build()
CHANGING = ("converge", "rollback")


@cache
def make_target(*hosts: str, confirm_s: float, reconnect_s: float | None) -> Target:
    """The lab's target with some of its hosts."""
    target = load(TARGETS / "lab.toml", {}, hosts)
    converge = Converge(reconnect_s=reconnect_s)
    return msgspec.structs.replace(target, rollback=Rollback(confirm_s=confirm_s), converge=converge)


class Drive:
    """One run over fake hosts.

    Args:
        folder: Where its journal goes.
        hosts: The hosts, of which each has a name of the lab's.
        mode: What the run does.
        revision: The revision that it is asked for.
        on_failure: What becomes of a host that does not pass.
        drill: How a drill goes back.
        confirm_s: Seconds after which an unconfirmed host goes back by itself.
        reconnect_s: Seconds after the switch for a new connection, by this machine's clock; 0: none is tried; None:
            as many as by default.
        parallel: Hosts that an audit is connected to at the same time.
        checks: Folders with checks of the team's own.
        waivers: Failures that are accepted.
        build: Where systems are built.
        source: The commit that the runner sends.
    """

    def __init__(
        self,
        folder: Path,
        *hosts: Host,
        mode: Mode = Mode.DEPLOY,
        revision: str | None = "main",
        on_failure: Literal["rollback", "keep"] = "rollback",
        drill: Drill | None = None,
        confirm_s: float = CONFIRM_S,
        take_lock: bool = False,
        reconnect_s: float | None = 0.0,
        parallel: int = PARALLEL,
        checks: tuple[Path, ...] = (),
        waivers: tuple[Waiver, ...] = (),
        build: Build = HOST,
        source: Source | None = None,
    ) -> None:
        self.hosts = {host.host: host for host in hosts}
        self.clock, self.trace = Clock(), list[str]()
        for host in hosts:
            host.clock, host.trace = self.clock, self.trace
        target = make_target(*self.hosts, confirm_s=confirm_s, reconnect_s=reconnect_s)
        self.plan = Plan(
            mode=mode,
            revision=revision if mode is not Mode.ROLLBACK else None,
            drill=drill,
            target=msgspec.structs.replace(target, waivers=waivers, build=build),
            targets_file=Path("lab.toml"),
            on_failure=on_failure,
            take_lock=take_lock,
            report_dir=folder,
            parallel=parallel,
            checks=checks,
            source=source,
        )
        self.journal = Journal(folder / "run", Redactor(()))
        self.fleet = Fleet(self.plan, "r-1", "me@here", self, self.journal)
        self.fleet._stops = dict.fromkeys(self.hosts, self.clock)
        for journey in self.fleet.journeys.values():
            journey._host_side._stop = self.clock
            journey._host_side._patience = Patience(lambda: self.clock.now)
        for host in hosts:
            host.end_run = self.fleet.abandon
        self.verdicts: dict[tuple[str, Leg], Verdict] = {}
        self.problems: list[str] = []

    # As a provider.

    def connect(self, host: str) -> Host:
        return self.hosts[host].connect()

    def close(self) -> None:
        pass

    # As a session.

    def run(self) -> dict[str, HostState]:
        """Take every host through the run to its end; return the state that each is left in."""
        self._check("forward", list(self.hosts))
        self._go_back()
        if self.plan.mode is Mode.DRILL:
            self._drill()
        over = {name: self._verdict(name) for name in self.hosts}
        return self.fleet.leave({name: (over[name], self.verdicts.get((name, "back"))) for name in self.hosts})

    def _settle(self) -> None:
        for host in self.hosts.values():
            if host.ending is not None:
                host.ending.join()

    def _verdict(self, name: str) -> Verdict:
        wanted: tuple[Leg, ...] = ("forward",)
        if self.plan.mode is Mode.DRILL and self.verdicts[name, "forward"].accepted:
            wanted = ("forward", "back", "again")
        return combine(self.verdicts.get((name, leg), Verdict.INCONCLUSIVE) for leg in wanted)

    def _check(self, leg: Leg, hosts: list[str]) -> None:
        """Make what a leg's checks ask of the fleet, in the order of the contract, one host after the other."""
        asks: list[Callable[[str], object]] = [
            lambda name: self.fleet.convergence(name, leg),
            lambda name: self.fleet.observation(name, leg),
        ]
        if leg == "forward":
            asks.insert(0, self.fleet.choice if self.plan.mode is Mode.ROLLBACK else self.fleet.commit)
        if self.plan.mode is Mode.AUDIT:
            asks = [lambda name: self.fleet.observation(name, leg)]
        for ask in asks:
            for name in hosts:
                self._ask(ask, name, leg)
        for name in hosts:
            journey = self.fleet.journeys[name]
            if (name, leg) not in self.verdicts:
                seen, ended = journey.observations[leg], journey.convergences.get(leg)
                good = seen.healthy and (
                    ended is None or (ended.ending is Ending.DONE and seen.system.running == ended.expected)
                )
                self.verdicts[name, leg] = Verdict.PASSED if good else Verdict.FAILED
        last = "again" if self.plan.mode is Mode.DRILL else "forward"
        for name in hosts if leg == last and self.plan.mode.changes_hosts else ():
            if self.verdicts[name, leg].accepted:
                self._ask(self._confirm, name, leg)
        self._settle()

    def _confirm(self, name: str) -> None:
        leg = self.fleet.journeys[name].leg
        ready = [host for host in self.hosts if self.verdicts.get((host, leg), Verdict.FAILED).accepted]
        if not self.fleet.confirm(name, ready).is_lasting:
            self.verdicts[name, leg] = Verdict.FAILED

    def _ask(self, ask: Callable[[str], object], name: str, leg: Leg) -> None:
        try:
            ask(name)
        except SwitchproofError as error:
            self.verdicts[name, leg] = Verdict.INCONCLUSIVE
            self.problems.append(str(error))

    def _go_back(self) -> None:
        reasons = {}
        for name, journey in self.fleet.journeys.items():
            is_first = self.plan.mode is Mode.DRILL and journey.leg == "forward"
            if journey.kept or not journey.changed or (is_first and self.verdicts[name, "forward"].accepted):
                continue
            if self.plan.on_failure == "rollback" or journey.returned:
                reasons[name] = "it did not pass"
        self._back(lambda: self.fleet.roll_back(reasons), list(reasons))

    def _back(self, step: Callable[[], None], hosts: list[str]) -> None:
        if hosts:
            for name in hosts:
                self.verdicts.pop((name, "back"), None)
            step()
            self._settle()
            self._check("back", hosts)

    def _drill(self) -> None:
        hosts = [name for name in self.hosts if self.verdicts[name, "forward"].accepted]
        if self.plan.drill == "dead-man":
            self._back(lambda: self.fleet.await_return(hosts), hosts)
        else:
            self._back(lambda: self.fleet.roll_back(dict.fromkeys(hosts, "the drill")), hosts)
        if hosts := [name for name in hosts if self.verdicts[name, "back"].accepted]:
            self.fleet.go_again(hosts)
            self._check("again", hosts)
            self._go_back()

    # What it came to.

    @property
    def phases(self) -> list[str]:
        """The phases in the order in which they began, as `host leg phase`."""
        return [
            f"{event.host} {event.leg} {event.phase}"
            for event in self.journal.events
            if isinstance(event, PhaseStarted)
        ]

    @property
    def journey(self) -> Journey:
        """The way of the only host."""
        (journey,) = self.fleet.journeys.values()
        return journey

    @property
    def words(self) -> str:
        """What the run noted, warned of and said of the hosts' states."""
        events = self.journal.events
        texts = [event.text for event in events if isinstance(event, Noted | Warned)]
        return "\n".join([*texts, *(event.reason for event in events if isinstance(event, HostLeft))])


def lost() -> Turn:
    """The host does what it is asked, and its answer is lost."""
    return Turn(after=Host.lose)


def unheard() -> Turn:
    """The question is lost on its way."""
    return Turn(before=Host.lose)


def changes(drive: Drive) -> list[str]:
    """What was asked that changes a host."""
    return [asked for asked in drive.trace if asked.split()[1] in CHANGING]
