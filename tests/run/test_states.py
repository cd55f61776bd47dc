"""The state that a host is left in, wherever a run is interrupted and wherever its host is lost for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.contract import HostState, Verdict
from switchproof.deploy.errors import HostUnready
from switchproof.deploy.plan import Mode
from tests.answers import TOPLEVEL
from tests.run.drives import CONFIRM_S, Drive
from tests.run.hosts import BEFORE, Host, Turn

UNCHANGED, ROLLED_BACK, UNSAFE, UNKNOWN = (
    HostState.UNCHANGED,
    HostState.ROLLED_BACK,
    HostState.UNSAFE,
    HostState.UNKNOWN,
)

INTERRUPT = Turn(before=Host.interrupt)

OWN = (Path("own"),)
"""Checks of the team's own, which look at the host before it goes back."""

INTERRUPTED = [
    ("resolve", UNCHANGED, UNCHANGED),
    ("converge", UNCHANGED, ROLLED_BACK),
    ("status converge", ROLLED_BACK, ROLLED_BACK),
    ("observe", ROLLED_BACK, ROLLED_BACK),
    ("confirm converge", ROLLED_BACK, ROLLED_BACK),
]
"""Where a deploy is interrupted; the state if the host had not yet heard the question, and if it had."""


@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize(("asked", "unheard_state", "heard_state"), INTERRUPTED)
def test_interruption_of_a_deploy(
    tmp_path: Path,
    asked: str,
    unheard_state: HostState,
    heard_state: HostState,
    *,
    heard: bool,
) -> None:
    """A run that is told to end brings back, and verifies, every host on which it may have begun something."""
    turn = Turn(after=Host.interrupt) if heard else Turn(before=Host.interrupt)
    drive = Drive(tmp_path, host := Host("a", turns={asked: [turn]}))
    assert drive.run() == {"a": heard_state if heard else unheard_state}
    assert host.toplevel == BEFORE
    assert host.holder == ""
    assert not drive.clock.is_set()


@pytest.mark.parametrize("asked", ["status rollback", "rollback"])
def test_interruption_of_the_way_back_is_unsafe(tmp_path: Path, asked: str) -> None:
    """A way back whose end nobody saw is not said to have come to one."""
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL], turns={asked: [INTERRUPT]}), checks=OWN)
    assert drive.run() == {"a": UNSAFE}


def test_interruption_while_the_restored_system_is_looked_at_is_unsafe(tmp_path: Path) -> None:
    """A restored system that was not verified is no proof, though it may well be healthy."""
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL], turns={"observe": [Turn(), INTERRUPT]}), checks=OWN)
    assert drive.run() == {"a": UNSAFE}


@pytest.mark.parametrize("asked", ["status rollback", "rollback"])
def test_interruption_does_not_break_off_a_way_back_that_began_at_once(tmp_path: Path, asked: str) -> None:
    """A host that no check could pass goes back before the run ends, and is verified there."""
    turns = {asked: [Turn(before=lambda host: host.end_run())]}
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL], turns=turns))
    assert drive.run() == {"a": ROLLED_BACK}
    assert host.toplevel == BEFORE


def test_interruption_while_a_host_is_left_is_unknown(tmp_path: Path) -> None:
    """A host that could not be told that the run is over was not seen at its end."""
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL], turns={"confirm": [INTERRUPT]}))
    assert drive.run() == {"a": UNKNOWN}
    assert "The host could not be released" in drive.words


def test_interruption_brings_back_every_host(tmp_path: Path) -> None:
    """One host is asked while the run is told to end; the other one, which is switched already, goes back too."""
    drive = Drive(tmp_path, a := Host("a"), b := Host("b", turns={"observe": [INTERRUPT]}))
    states = drive.run()
    assert states["b"] is ROLLED_BACK
    assert b.toplevel == BEFORE
    assert (states["a"], a.toplevel) in {(HostState.CONVERGED, TOPLEVEL), (ROLLED_BACK, BEFORE)}


GONE = [
    ("resolve", UNCHANGED),
    ("converge", UNKNOWN),
    ("status converge", UNKNOWN),
    ("observe", UNKNOWN),
    ("confirm converge", UNKNOWN),
]


@pytest.mark.parametrize(("asked", "state"), GONE)
def test_host_that_is_gone_for_good(tmp_path: Path, asked: str, state: HostState) -> None:
    """Of a host that nobody reaches any more, it is known only whether anything was begun there."""
    drive = Drive(tmp_path, Host("a", turns={asked: [Turn(before=Host.vanish)]}))
    assert drive.run() == {"a": state}
    waits = f"Unless it is confirmed, the host goes back by itself {CONFIRM_S:g} s after the switch." in drive.words
    assert waits == (state is UNKNOWN)


def test_host_without_a_deadline_is_not_said_to_go_back(tmp_path: Path) -> None:
    """With rollback.confirm_s = 0 nobody is promised that a lost host goes back."""
    drive = Drive(tmp_path, Host("a", turns={"observe": [Turn(before=Host.vanish)]}), confirm_s=0.0)
    assert drive.run() == {"a": UNKNOWN}
    assert "goes back by itself" not in drive.words


@pytest.mark.parametrize("asked", ["rollback", "status rollback"])
def test_host_that_is_gone_on_the_way_back(tmp_path: Path, asked: str) -> None:
    """A host that is lost while it is brought back is unknown, and never rolled back."""
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL], turns={asked: [Turn(before=Host.vanish)]}))
    assert drive.run() == {"a": UNKNOWN}


def test_unsafe_host_that_still_waits_is_said_to_go_back(tmp_path: Path) -> None:
    """A host that was not brought back, and whose own switch back is armed, says what becomes of it."""
    turn = Turn({"outcome": "unstarted", "detail": "full"})
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL], turns={"rollback": [turn, turn]}))
    assert drive.run() == {"a": UNSAFE}
    assert "Unless it is confirmed, the host goes back by itself" in drive.words


@pytest.mark.parametrize(
    ("host", "state"),
    [
        (Host("a"), HostState.FOUND_HEALTHY),
        (Host("a", sick=[BEFORE]), HostState.FOUND_UNHEALTHY),
        (Host("a", turns={"observe": [Turn(before=Host.vanish)]}), UNKNOWN),
    ],
    ids=["healthy", "unhealthy", "gone"],
)
def test_audit_says_in_which_state_it_found_a_host(tmp_path: Path, host: Host, state: HostState) -> None:
    """An audit leaves no host in any state: it says how it found it."""
    drive = Drive(tmp_path, host, mode=Mode.AUDIT, revision=None)
    assert drive.run() == {"a": state}
    assert "confirm" not in {question.verb for question in host.asked}


def test_host_that_was_claimed_is_given_back_though_it_lacks_a_command_by_now(tmp_path: Path) -> None:
    """A second question that is refused changes nothing of the lock that the first one took."""
    host = Host("a", turns={"resolve": [Turn(), Turn({"outcome": "", "lacking": "awk "})]})
    drive = Drive(tmp_path, host)
    drive.journey.resolve("main")
    with pytest.raises(HostUnready, match="it lacks the commands awk"):
        drive.journey.resolve("0" * 40)
    drive.fleet.leave({"a": (Verdict.FAILED, None)})
    assert (host.asked[-1].verb, host.holder) == ("confirm", "")
