"""One host's way through the phases: what it is asked, what it is never asked twice, and how it goes back."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest

from switchproof.deploy.connection import ConnectionFacts, Unreachable
from switchproof.deploy.contract import HostState
from switchproof.deploy.errors import HostUnready, Inconclusive, UsageError
from switchproof.deploy.host.dialogue import TOO_LATE
from switchproof.deploy.observe.convergence import Ending
from switchproof.deploy.plan import Mode
from switchproof.deploy.record.events import (
    EvidenceKept,
    Happened,
    LogLine,
    PhaseFinished,
    RollbackBegun,
    SystemSeen,
    Warned,
)
from switchproof.deploy.run import knock
from tests.answers import SHA, TOPLEVEL, boots
from tests.run.drives import Drive, lost, unheard
from tests.run.hosts import BEFORE, Host, Turn

UNITS_FAILED = {
    "converge": {"rc": "4", "stage": "switch", "log": "--- switch\nwarning: the following units failed: x.service\n"}
}


def test_failed_converge_goes_back_and_is_verified(tmp_path: Path) -> None:
    """A switch in which units fail is undone, and the earlier system is looked at before the end."""
    drive = Drive(tmp_path, host := Host("a", ends=UNITS_FAILED))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert drive.journey.convergences["forward"].ending is Ending.UNITS_FAILED
    assert [question.verb for question in host.asked] == [
        *("resolve", "converge", "status", "observe", "diagnose"),
        *("rollback", "status", "observe", "confirm"),
    ]
    assert host.asked[5].values["SWITCHPROOF_TO"] == BEFORE
    assert (host.toplevel, host.guard, host.holder, host.outcome) == (BEFORE, "rolled-back", "", "failed")
    (begun,) = [event for event in drive.journal.events if isinstance(event, RollbackBegun)]
    reason = "the switch failed: the system was activated, but units failed"
    assert (begun.reason, begun.to) == (reason, BEFORE)


@pytest.mark.parametrize(
    "end",
    [{"rc": "1", "stage": "build"}, {"rc": "1", "stage": "arm"}, {"rc": "100", "stage": "switch", "restored": ""}],
    ids=["build", "arm", "restored"],
)
def test_switch_that_touched_nothing_is_not_undone(tmp_path: Path, end: dict[str, str]) -> None:
    """Where the host is as before, and nothing is on its way, it is left alone and said to be unchanged."""
    drive = Drive(tmp_path, host := Host("a", ends={"converge": end}))
    assert drive.run() == {"a": HostState.UNCHANGED}
    assert list(host.jobs) == ["converge"]
    assert drive.fleet.journeys["a"].diagnostics["forward"].parts
    assert host.holder == ""


def test_switch_that_left_the_earlier_system_is_undone_all_the_same(tmp_path: Path) -> None:
    """A host that runs the earlier system, though its switch to another had begun, may only be half there."""
    turn = Turn({"system.running": BEFORE, "system.profile": BEFORE})
    end = {"rc": "2", "stage": "switch", "expected": TOPLEVEL}
    drive = Drive(tmp_path, host := Host("a", ends={"converge": end}, turns={"observe": [turn]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert list(host.jobs) == ["converge", "rollback"]


def test_profile_that_has_moved_counts_as_changed(tmp_path: Path) -> None:
    """A host that runs what it ran, and would boot another system, is brought back."""
    turn = Turn({"system.running": BEFORE})
    end = {"rc": "2", "stage": "switch", "expected": ""}
    drive = Drive(tmp_path, Host("a", ends={"converge": end}, turns={"observe": [turn]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}


def test_unhealthy_system_is_undone(tmp_path: Path) -> None:
    """A switch that ends well to a system that does not answer is undone like one that failed."""
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL]))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert set(drive.journey.diagnostics) == {"forward"}


@pytest.mark.parametrize(
    "host",
    [
        Host("a", sick=[TOPLEVEL, BEFORE]),
        Host("a", sick=[TOPLEVEL], ends={"rollback": {"rc": "1", "stage": "rollback"}}),
        Host("a", sick=[TOPLEVEL], turns={"rollback": [Turn({"outcome": "unstarted", "detail": "full"})] * 2}),
    ],
    ids=["not-healthy", "not-restored", "not-begun"],
)
def test_way_back_that_does_not_pass_is_unsafe(tmp_path: Path, host: Host) -> None:
    """Whatever fails on the way back, the host is never said to be as before."""
    assert Drive(tmp_path, host).run() == {"a": HostState.UNSAFE}


def test_evidence_of_each_leg_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Diagnostics after the way back do not replace those of the failure."""
    drive = Drive(tmp_path, Host("a", sick=[TOPLEVEL, BEFORE]))
    drive.run()
    kept = {event.path.split("/")[2] for event in drive.journal.events if isinstance(event, EvidenceKept)}
    assert {"diagnostics", "diagnostics-after-rollback"} <= kept


