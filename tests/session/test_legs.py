"""Which hosts are brought back at the end of a leg, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from switchproof.collection.items import PLACE
from switchproof.deploy.contract import Clause
from switchproof.deploy.plan import Mode
from switchproof.session.legs import Legs


class Hosts:
    """Two hosts: `a` failed on the way forward, `b` passes on every leg."""

    def __init__(self) -> None:
        self.brought_back: list[str] = []
        self.journeys = {
            name: SimpleNamespace(kept=False, changed=True, leg="forward", returned=False) for name in ("a", "b")
        }

    def roll_back(self, reasons: Mapping[str, str]) -> None:
        self.brought_back += reasons

    def go_again(self, names: list[str]) -> None:
        for name in names:
            self.journeys[name].leg, self.journeys[name].kept = "again", True


def test_host_that_came_back_is_not_brought_back_once_more_at_the_end_of_a_drill() -> None:
    """Its neighbour is drilled on; it stays what it was restored to, and was verified as."""
    hosts = Hosts()
    results: Any = SimpleNamespace(
        failed=lambda name, leg: [Clause.RUNTIME] if (name, leg) == ("a", "forward") else [],
        all_passed=lambda name, leg: (name, leg) != ("a", "forward"),
    )
    plan: Any = SimpleNamespace(mode=Mode.DRILL, on_failure="rollback", drill="rollback")
    later = [
        SimpleNamespace(stash={PLACE: SimpleNamespace(leg=leg, host=name)})
        for leg in ("back", "again")
        for name in "ab"
    ]
    hook = SimpleNamespace(pytest_runtest_protocol=lambda **_: None)
    fleet: Any = hosts
    collection: Any = SimpleNamespace(later=later)
    session: Any = SimpleNamespace(items=[], testscollected=0, config=SimpleNamespace(hook=hook))
    judging: Any = SimpleNamespace(forget=lambda _: None)
    legs = Legs(plan, fleet, collection, session, results=results, judging=judging, is_interrupted=lambda: False)
    legs.go_back()
    legs.drill()
    assert hosts.brought_back == ["a", "b"]
