"""A host that no check can pass goes back at once, whatever its neighbours still do."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from switchproof.deploy.contract import HostState, Verdict
from switchproof.deploy.record.events import RollbackBegun
from switchproof.deploy.run import fleet
from switchproof.deploy.target.types import Waiver
from tests.answers import TOPLEVEL
from tests.run.drives import Drive
from tests.run.hosts import BEFORE, Host, Turn

UNITS_FAILED = {
    "converge": {"rc": "4", "stage": "switch", "log": "--- switch\nwarning: the following units failed: x.service\n"}
}


def once(holds: Callable[[], bool]) -> Turn:
    """A turn that lasts until something holds."""

    def wait(_: Host) -> None:
        deadline = time.monotonic() + 30.0
        while not holds():
            assert time.monotonic() < deadline, "it did not come about meanwhile"
            time.sleep(0.01)

    return Turn(before=wait)


def is_seen_to_be_back(host: Host) -> bool:
    """Whether a host was looked at again after it went back."""
    verbs = [question.verb for question in host.asked]
    return "rollback" in verbs and "observe" in verbs[verbs.index("rollback") :]


@pytest.mark.parametrize("asked", ["status converge", "observe"])
@pytest.mark.parametrize("ends", [{}, {"converge": {"rc": "2"}}], ids=["unhealthy", "its switch failed"])
def test_host_that_cannot_pass_goes_back_while_its_neighbour_switches_or_is_watched(
    tmp_path: Path, ends: dict[str, dict[str, str]], asked: str
) -> None:
    """Users of a broken host do not wait for the build or the soak of a good one."""
    a = Host("a", sick=() if ends else [TOPLEVEL], ends=ends)
    drive = Drive(tmp_path, a, b := Host("b", turns={asked: [once(lambda: is_seen_to_be_back(a))]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK, "b": HostState.CONVERGED}
    assert (a.toplevel, b.toplevel) == (BEFORE, TOPLEVEL)
    assert [question.verb for question in a.asked].count("rollback") == 1


def test_good_host_keeps_its_system_while_its_neighbour_goes_back(tmp_path: Path) -> None:
    """A way back may take as long as it wants: nobody else waits for it unconfirmed."""
    turn = once(lambda: "confirm" in [question.verb for question in b.asked])
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL], turns={"status rollback": [turn]}), b := Host("b"))
    assert drive.run() == {"a": HostState.ROLLED_BACK, "b": HostState.CONVERGED}


def test_host_that_goes_back_is_waited_for_before_it_is_left(tmp_path: Path) -> None:
    """Also where nothing asks for it any more: its end is seen, and its lock is given back after that."""
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL]))
    drive.fleet.convergence("a", "forward")
    drive.fleet.leave({"a": (Verdict.FAILED, None)})
    verbs = [question.verb for question in host.asked]
    assert verbs[verbs.index("rollback") :] == ["rollback", "status", "observe", "confirm", "observe"]
    assert host.toplevel == BEFORE


@pytest.mark.parametrize(
    ("asked", "before"), [("rollback", 0), ("status rollback", 0), ("observe", 1)], ids=["begin", "end", "watch"]
)
def test_way_back_that_was_not_seen_is_followed_once_more(tmp_path: Path, asked: str, before: int) -> None:
    """A host that nobody reaches for longer than a question is tried gets another chance, and no second job."""
    turns = {asked: [*[Turn()] * before, Turn(before=lambda host: host.vanish(150.0))]}
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL], turns=turns), confirm_s=0.0)
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert {question.values["SWITCHPROOF_JOB"] for question in host.asked if question.verb == "rollback"} == {
        "rollback"
    }


def test_lock_of_host_that_went_back_is_renewed_but_not_its_wait_for_a_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own way back stays armed, should the run's have failed."""
    monkeypatch.setattr(fleet, "RENEW_S", 0.002)
    renewed = threading.Event()
    turns = {"status rollback": [Turn(), Turn(after=lambda _: renewed.set())]}
    a = Host("a", sick=[TOPLEVEL], turns=turns)
    drive = Drive(tmp_path, a, Host("b", turns={"status converge": [once(renewed.is_set)]}))
    drive.run()
    assert renewed.is_set()
    asked = [question.verb for question in a.asked]
    assert not [question for question in a.asked[asked.index("rollback") :] if "SWITCHPROOF_RENEW" in question.values]


