"""All hosts of a run: what may begin where, and what one host's trouble means for the others."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from switchproof.deploy.connection import HostKeyChanged
from switchproof.deploy.contract import HostState
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.plan import Mode
from switchproof.deploy.record.events import RevisionResolved, Warned
from switchproof.deploy.run import fleet as fleets
from tests.answers import SHA, TOPLEVEL
from tests.run.drives import Drive, changes, lost
from tests.run.hosts import BEFORE, ROOM, Host, Turn

LOCKED = Turn({"outcome": "locked", "detail": "run r-0 of you@there"})


def verbs(host: Host) -> set[str]:
    return {question.verb for question in host.asked}


def all_at_once(count: int) -> Turn:
    """A turn that ends only when so many hosts have come to it."""
    barrier = threading.Barrier(count, timeout=10)
    return Turn(before=lambda _: barrier.wait())


def test_phases_of_a_deploy_in_order(tmp_path: Path) -> None:
    """A host is reached, resolves, converges, is observed and then keeps the system, each once."""
    drive = Drive(tmp_path, host := Host("a"))
    assert drive.run() == {"a": HostState.CONVERGED}
    assert drive.phases == [f"a forward {each}" for each in ("connect", "resolve", "converge", "observe", "confirm")]
    assert drive.trace == ["a resolve", "a converge converge", "a status converge", "a observe", "a confirm converge"]
    assert (host.toplevel, host.boots, host.guard, host.holder) == (TOPLEVEL, TOPLEVEL, "confirmed", "")


def test_no_host_changes_before_every_host_has_the_same_commit(tmp_path: Path) -> None:
    """All hosts resolve the name at the same time, and only when all have its commit any converges."""
    together = all_at_once(2)
    drive = Drive(tmp_path, *(hosts := [Host(name, turns={"resolve": [together]}) for name in "ab"]))
    assert set(drive.run().values()) == {HostState.CONVERGED}
    asked = [each.split()[1] for each in drive.trace]
    assert asked[:2] == ["resolve", "resolve"]
    assert "resolve" not in asked[2:]
    assert [host.asked[0].values["RELEASE_SHA"] for host in hosts] == ["main", "main"]
    assert {host.asked[1].values["RELEASE_SHA"] for host in hosts} == {SHA}
    (resolved,) = [event for event in drive.journal.events if isinstance(event, RevisionResolved)]
    assert (resolved.requested, resolved.sha) == ("main", SHA)


def test_name_that_moves_meanwhile_is_one_commit_on_every_host(tmp_path: Path) -> None:
    """A host that fetched another commit of the name than the first host is asked for the first host's commit."""
    newer = Turn({"outcome": "ok", "sha": "f" * 40, "subject": "Pushed meanwhile"})
    drive = Drive(tmp_path, Host("a"), b := Host("b", turns={"resolve": [newer]}))
    assert set(drive.run().values()) == {HostState.CONVERGED}
    assert [question.values["RELEASE_SHA"] for question in b.asked[:3]] == ["main", SHA, SHA]
    assert [question.verb for question in b.asked[:3]] == ["resolve", "resolve", "converge"]


def test_all_hosts_confirm_at_the_same_time(tmp_path: Path) -> None:
    """No host waits for another one's confirmation: each answers only once all were asked."""
    together = all_at_once(2)
    drive = Drive(tmp_path, *(hosts := [Host(name, turns={"confirm": [together]}) for name in "ab"]))
    assert set(drive.run().values()) == {HostState.CONVERGED}
    assert [host.connections for host in hosts] == [2, 2]
    assert [[question.verb for question in host.asked].count("confirm") for host in hosts] == [1, 1]