PHASES = ["resolve", "converge", "status converge", "observe", "confirm converge"]


@pytest.mark.parametrize("turn", [lost, unheard])
@pytest.mark.parametrize("asked", PHASES)
def test_connection_lost_in_a_phase_is_made_again(tmp_path: Path, asked: str, turn: type[Turn]) -> None:
    """Whether the host heard the question or not, it is asked again, and begins nothing twice."""
    drive = Drive(tmp_path, host := Host("a", turns={asked: [turn()]}))
    assert drive.run() == {"a": HostState.CONVERGED}
    assert drive.trace.count(f"a {asked}") + drive.trace.count(f"a {asked} converge") == 2
    assert [event.kind for event in drive.journal.events if isinstance(event, Happened)].count("lost") == 1
    assert list(host.jobs) == ["converge"]


@pytest.mark.parametrize("turn", [lost, unheard])
@pytest.mark.parametrize("asked", ["diagnose", "rollback", "status rollback", "confirm rollback"])
def test_connection_lost_on_the_way_back_is_made_again(tmp_path: Path, asked: str, turn: type[Turn]) -> None:
    """A loss on the way back does not make a host unsafe that can be asked again."""
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL], turns={asked: [turn()]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert list(host.jobs) == ["converge", "rollback"]


def test_host_confirms_over_a_new_connection(tmp_path: Path) -> None:
    """Only a connection that the new system let in shows that it lets one in."""
    drive = Drive(tmp_path, host := Host("a"))
    drive.fleet.observation("a", "forward")
    assert host.connections == 1
    drive.fleet.confirm("a", ["a"])
    assert host.connections == 2


class Barred(Host):
    """A host that lets no new connection in while it runs what was deployed."""

    def connect(self) -> Host:
        if self.toplevel == TOPLEVEL:
            raise Unreachable(self.host, "connection refused", "Look.")
        return super().connect()


def test_host_that_lets_no_new_connection_in_is_told(tmp_path: Path) -> None:
    """It is asked after each switch, beside the watch, and brought back over the connection from before."""
    drive = Drive(tmp_path, host := Barred("a", sick=[TOPLEVEL]), reconnect_s=0.2)
    drive.journey._host_side._stop = threading.Event()  # as the drive's clock would be over before the host's
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert drive.journey.locked_out == {"forward": "a: connection refused. Look.", "back": ""}
    assert host.asked[-1].verb == "confirm"
    (warned,) = [event.text for event in drive.journal.events if isinstance(event, Warned)]
    assert warned.startswith(
        "No new SSH connection was accepted within 0.2 s after the switch: a: connection refused"
    )


def test_what_is_waited_for_is_said_while_no_new_connection_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch is over by then: the lines say so, with the last refusal and for how long yet."""
    monkeypatch.setattr(knock, "EVERY_S", 0.01)
    drive = Drive(tmp_path, Barred("a"), reconnect_s=0.4)
    drive.journey._host_side._stop = threading.Event()
    lines: list[str] = []
    drive.journal.watch(lambda event: lines.append(event.text) if isinstance(event, LogLine) else None)
    drive.fleet.observation("a", "forward")
    wait = r"waiting: a new connection to be accepted: a: connection refused\. Look\. \(at most 0 s left\)"
    assert any(re.fullmatch(wait, line) for line in lines), lines


def test_lost_connection_does_not_count_as_one_that_was_not_let_in(tmp_path: Path) -> None:
    """Where the connection from before was lost as well and is made again, the host has let a new one in."""
    drive = Drive(tmp_path, Host("a", turns={"observe": [lost()]}), reconnect_s=0.2)
    drive.fleet.observation("a", "forward")
    assert drive.journey.locked_out == {"forward": ""}


def test_host_that_is_not_asked_over_ssh_needs_no_new_connection(tmp_path: Path) -> None:
    """Where each question comes by a way of its own anyway, the next one shows as much."""
    host = Barred("a")
    host.facts = ConnectionFacts(kind="ssm")
    drive = Drive(tmp_path, host, reconnect_s=0.2)
    drive.fleet.observation("a", "forward")
    assert drive.journey.locked_out == {"forward": ""}


@pytest.mark.parametrize(("kind", "seconds"), [("ssh", "30"), ("local", "30"), ("ssm", "120")])
def test_host_itself_waits_for_a_new_connection(tmp_path: Path, kind: str, seconds: str) -> None:
    """Its dead man's switch is told for how long before it switches; through SSM a command may take longer."""
    host = Host("a")
    host.facts = ConnectionFacts(kind=kind)
    drive = Drive(tmp_path, host, reconnect_s=None)
    drive.fleet.observation("a", "forward")
    (begun,) = [question for question in host.asked if question.verb == "converge"]
    assert begun.values["SWITCHPROOF_RECONNECT_S"] == seconds


def said_of_connections(host: Host) -> dict[str, str]:
    """What each verb said last of the connection that it came over."""
    return {question.verb: question.values.get("SWITCHPROOF_AFTER", "") for question in host.asked}


def hear_of_a_new_connection(host: Host) -> None:
    """Wait until a question came over a connection from after the switch."""
    deadline = time.monotonic() + 30.0
    while not said_of_connections(host)["status"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_host_hears_of_a_new_connection_before_its_watch_is_over(tmp_path: Path) -> None:
    """It is tried once the switch has ended, and does not wait for other hosts, nor for health."""
    turns = {"observe": [Turn(before=hear_of_a_new_connection)]}
    drive = Drive(tmp_path, host := Host("a", turns=turns), reconnect_s=30.0)
    drive.fleet.observation("a", "forward")
    assert said_of_connections(host) == {"resolve": "", "converge": "", "status": "converge", "observe": ""}


def test_question_over_the_connection_from_before_the_switch_does_not_say_that_it_is_new(tmp_path: Path) -> None:
    """Over SSH only another connection says so; where each question has a way of its own, all that follow do."""
    drive = Drive(tmp_path / "ssh", host := Host("a"))
    drive.run()
    before = dict.fromkeys(["resolve", "converge", "status"], "")
    assert said_of_connections(host) == before | {"observe": "", "confirm": "converge"}
    host = Host("a")
    host.facts = ConnectionFacts(kind="ssm")
    drive = Drive(tmp_path / "ssm", host)
    drive.run()
    assert said_of_connections(host) == before | {"observe": "converge", "confirm": "converge"}


def test_connection_that_is_let_in_once_the_host_goes_back_is_too_late(tmp_path: Path) -> None:
    """But for one that came in time, it goes back for another reason, such as a reboot."""
    for within_s, told in ((1e-6, TOO_LATE), (30.0, "")):
        host = Host("a", turns={"status": [Turn(), *[Turn({"guard": "returning"})] * 20]})
        drive = Drive(tmp_path / str(within_s), host, reconnect_s=within_s)
        drive.journey._host_side._stop = threading.Event()
        drive.fleet.observation("a", "forward")
        assert drive.journey.locked_out == {"forward": told}


@pytest.mark.parametrize("kind", ["ssh", "ssm"])
@pytest.mark.parametrize(
    "why", ["no new connection came within 30 s after the switch ended", "not confirmed in time"]
)
def test_host_s_own_reason_for_going_back_counts(tmp_path: Path, kind: str, why: str) -> None:
    """It alone knows whether a new connection came before its time was over."""
    gone = Turn(before=lambda host: host.go_back(why))
    host = Host("a", turns={"status" if kind == "ssh" else "observe": [*[Turn()] * (kind == "ssh"), gone]})
    host.facts = ConnectionFacts(kind=kind)
    drive = Drive(tmp_path, host, reconnect_s=30.0)
    drive.journey._host_side._stop = threading.Event()
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert drive.journey.locked_out["forward"] == ("" if why.startswith("not") else why)


def test_failed_switch_is_not_watched(tmp_path: Path) -> None:
    """Where the switch failed itself, whatever the endpoints do, nothing is waited for on the way forward."""
    drive = Drive(tmp_path, host := Host("a", ends=UNITS_FAILED))
    drive.run()
    forward, back = (question.values["READY_S"] for question in host.asked if question.verb == "observe")
    assert (float(forward), float(back)) == (0.0, drive.plan.target.health.ready_s)


def test_switch_that_names_units_of_the_contract_is_watched(tmp_path: Path) -> None:
    """A unit of the contract that failed in the switch may still get well; its own clause says what became of it."""
    log = "--- switch\nwarning: the following units failed: hypervisor.service\n"
    host = Host("a", ends={"converge": {"rc": "4", "stage": "switch", "log": log}})
    drive = Drive(tmp_path, host)
    drive.fleet.observation("a", "forward")
    assert float(host.asked[-1].values["READY_S"]) == drive.plan.target.health.ready_s


def test_each_question_is_asked_once(tmp_path: Path) -> None:
    """What a host has answered is not asked again, however often it is needed."""
    drive = Drive(tmp_path, Host("a"))
    drive.run()
    before = list(drive.trace)
    drive.fleet.commit("a")
    drive.fleet.convergence("a", "forward")
    drive.fleet.observation("a", "forward")
    drive.fleet.confirm("a", ["a"])
    assert drive.journey.resolve(SHA).sha == SHA
    assert drive.journey.converge() is drive.journey.convergences["forward"]
    assert drive.trace == before


# A host that goes back by itself.


def test_host_that_went_back_before_it_is_looked_at(tmp_path: Path) -> None:
    """The run rolls nothing back that the host has brought back: it waits for it and verifies it."""
    drive = Drive(tmp_path, host := Host("a", turns={"observe": [Turn(before=Host.go_back)]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert list(host.jobs) == ["converge"]
    assert [phase for phase in drive.phases if " back " in phase] == [
        *("a back wait", "a back observe", "a back confirm"),
    ]
    assert drive.words.count("It went back by itself at 2026-11-24T01:02:03Z: not confirmed in time") == 1
    assert "The host went back by itself: the earlier system is restored" in drive.words
    assert set(drive.journey.went_back) == {"forward"}


def test_host_keeps_a_specialisation_if_it_boots_the_system_that_has_it(tmp_path: Path) -> None:
    """A job names the profile's system beside what runs, and no boot loader starts the latter by itself."""
    base = TOPLEVEL.replace("9z8x", "b4se")
    end, boot = {"converge": {"profile": base}}, Turn(dict(boots(base)))
    drive = Drive(tmp_path / "kept", Host("a", ends=end, turns={"confirm": [boot]}))
    assert drive.run() == {"a": HostState.CONVERGED}
    assert drive.journey.confirmations["forward"].expected == base
    drive = Drive(tmp_path / "itself", Host("a", ends=end))
    assert drive.run() == {"a": HostState.CONVERGED}
    elsewhere = Turn(dict(boots(BEFORE)))
    drive = Drive(tmp_path / "elsewhere", Host("a", ends=end, turns={"confirm": [elsewhere]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}


def test_host_that_goes_back_instead_of_confirming(tmp_path: Path) -> None:
    """A confirmation that comes too late keeps nothing, whatever was seen before."""
    drive = Drive(tmp_path, host := Host("a", turns={"confirm": [Turn(before=Host.go_back)]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert list(host.jobs) == ["converge"]
    assert drive.journey.confirmations["forward"].outcome == "late"
    assert "a back wait" in drive.phases


def test_host_that_goes_back_when_it_is_to_be_rolled_back(tmp_path: Path) -> None:
    """A rollback that meets the host on its own way back follows that."""
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL], turns={"rollback": [Turn(before=Host.go_back)]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert list(host.jobs) == ["converge"]
    assert "a status return" in drive.trace


def test_host_that_is_lost_in_its_switch_goes_back_meanwhile(tmp_path: Path) -> None:
    """Away for longer than it waits for a confirmation, the host is back on its earlier system when it answers."""
    drive = Drive(tmp_path, Host("a", turns={"status converge": [Turn(after=lambda host: host.vanish(100.0))]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert drive.clock.now >= 100.0


def test_host_that_reboots_in_its_switch_is_waited_for(tmp_path: Path) -> None:
    """A job that a reboot ended has no end of its own: the host's way back is what is followed."""
    turn = Turn({"state": "lost", "rc": ""}, before=Host.reboot)
    drive = Drive(tmp_path, host := Host("a", turns={"status converge": [turn]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert "rollback" not in host.jobs
    assert drive.journey.reboot == "the host rebooted during the run (boot b00t → b00t+)"
    assert drive.trace.index("a status return") < drive.trace.index("a observe")


def test_job_that_was_stopped_is_undone_at_once(tmp_path: Path) -> None:
    """A job without an end on a host that has not rebooted is rolled back; nobody waits for the host's deadline."""
    drive = Drive(tmp_path, host := Host("a", ends={"converge": {"state": "lost", "rc": ""}}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert list(host.jobs) == ["converge", "rollback"]
    assert drive.clock.now < 30.0


def test_host_that_returns_is_verified_even_if_it_was_to_be_kept(tmp_path: Path) -> None:
    """--on-failure=keep keeps nothing on a host that has gone back by itself."""
    host = Host("a", turns={"observe": [Turn(before=Host.go_back)]})
    assert Drive(tmp_path, host, on_failure="keep").run() == {"a": HostState.ROLLED_BACK}
    assert not [q for q in host.asked if q.verb == "confirm" and "SWITCHPROOF_KEEP" in q.values]


def test_host_that_returns_at_the_very_end_is_not_verified(tmp_path: Path) -> None:
    """A host that goes back while it is left was not verified, and nobody says that it was."""
    host = Host("a", sick=[TOPLEVEL], turns={"confirm": [Turn(before=Host.go_back)]})
    drive = Drive(tmp_path, host, on_failure="keep")
    assert drive.run() == {"a": HostState.UNKNOWN}
    assert f"The host went back by itself and runs {BEFORE}, which was not verified." in drive.words
    assert "a status return" in drive.trace


def test_return_of_an_earlier_run_is_told_and_is_not_this_run_s(tmp_path: Path) -> None:
    """What the host did before this run is a warning, and changes nothing of what this run does."""
    said = {"returned": "run r-0\nat 2026-11-23T01:02:03Z\nwhy x\nfrom /n\nto /o\nrc 0\n"}
    drive = Drive(tmp_path, Host("a", turns={"resolve": [Turn(said)], "observe": [Turn(said)]}))
    assert drive.run() == {"a": HostState.CONVERGED}
    assert drive.words.count("Before this run, the host went back by itself at 2026-11-23T01:02:03Z") == 1
    assert (drive.journey.returned, drive.journey.went_back) == (False, {})


# Keep or not.


def test_keep_leaves_a_broken_system_for_a_person_to_look_at(tmp_path: Path) -> None:
    """With --on-failure=keep the host stays on what did not pass, boots it, and everyone hears that."""
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL]), on_failure="keep")
    assert drive.run() == {"a": HostState.UNSAFE}
    assert (host.toplevel, host.guard, list(host.jobs)) == (TOPLEVEL, "confirmed", ["converge"])
    assert [q.values["SWITCHPROOF_KEEP"] for q in host.asked if q.verb == "confirm"] == ["broken"]
    assert f"LEFT AS IT IS, because of --on-failure=keep: the host runs {TOPLEVEL}" in drive.words


def test_system_that_passed_is_never_kept_as_a_broken_one(tmp_path: Path) -> None:
    """--on-failure=keep is silent where nothing failed."""
    drive = Drive(tmp_path, host := Host("a"), on_failure="keep")
    assert drive.run() == {"a": HostState.CONVERGED}
    assert [q.values["SWITCHPROOF_KEEP"] for q in host.asked if q.verb == "confirm"] == ["1"]
    assert "LEFT" not in drive.words


@pytest.mark.parametrize(
    "turn",
    [
        Turn({"outcome": "foreign", "detail": "it runs another system"}),
        Turn({"outcome": "busy", "detail": "another switch holds it"}),
        Turn(boots(BEFORE)),
    ],
    ids=["foreign", "busy", "boots-another"],
)
def test_host_that_does_not_keep_the_system_is_brought_back(tmp_path: Path, turn: Turn) -> None:
    """A system that the host will not keep, or would not boot, has not passed."""
    drive = Drive(tmp_path, host := Host("a", turns={"confirm": [turn]}))
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert host.toplevel == BEFORE


# Claiming it.


def test_job_that_the_host_does_not_begin_changes_nothing(tmp_path: Path) -> None:
    """A switch that was refused has no end to wait for, and the host is unchanged."""
    host = Host("a", turns={"converge": [Turn({"outcome": "unstarted", "detail": "systemd-run failed"})]})
    drive = Drive(tmp_path, host)
    assert drive.run() == {"a": HostState.UNCHANGED}
    assert "a: the switch did not start: systemd-run failed" in drive.problems
    assert not [asked for asked in drive.trace if asked.startswith("a status")]
    assert "Nothing was started on this host." in drive.words


def test_rollback_to_a_system_that_is_gone_is_refused(tmp_path: Path) -> None:
    """A system that was collected between the choice and the switch is an error of the request."""
    host = Host("a", turns={"rollback": [Turn({"outcome": "gone", "detail": "it is not on this host"})]})
    drive = Drive(tmp_path, host, mode=Mode.ROLLBACK)
    with pytest.raises(UsageError, match="the switch did not start: it is not on this host"):
        drive.fleet.convergence("a", "forward")


def test_host_that_is_not_ready_says_what_it_lacks(tmp_path: Path) -> None:
    """A host that cannot be deployed to is not claimed, so that nothing is given back."""
    drive = Drive(tmp_path, host := Host("a", turns={"resolve": [Turn({"outcome": "unready", "detail": "no git"})]}))
    assert drive.run() == {"a": HostState.UNCHANGED}
    assert [question.verb for question in host.asked] == ["resolve"]
    with pytest.raises(HostUnready, match="a: the host cannot be deployed to: no git"):
        drive.fleet.commit("a")


STALE = {"lock.stale": "r-0\n", "lock.stale.owner": "you@there\n", "lock.stale.since": "01:02\n"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, r"The lock of run r-0 (you@there, since 01:02) had expired and was taken over."),
        ({"lock.taken": "40\n"}, "was taken over because of --take-lock, 40 s before it would have expired."),
    ],
)
def test_lock_that_was_taken_over_is_told(tmp_path: Path, more: dict[str, str], said: str) -> None:
    """Whose lock it was, and why it could be taken, stands in the record."""
    drive = Drive(tmp_path, Host("a", turns={"resolve": [Turn(STALE | more)]}))
    assert drive.run() == {"a": HostState.CONVERGED}
    assert said in drive.words


def test_what_a_host_was_before_is_noted_once(tmp_path: Path) -> None:
    """The system before the run is what a way back restores, however the host answers later."""
    drive = Drive(tmp_path, Host("a", turns={"resolve": [Turn({"checkout": "abc with uncommitted changes"})]}))
    drive.run()
    before = drive.fleet.before("a")
    assert (before.system.running, before.failed) == (BEFORE, ())
    seen = [(event.when, event.system.toplevel) for event in drive.journal.events if isinstance(event, SystemSeen)]
    assert seen == [("before", BEFORE), ("after", TOPLEVEL)]
    assert "has uncommitted changes; they were not touched" in drive.words


def test_before_of_a_host_that_was_not_claimed_is_not_known(tmp_path: Path) -> None:
    """Where a host never said what it was, nobody makes something up."""
    drive = Drive(tmp_path, Host("a"), mode=Mode.AUDIT)
    with pytest.raises(Inconclusive, match="a: its state before the run was not recorded"):
        drive.fleet.before("a")


def test_profile_that_was_another_before_is_warned_of(tmp_path: Path) -> None:
    """A host whose profile and running system differed before the run says so before anything changes."""
    host = Host("a")
    system = host._system
    host._system = lambda: system() | {"system.profile": TOPLEVEL}  # type: ignore[method-assign]
    drive = Drive(tmp_path, host)
    drive.fleet.commit("a")
    assert f"the system profile pointed to {TOPLEVEL}, but the host ran {BEFORE}" in drive.words


def test_needed_reboot_is_warned_of_at_the_end(tmp_path: Path) -> None:
    """A host whose new kernel does not run yet is told of, and is no failure."""
    turn = Turn({"system.reboot": "kernel ", "system.kernels": "6.12.1 6.12.2"})
    drive = Drive(tmp_path, Host("a", turns={"observe": [turn]}))
    assert drive.run() == {"a": HostState.CONVERGED}
    assert "6.12.2" in drive.words


def test_end_that_the_host_does_not_take_is_noted(tmp_path: Path) -> None:
    """A host that will not end the run is in a state all the same, and its words are kept."""
    host = Host("a", ends=UNITS_FAILED, turns={"confirm rollback": [Turn({"outcome": "busy", "detail": "at work"})]})
    drive = Drive(tmp_path, host)
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert "At the end of the run the host reported busy: at work" in drive.words


def test_phase_that_fails_says_so(tmp_path: Path) -> None:
    """Every phase that began has an end, with its problem and how many questions it took."""
    drive = Drive(
        tmp_path, Host("a", turns={"resolve": [lost()], "converge": [Turn({"outcome": "x", "detail": "y"})]})
    )
    drive.run()
    ends = [event for event in drive.journal.events if isinstance(event, PhaseFinished)]
    assert len(ends) == len(drive.phases)
    assert [(end.phase, end.problem, end.questions) for end in ends][:3] == [
        ("connect", None, 0),
        ("resolve", None, 2),
        ("converge", "a: the switch did not start: y", 1),
    ]


MIB = 2**20
LITTLE = f"/nix/store / {5 * MIB} 90000 100000\n/var/lib / {MIB} 90000 100000\n"
FORGETFUL = "MemAvailable: 1000 kB\n"


@pytest.mark.parametrize(("mode", "verb"), [(Mode.DEPLOY, "resolve"), (Mode.ROLLBACK, "generations")])
def test_host_that_lacks_commands_is_refused_before_anything_begins(tmp_path: Path, mode: Mode, verb: str) -> None:
    """It is unready like a host without room; it was not claimed, so it is not told that the run is over."""
    host = Host("a", turns={verb: [Turn({"outcome": "", "lacking": "awk ss "})]})
    drive = Drive(tmp_path, host, mode=mode)
    assert drive.run() == {"a": HostState.UNCHANGED}
    assert isinstance(drive.fleet.refusal, HostUnready)
    assert str(drive.fleet.refusal) == "a: the host cannot be deployed to: it lacks the commands awk ss"
    assert [question.verb for question in host.asked] == [verb]


def test_host_without_room_is_not_begun(tmp_path: Path) -> None:
    """It is refused with all that it lacks, given back, and never asked to build; no other host is begun."""
    host = Host("a", turns={"resolve": [Turn({"room": LITTLE + FORGETFUL})]})
    drive = Drive(tmp_path, host, Host("b"))
    assert drive.run() == {"a": HostState.UNCHANGED, "b": HostState.UNCHANGED}
    assert [question.verb for question in host.asked] == ["resolve", "confirm"]
    with pytest.raises(
        HostUnready, match=r"5 MiB are free for /nix/store .*; 1 MiB are free for /var/lib"
    ) as refused:
        drive.fleet.commit("a")
    remedy = "On the host: free space in the Nix store, for example with nix-collect-garbage; free space in /var/lib."
    assert remedy in str(refused.value)
    assert drive.fleet.refusal is not None


def test_finding_that_only_warns_lets_the_deploy_go_on(tmp_path: Path) -> None:
    """What may be too little is told, once, and the deploy shows whether it was."""
    drive = Drive(tmp_path, Host("a", turns={"resolve": [Turn({"room": FORGETFUL})]}))
    assert drive.run() == {"a": HostState.CONVERGED}
    assert (
        drive.words.count("Before this run, 0 MiB of memory and swap are available, at least 512 MiB are needed.")
        == 1
    )
