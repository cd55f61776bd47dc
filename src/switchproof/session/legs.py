"""Runs the legs of a run after the first: the way back, and those of a drill."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from switchproof.collection.items import PLACE, is_last
from switchproof.collection.plugin import Collection
from switchproof.deploy.contract import Clause
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.run.fleet import Fleet
from switchproof.session.judging import Judging
from switchproof.session.results import Results


class Legs:
    """Brings hosts back and deploys to them again, each time with the checks of that leg.

    Args:
        plan: What the run does.
        hosts: Its hosts.
        collection: The checks of later legs.
        session: The session of pytest.
        results: The verdicts so far.
        judging: Judges the checks.
        is_interrupted: Whether the run was told to end.

    Attributes:
        is_going_back: Whether hosts are being brought back and verified at this moment.
    """

    def __init__(
        self,
        plan: Plan,
        hosts: Fleet,
        collection: Collection,
        session: pytest.Session,
        *,
        results: Results,
        judging: Judging,
        is_interrupted: Callable[[], bool],
    ) -> None:
        self.is_going_back = False
        self._came_back: set[str] = set()
        self._plan = plan
        self._hosts = hosts
        self._collection = collection
        self._results = results
        self._judging = judging
        self._session = session
        self._is_interrupted = is_interrupted

    def go_back(self) -> None:
        """Roll back every changed host that did not pass, and run the same checks on what was restored."""
        reasons = {}
        for name, journey in self._hosts.journeys.items():
            failed = self._results.failed(name, journey.leg)
            # What a drill deploys first is never confirmed: it goes back on purpose.
            first = self._plan.mode is Mode.DRILL and journey.leg == "forward"
            if journey.kept or not journey.changed or (first and not failed and not self._is_interrupted()):
                continue
            if name in self._came_back and journey.leg == "forward":
                continue
            if self._plan.on_failure == "rollback" or journey.returned:
                reasons[name] = self._reason(failed)
        if not reasons:
            return
        self.is_going_back = True
        self._hosts.roll_back(reasons)
        self._run("back", list(reasons))
        self._came_back |= {name for name in reasons if self._results.all_passed(name, "back")}
        self.is_going_back = False

    def drill(self) -> None:
        """Bring back on purpose the hosts that passed, check them, deploy to them again, and check them again."""
        hosts = [name for name in self._hosts.journeys if self._results.all_passed(name, "forward")]
        if not hosts or self._is_interrupted():
            return
        if self._plan.drill == "dead-man":
            self._hosts.await_return(hosts)
        else:
            self._hosts.roll_back(dict.fromkeys(hosts, "the drill goes back on purpose"))
        if not self._is_interrupted():
            self._run("back", hosts)
            hosts = [name for name in hosts if self._results.all_passed(name, "back")]
        if hosts and not self._is_interrupted():
            self._hosts.go_again(hosts)
            self._run("again", hosts)
        self.go_back()

    def judge_confirmed(self) -> None:
        """Judge the answers of hosts that were confirmed before the run was told to end; no host is asked again."""
        waiting = [item for item in self._session.items if is_last(item) and not self._judging.has_made(item)]
        for item in waiting:
            if self._hosts.journeys[item.stash[PLACE].host].kept:
                self._session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    def _reason(self, failed: list[Clause]) -> str:
        if failed:
            return f"{', '.join(failed)} did not pass"
        return "the run was interrupted" if self._is_interrupted() else "not every check ran, so nothing confirmed it"

    def _run(self, leg: Leg, hosts: list[str]) -> None:
        """Run the checks of a leg on some hosts."""
        later = ((item, item.stash[PLACE]) for item in self._collection.later)
        chosen = [item for item, place in later if place.leg == leg and place.host in hosts]
        self._session.items.extend(chosen)
        self._session.testscollected = len(self._session.items)
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            self._judging.forget(item)
            self._session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