def test_hosts_that_are_not_ready_are_not_confirmed(tmp_path: Path) -> None:
    """A host with a failed check is not among those that confirm, and one that refuses to keep goes back."""
    drive = Drive(tmp_path / "sick", a := Host("a"), b := Host("b", sick=[TOPLEVEL]))
    assert drive.run() == {"a": HostState.CONVERGED, "b": HostState.ROLLED_BACK}
    assert [any("SWITCHPROOF_KEEP" in question.values for question in host.asked) for host in (a, b)] == [True, False]
    refused = Turn({"outcome": "foreign", "detail": "another system runs"})
    drive = Drive(tmp_path / "refused", a := Host("a", turns={"confirm": [refused]}), b := Host("b"))
    assert drive.run() == {"a": HostState.ROLLED_BACK, "b": HostState.CONVERGED}
    assert (a.toplevel, b.toplevel) == (BEFORE, TOPLEVEL)


def test_run_that_ends_while_hosts_confirm_leaves_each_known(tmp_path: Path) -> None:
    """A host that has confirmed stays; one whose answer is lost as the run is told to end is brought back."""
    kept = threading.Event()

    def end_the_run(host: Host) -> None:
        assert kept.wait(10)
        host.interrupt()

    a = Host("a", turns={"confirm": [Turn(after=lambda _: kept.set())]})
    b = Host("b", turns={"confirm": [Turn(before=end_the_run)]})
    assert Drive(tmp_path, a, b).run() == {"a": HostState.CONVERGED, "b": HostState.ROLLED_BACK}
    assert (a.toplevel, b.toplevel) == (TOPLEVEL, BEFORE)


@pytest.mark.parametrize(
    "turn",
    [
        LOCKED,
        Turn({"outcome": "missing", "detail": "no such commit"}),
        Turn({"outcome": "unreachable", "detail": "no route"}),
        Turn({"outcome": "unready", "detail": "git is missing"}),
        Turn(before=Host.vanish),
    ],
    ids=["locked", "missing", "unreachable", "unready", "gone"],
)
@pytest.mark.parametrize("name", ["a", "b"])
def test_one_host_that_does_not_resolve_holds_up_all(tmp_path: Path, name: str, turn: Turn) -> None:
    """No host is changed where one has not resolved the commit, and every lock that was taken is given back."""
    other = "b" if name == "a" else "a"
    hosts = {name: Host(name, turns={"resolve": [turn]}), other: Host(other)}
    drive = Drive(tmp_path, hosts["a"], hosts["b"])
    assert set(drive.run().values()) == {HostState.UNCHANGED}
    assert changes(drive) == []
    assert hosts[other].holder == ""


def test_full_commit_is_asked_of_every_host_at_once(tmp_path: Path) -> None:
    """A full commit needs no host to resolve it for the others, so that each says what it lacks itself."""
    turn = Turn({"outcome": "unready", "detail": "git is missing"})
    drive = Drive(tmp_path, Host("a", turns={"resolve": [turn]}), b := Host("b"), revision=SHA)
    drive.run()
    assert "resolve" in verbs(b)


def test_others_hear_which_host_held_them_up(tmp_path: Path) -> None:
    """The message of a host that was not begun names the host that was not ready, and why."""
    drive = Drive(tmp_path, Host("a"), Host("b", turns={"resolve": [Turn({"outcome": "unready", "detail": "x"})]}))
    drive.run()
    with pytest.raises(
        Inconclusive, match=r"^a: not started, because host b was not ready: b: the host cannot be deployed to"
    ):
        drive.fleet.convergence("a", "forward")
    assert not drive.fleet.locked


def test_locked_host_is_not_touched(tmp_path: Path) -> None:
    """A host that another run has hears nothing more, and the fleet says that it was locked out."""
    drive = Drive(tmp_path, a := Host("a", turns={"resolve": [LOCKED]}), b := Host("b"))
    drive.run()
    assert drive.fleet.locked
    assert drive.fleet.refusal is None
    assert verbs(a) == {"resolve"}
    assert "this host is locked: run r-0 of you@there" in drive.problems[0]
    assert b.toplevel == BEFORE