def test_interruption_does_not_wait_for_a_host_that_went_back(tmp_path: Path) -> None:
    """Only hosts that are going back at that moment are named and left alone."""
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL]))
    drive.fleet.convergence("a", "forward")
    deadline = time.monotonic() + 30.0
    while drive.fleet.going_back:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    host.closed.clear()
    drive.fleet.abandon()
    assert host.closed.is_set()


def test_reason_names_what_did_not_become_healthy(tmp_path: Path) -> None:
    """The way back begins before a check has failed, so its reason is what was seen."""
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL]))
    drive.run()
    (begun,) = [event for event in drive.journal.events if isinstance(event, RollbackBegun)]
    assert begun.reason == "live did not become healthy"


@pytest.mark.parametrize("ends", [{}, UNITS_FAILED], ids=["unhealthy", "units failed"])
def test_host_is_diagnosed_before_it_goes_back(tmp_path: Path, ends: dict[str, dict[str, str]]) -> None:
    """What failed is gone afterwards."""
    drive = Drive(tmp_path, host := Host("a", sick=() if ends else [TOPLEVEL], ends=ends))
    drive.run()
    verbs = [question.verb for question in host.asked]
    assert "diagnose" in verbs[: verbs.index("rollback")]


def test_host_that_cannot_be_diagnosed_waits_for_its_checks(tmp_path: Path) -> None:
    """They ask once more, while the host is as it failed."""
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL], turns={"diagnose": [Turn(before=Host.lose)] * 9}))
    drive.fleet.convergence("a", "forward")
    assert host.toplevel == TOPLEVEL


WAIVED = Waiver(check="runtime/live", reason="known", owner="me", expires=dt.datetime(2099, 1, 1, tzinfo=dt.UTC))


@pytest.mark.parametrize("why", ["checks", "waivers", "keep"])
def test_host_that_others_are_to_look_at_waits_for_its_checks(tmp_path: Path, why: str) -> None:
    """Checks of the team's own look at the host, a waiver may let it pass, and a person may want to keep it."""
    on_failure: Literal["rollback", "keep"] = "keep" if why == "keep" else "rollback"
    checks = (Path("own"),) if why == "checks" else ()
    waivers = (WAIVED,) if why == "waivers" else ()
    host = Host("a", sick=[TOPLEVEL])
    drive = Drive(tmp_path, host, on_failure=on_failure, checks=checks, waivers=waivers)
    drive.fleet.observation("a", "forward")
    assert host.toplevel == TOPLEVEL


@pytest.mark.parametrize(("fresh_s", "watches"), [(fleet.FRESH_S, 1), (0.0, 2)])
def test_host_that_waited_long_for_its_neighbours_is_watched_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_s: float, watches: int
) -> None:
    """What is judged was seen when the last host had switched, or shortly before."""
    monkeypatch.setattr(fleet, "FRESH_S", fresh_s)
    drive = Drive(tmp_path, host := Host("a"))
    drive.fleet.observation("a", "forward")
    assert [question.verb for question in host.asked].count("observe") == watches
    assert drive.words.count("is watched once more") == watches - 1


def test_host_that_fell_ill_while_it_waited_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the last look that is judged."""
    monkeypatch.setattr(fleet, "FRESH_S", 0.0)
    sick = list[str]()
    host = Host("a", sick=sick, turns={"observe": [Turn(after=lambda _: sick.append(TOPLEVEL))]})
    assert Drive(tmp_path, host).run() == {"a": HostState.ROLLED_BACK}