def test_missing_revision_refuses_the_run(tmp_path: Path) -> None:
    """A revision that the repository does not have is an error of the request, and no lock."""
    turn = Turn({"outcome": "missing", "detail": "no such commit"})
    drive = Drive(tmp_path, Host("a", turns={"resolve": [turn, turn]}), revision=SHA)
    drive.run()
    assert "no such commit" in str(drive.fleet.refusal)
    assert not drive.fleet.locked


def test_taking_the_lock_over_is_said_to_every_host(tmp_path: Path) -> None:
    """With --take-lock each host is told so when it is claimed, and at no other time."""
    drive = Drive(tmp_path, a := Host("a"), b := Host("b"), take_lock=True)
    drive.run()
    for host in (a, b):
        told = {question.verb for question in host.asked if "SWITCHPROOF_TAKE_LOCK" in question.values}
        assert told == {"resolve"}


def test_host_that_is_not_reached_holds_up_all(tmp_path: Path) -> None:
    """Where one host cannot be connected to, no other is even claimed."""
    (a := Host("a")).away_until = 1e9
    drive = Drive(tmp_path, a, b := Host("b"))
    assert set(drive.run().values()) == {HostState.UNCHANGED}
    assert verbs(b) == set()


def test_split_fleet_keeps_what_passed_and_brings_back_what_did_not(tmp_path: Path) -> None:
    """One host's failure after the switch brings back that host alone; each is left in a state of its own."""
    drive = Drive(tmp_path, a := Host("a"), b := Host("b", sick=[TOPLEVEL]))
    assert drive.run() == {"a": HostState.CONVERGED, "b": HostState.ROLLED_BACK}
    assert (a.toplevel, a.guard, a.outcome) == (TOPLEVEL, "confirmed", "passed")
    assert (b.toplevel, b.guard, b.outcome) == (BEFORE, "rolled-back", "failed")
    assert "rollback" not in verbs(a)


def test_host_that_waits_for_others_stays_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is switched before others tells on: it renews its lock and its wait for the confirmation."""
    monkeypatch.setattr(fleets, "RENEW_S", 0.002)
    renewed = threading.Event()
    a = Host("a", turns={"status converge": [Turn(), Turn(after=lambda _: renewed.set())]})
    b = Host("b", turns={"status converge": [Turn(before=lambda _: renewed.wait(10))]})
    drive = Drive(tmp_path, a, b)
    assert set(drive.run().values()) == {HostState.CONVERGED}
    renewals = [question.values for question in a.asked if "SWITCHPROOF_RENEW" in question.values]
    assert "converge" in {values.get("SWITCHPROOF_JOB") for values in renewals}


def test_host_that_waits_does_not_go_back_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewed in time, a host outlives its own deadline while another still builds."""
    monkeypatch.setattr(fleets, "RENEW_S", 0.002)
    a, renewed = Host("a"), threading.Semaphore(0)
    a_status = a.status

    def status(values: dict[str, str]) -> dict[str, str]:
        a.clock.now += 20.0
        renewed.release()
        return a_status(values)

    monkeypatch.setattr(a, "status", status)
    b = Host("b", turns={"status converge": [Turn(before=lambda _: [renewed.acquire(timeout=10) for _ in range(5)])]})
    drive = Drive(tmp_path, a, b)
    drive.run()
    assert a.clock.now >= 100.0
    assert (a.guard, a.returned) == ("confirmed", "")


def test_audit_only_looks(tmp_path: Path) -> None:
    """An audit claims and changes nothing; a host that is gone keeps it from no other."""
    (a := Host("a")).away_until = 1e9
    drive = Drive(tmp_path, a, b := Host("b"), mode=Mode.AUDIT, revision=None)
    assert drive.run() == {"a": HostState.UNKNOWN, "b": HostState.FOUND_HEALTHY}
    assert verbs(b) == {"observe"}


def test_audit_is_connected_to_no_more_hosts_than_it_may_be(tmp_path: Path) -> None:
    """With more hosts than that, each connection ends when its host was seen, before the next one begins."""
    a = Host("a")
    left: list[bool] = []
    turns = {"observe": [Turn(before=lambda _: left.append(a.closed.is_set()))]}
    drive = Drive(tmp_path, a, b := Host("b", turns=turns), mode=Mode.AUDIT, revision=None, parallel=1)
    assert drive.run() == {"a": HostState.FOUND_HEALTHY, "b": HostState.FOUND_HEALTHY}
    assert left == [True]
    assert b.closed.is_set()


def test_audit_that_asks_a_host_again_connects_again_and_leaves_again(tmp_path: Path) -> None:
    """The limit also holds while hosts are looked at more closely, one by one."""
    drive = Drive(tmp_path, a := Host("a"), Host("b"), mode=Mode.AUDIT, revision=None, parallel=1)
    drive.fleet.observation("a", "forward")
    drive.fleet.diagnostics("a", "forward")
    assert a.connections == 2
    assert a.closed.is_set()


def test_audit_is_refused_for_a_host_that_shows_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever result is asked for first, the run knows why the host was not reached."""

    def connect() -> Host:
        raise HostKeyChanged("a", "it shows another key", "Look.")

    monkeypatch.setattr(a := Host("a"), "connect", connect)
    drive = Drive(tmp_path, a, Host("b"), mode=Mode.AUDIT, revision=None)
    with pytest.raises(HostKeyChanged):
        drive.fleet.observation("a", "forward")
    assert isinstance(drive.fleet.refusal, HostKeyChanged)
    assert drive.fleet.observation("b", "forward").healthy


def test_audit_that_was_told_to_end_asks_no_further_host(tmp_path: Path) -> None:
    """Hosts that are still waiting for their turn are not reached any more."""
    turns = {"observe": [Turn(before=Host.interrupt)]}
    drive = Drive(tmp_path, Host("a", turns=turns), b := Host("b"), mode=Mode.AUDIT, revision=None, parallel=1)
    with pytest.raises(Inconclusive, match="interrupted before this host was observed"):
        drive.fleet.observation("b", "forward")
    assert b.connections == 0


def test_audit_of_a_name_asks_the_repository_without_fetching(tmp_path: Path) -> None:
    """A branch's commit is asked for read-only; a commit, full or short, is not asked for at all."""
    drive = Drive(tmp_path, a := Host("a"), mode=Mode.AUDIT)
    assert drive.fleet.commit("a") == SHA
    (asked,) = [question.values for question in a.asked if question.verb != "observe"]
    assert asked["SWITCHPROOF_READONLY"] == "1"
    assert "SWITCHPROOF_CLAIM" not in asked
    drive = Drive(tmp_path, a := Host("a"), mode=Mode.AUDIT, revision=SHA[:8].upper())
    assert drive.fleet.commit("a") == SHA[:8]
    assert verbs(a) == {"observe"}


@pytest.mark.parametrize(
    ("revision", "other", "named"), [(None, SHA, True), ("9" * 40, SHA, False), (None, "9" * 40, False)]
)
def test_audit_names_the_commit_that_all_hosts_run(
    tmp_path: Path,
    revision: str | None,
    other: str,
    named: bool,
) -> None:
    """The commit is named where every host runs the same one, and it is what was asked for."""
    turn = Turn({"system.revision": other, "system.built_from": other})
    drive = Drive(tmp_path, Host("a"), Host("b", turns={"observe": [turn]}), mode=Mode.AUDIT, revision=revision)
    drive.run()
    assert any(isinstance(event, RevisionResolved) for event in drive.journal.events) is named


def test_plan_builds_and_compares_and_leaves_all_as_it_is(tmp_path: Path) -> None:
    """A plan says what a deploy would change on every host, takes no lock and changes none."""
    drive = Drive(tmp_path, a := Host("a"), b := Host("b"), mode=Mode.PLAN)
    assert drive.fleet.differences("b").closure == "hello: 1 → 2"
    assert drive.fleet.differences("a") == drive.fleet.differences("b")
    assert [question.verb for question in a.asked] == ["resolve", "plan", "status", "plan"]
    assert not any("SWITCHPROOF_CLAIM" in q.values and q.values["SWITCHPROOF_CLAIM"] for q in (*a.asked, *b.asked))
    assert changes(drive) == []


def test_plan_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    """A system that does not build has no differences, but the words of its build."""
    ends = {"plan": {"rc": "1", "stage": "build", "log": "--- build\nerror: undefined variable\n"}}
    drive = Drive(tmp_path, Host("a", ends=ends), mode=Mode.PLAN)
    with pytest.raises(Inconclusive, match=r"could not be evaluated; .*\n.*undefined variable"):
        drive.fleet.differences("a")


@pytest.mark.parametrize("silent", ["before it is reached", "while it is asked"])
def test_preflight_asks_each_host_once_whatever_another_one_lacks(tmp_path: Path, silent: str) -> None:
    """A host that cannot be reached or asked keeps no other from its findings, and none is claimed or changed."""
    b = Host("b", turns={"preflight": [Turn(before=Host.vanish)]})
    if silent == "before it is reached":
        b.away_until = 1e9
    drive = Drive(tmp_path, a := Host("a"), b, mode=Mode.PREFLIGHT, revision=None)
    with pytest.raises(Inconclusive):
        drive.fleet.readiness("b")
    assert [question.verb for question in a.asked] == ["preflight"], "all hosts are asked at the same time"
    assert drive.fleet.readiness("a").problems == ()
    assert drive.fleet.readiness("a") is drive.fleet.readiness("a")
    assert [question.verb for question in a.asked] == ["preflight"]
    assert (a.holder, b.holder) == ("", "")


def test_preflight_warns_of_what_refuses_no_deploy(tmp_path: Path) -> None:
    """A finding that only warns is in the record, in the words of a deploy; one that refuses is for its check."""
    little = ROOM.replace("9000000", "1000")
    said = {"room": little, "units.failed": "a.service", "holder": "run r-0 of you", "commands": "git ss "}
    drive = Drive(tmp_path, Host("a", turns={"preflight": [Turn(said)]}), mode=Mode.PREFLIGHT, revision=None)
    ready, unseen = drive.fleet.readiness("a"), {"clock": "the host did not report its clock"}
    assert (ready.holder, ready.commands, dict(ready.unseen)) == ("run r-0 of you", ("git", "ss"), unseen)
    assert [event.text for event in drive.journal.events if isinstance(event, Warned)] == [
        "Before this run, 0 MiB of memory and swap are available, at least 512 MiB are needed.",
        "Before this run, units have failed already: a.service.",
    ]


DRILL = ["connect", "resolve", "converge", "observe"]


def test_orderly_drill_goes_forward_back_and_again(tmp_path: Path) -> None:
    """A drill deploys, restores the earlier system, verifies that, deploys again and only then keeps it."""
    drive = Drive(tmp_path, host := Host("a"), mode=Mode.DRILL, drill="orderly")
    assert drive.run() == {"a": HostState.CONVERGED}
    assert drive.phases == [
        *(f"a forward {phase}" for phase in DRILL),
        *("a back rollback", "a back observe", "a again converge", "a again observe", "a again confirm"),
    ]
    assert list(host.jobs.items()) == [("converge", TOPLEVEL), ("rollback", BEFORE), ("again", TOPLEVEL)]
    assert {verdict.value for verdict in drive.verdicts.values()} == {"passed"}


def test_dead_man_drill_waits_for_the_host_itself(tmp_path: Path) -> None:
    """Nothing rolls the host back: it goes back when its time is over, and is then deployed to again."""
    drive = Drive(tmp_path, host := Host("a"), mode=Mode.DRILL, drill="dead-man")
    assert drive.run() == {"a": HostState.CONVERGED}
    back = [phase for phase in drive.phases if " back " in phase]
    assert back == ["a back wait", "a back observe"]
    assert list(host.jobs) == ["converge", "again"]
    assert drive.clock.now >= 30.0
    assert "It went back by itself" in drive.words


@pytest.mark.parametrize("drill", ["orderly", "dead-man"])
def test_drill_whose_way_back_fails_does_not_deploy_again(tmp_path: Path, drill: str) -> None:
    """Where the earlier system is not healthy any more, the drill ends there, and the host is not safe."""
    drive = Drive(tmp_path, host := Host("a", sick=[BEFORE]), mode=Mode.DRILL, drill=drill)  # type: ignore[arg-type]
    assert drive.run() == {"a": HostState.UNSAFE}
    assert "again" not in host.jobs


def test_drill_whose_second_deploy_fails_goes_back_once_more(tmp_path: Path) -> None:
    """A second deploy that does not pass is rolled back in a job of its own, and that is verified."""
    host = Host("a", ends={"again": {"rc": "4", "stage": "switch"}})
    drive = Drive(tmp_path, host, mode=Mode.DRILL, drill="orderly")
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert list(host.jobs) == ["converge", "rollback", "again", "back"]
    assert host.toplevel == BEFORE
    assert drive.phases[-3:-1] == ["a back rollback", "a back observe"]


def test_rollback_chooses_before_anything_changes(tmp_path: Path) -> None:
    """Every host chooses its system first; the choice is the job's, and is kept like a deploy's."""
    drive = Drive(tmp_path, a := Host("a"), b := Host("b"), mode=Mode.ROLLBACK)
    assert set(drive.run().values()) == {HostState.CONVERGED}
    asked = [each.split()[1] for each in drive.trace]
    assert asked[:2] == ["generations", "generations"]
    assert "generations" not in asked[2:]
    assert a.jobs == b.jobs == {"rollback": TOPLEVEL}
    assert "A rollback from" in drive.words


def test_rollback_that_one_host_cannot_make_is_made_on_none(tmp_path: Path) -> None:
    """A host with nothing to go back to holds up the others, as nothing may be half rolled back."""
    nothing_there = Turn({"generations": "", "earlier": ""})
    drive = Drive(tmp_path, Host("a"), Host("b", turns={"generations": [nothing_there]}), mode=Mode.ROLLBACK)
    assert set(drive.run().values()) == {HostState.UNCHANGED}
    assert changes(drive) == []
    assert "nothing to go back to" in str(drive.fleet.refusal)


def test_rollback_that_fails_goes_back_to_what_ran(tmp_path: Path) -> None:
    """A rollback to a system that is not healthy is itself undone, by a job of another name."""
    drive = Drive(tmp_path, host := Host("a", sick=[TOPLEVEL]), mode=Mode.ROLLBACK)
    assert drive.run() == {"a": HostState.ROLLED_BACK}
    assert list(host.jobs.items()) == [("rollback", TOPLEVEL), ("back", BEFORE)]


def test_state_that_cannot_be_established_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect while one host is left is told, and the other hosts are still given back."""
    drive = Drive(tmp_path, Host("a"), b := Host("b"))
    monkeypatch.setattr(drive.fleet.journeys["a"], "leave", lambda *_: 1 / 0)
    assert drive.run() == {"a": HostState.UNKNOWN, "b": HostState.CONVERGED}
    assert "The host's final state could not be determined: division by zero" in drive.words
    assert b.holder == ""


def test_lost_answer_to_one_host_holds_up_nobody(tmp_path: Path) -> None:
    """A connection that is lost while resolving is made again, within the same phase."""
    drive = Drive(tmp_path, Host("a"), b := Host("b", turns={"resolve": [lost()]}))
    assert set(drive.run().values()) == {HostState.CONVERGED}
    assert [question.verb for question in b.asked].count("resolve") == 2
