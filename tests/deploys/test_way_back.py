"""Hosts go back when they must, when they are asked to, and by themselves when nobody confirms them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, HostState, RunVerdict, Verdict
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.record.record import Check, Host
from tests.deploys.boot_stories import BOOT_STORIES
from tests.deploys.cut_points import POINTS, let_go, prepare
from tests.deploys.ways_back import STORIES, Stage, Systems, Told, look

TELLERS = {**STORIES, **BOOT_STORIES}

pytestmark = [pytest.mark.lab, pytest.mark.long]

AT_A_TIME = 8
ALL_PASSED = "passed passed passed passed passed"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A host for each story, and two more."""
    with Lab.up((*TELLERS, "fast", "slow"), name="ways-back", runtime="netns") as lab:
        yield lab


@pytest.fixture(scope="module")
def stories(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Told]]]:
    """Every story, told on a host of its own, several at a time."""
    folder = tmp_path_factory.mktemp("ways-back")
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {
            name: pool.submit(lambda name, tell, s: tell(Stage(lab, name, folder / name, s)), name, tell, s)
            for name, (tell, s) in TELLERS.items()
        }


@pytest.fixture
def told(stories: dict[str, Future[Told]]) -> Callable[[str], Told]:
    """One of the stories, once it has ended."""
    return lambda name: stories[name].result()


def is_whole(systems: Systems) -> bool:
    """Whether a host runs, has set and would boot one and the same system, processes included."""
    return systems.running == systems.profile == systems.boot != "" and not systems.strays


def host(story: Told, name: str) -> Host:
    """The host of a story, as one of its records has it."""
    return story.ended[name].record.host(story.host)


def came_back(story: Told, name: str) -> Host:
    """The host of a session that ended 1, once it is shown that it runs its first system again, verified."""
    ended, found = story.ended[name], host(story, name)
    assert ended.status == 1, ended.output
    assert found.state is HostState.ROLLED_BACK
    assert found.rollback
    assert found.rollback.verdict is Verdict.PASSED
    assert story.systems[name] == story.systems["first"]
    return found


def confirmation(story: Told, name: str) -> Check:
    """The check that the host keeps the system."""
    checks = story.ended[name].clause(story.host, Clause.CONVERGE).checks
    (check,) = [check for check in checks if check.id == "converge/the-host-keeps-the-system"]
    return check


# Nobody confirms.


def test_host_whose_runner_was_killed_goes_back_by_itself(told: Callable[[str], Told]) -> None:
    """With the runner killed by -9 after the switch, the host returns to the very system it had, whole."""
    story = told("killed")
    assert story.systems["unconfirmed"].running != story.systems["first"].running
    assert story.systems["killed"] == story.systems["first"]
    assert is_whole(story.systems["killed"])


def test_unconfirmed_host_is_refused_to_others(told: Callable[[str], Told]) -> None:
    """While a host waits to be confirmed, another deploy exits 75, says whose it is, and touches nothing."""
    story = told("killed")
    ended = story.ended["other"]
    assert ended.status == 75, ended.output
    assert re.search(
        r"the host goes back by itself in \d+ s unless that run confirms it", " ".join(ended.output.split())
    ), ended.output
    assert story.systems["other"] in {story.systems["unconfirmed"], story.systems["first"]}


def test_unconfirmed_host_would_boot_the_earlier_system(told: Callable[[str], Told]) -> None:
    """As long as nobody has confirmed the new system, the host boots the earlier one."""
    story = told("killed")
    assert story.systems["unconfirmed"].boot == story.systems["first"].boot


def test_audit_of_a_host_that_is_about_to_go_back_fails(told: Callable[[str], Told]) -> None:
    """The host is healthy and will not stay so: the audit fails, and says when, to what, in which run and of whom."""
    story = told("killed")
    ended = story.ended["too early"]
    assert ended.status == 1, ended.output
    assert host(story, "too early").state is HostState.FOUND_UNHEALTHY
    failed = {check.id: check.message for check in ended.failed(story.host)}
    assert set(failed) == {"converge/the-host-boots-what-the-run-says", "converge/no-return-is-pending"}
    (run,) = [path.name for path in (ended.folder.parents[1] / "killed").glob("2*")]
    assert re.fullmatch(
        rf"the host returns to {re.escape(story.systems['first'].running)} by itself in \d+ s, unless its switch is "
        rf"confirmed \(run {re.escape(run)} of \S+@\S+, begun at 20\S+Z\)",
        failed["converge/no-return-is-pending"],
    )
    assert story.systems["too early"] == story.systems["unconfirmed"]


# What boots.


def test_boot_default_set_by_hand_before_the_confirmation_fails(told: Callable[[str], Told]) -> None:
    """Until the confirmation a reboot must lead to the earlier system; a host that boots the new one goes back."""
    story = told("boot-by-hand")
    ended = story.ended["by hand"]
    assert story.said["by hand"].endswith("rc 0")
    assert ended.status == 1, ended.output
    (failed,) = ended.failed(story.host)
    assert failed.id == "converge/the-host-boots-what-the-run-says"
    assert f"the next boot starts {story.systems['unconfirmed'].running}" in failed.message
    assert host(story, "by hand").state is HostState.ROLLED_BACK
    assert story.systems["by hand"] == story.systems["first"]
    assert is_whole(story.systems["by hand"])


def test_system_that_cannot_be_made_what_boots_is_not_kept(told: Callable[[str], Told]) -> None:
    """Where /boot is read-only at the confirmation, the check fails, and the host goes back to what it boots."""
    story = told("boot-ro")
    ended = story.ended["read-only"]
    check = confirmation(story, "read-only")
    assert check.verdict is Verdict.FAILED, ended.output
    assert "the host refused to keep the system (unbootable)" in check.message
    assert "Read-only file system" in check.message
    assert ended.record.verdict is RunVerdict.NON_CANONICAL
    assert ended.status == 1, ended.output
    assert host(story, "read-only").state is HostState.ROLLED_BACK
    assert is_whole(story.systems["read-only"])
    assert story.systems["read-only"] == story.systems["first"]
    assert story.ended["audit"].status == 0, story.ended["audit"].output


def test_audit_tells_that_the_host_went_back_and_when(told: Callable[[str], Told]) -> None:
    """The host logs why it went back; the next audit says what happened, when, in which run, from what to what."""
    story = told("killed")
    ended = story.ended["audit"]
    assert ended.status == 0, ended.output
    (warning,) = host(story, "audit").warnings
    assert "Before this run, the host went back by itself at 2" in warning
    assert "not confirmed" in warning
    assert story.systems["unconfirmed"].running in warning
    assert "went back by itself" in ended.output
    assert story.said["journal"]


def test_lock_of_a_killed_run_is_taken_over_once_its_host_went_back(told: Callable[[str], Told]) -> None:
    """The lock ends with the way back, so the next deploy gets the host; once that is confirmed, nobody is warned."""
    story = told("killed")
    ended = story.ended["next"]
    assert ended.status == 0, ended.output
    assert any("went back by itself" in warning for warning in host(story, "next").warnings)
    run = story.ended["audit"].record.host(story.host).warnings[0].split("(run ")[1].split(",")[0]
    assert any(f"The lock of run {run} (" in note for note in host(story, "next").notes)
    assert is_whole(story.systems["next"])
    assert host(story, "after").warnings == []


def test_confirmation_that_comes_too_late_fails_the_run(told: Callable[[str], Told]) -> None:
    """A run that wakes up after its host went back is told so, fails, and verifies what is there."""
    story = told("late")
    ended = story.ended["late"]
    came_back(story, "late")
    check = confirmation(story, "late")
    assert check.verdict is Verdict.FAILED
    assert "go back by itself" in check.message
    assert ended.record.verdict is RunVerdict.NON_CANONICAL


def test_host_that_locks_everyone_out_comes_back_and_is_verified(told: Callable[[str], Told]) -> None:
    """A system that lets nobody in is left by the host itself; the run, once let in again, verifies what is there."""
    story = told("locked-out")
    found = came_back(story, "locked out")
    assert any("went back by itself" in warning for warning in found.warnings)


def test_host_that_lets_no_new_connection_in_goes_back_within_its_limit(told: Callable[[str], Told]) -> None:
    """The connection from before the switch still answers, and is not taken for a new one."""
    story = told("barred")
    came_back(story, "barred")
    checks = {check.id: check.message for check in story.ended["barred"].failed(story.host)}
    message = checks["converge/the-host-lets-a-new-connection-in"]
    assert message.startswith("no new connection was accepted within 5 s after the switch: "), message


def test_host_whose_runner_was_killed_in_the_switch_does_not_wait_for_the_deadline(
    told: Callable[[str], Told],
) -> None:
    """No new connection ever comes, so it goes back after that limit, and the next audit says why."""
    story = told("kill-early")
    assert story.systems["killed"] == story.systems["first"]
    why = "no new connection came within 5 s after the switch ended"
    assert f"why {why}\n" in story.said["returned"]
    (warning,) = host(story, "audit").warnings
    assert warning.startswith("Before this run, the host went back by itself at 2")
    assert why in warning
    assert story.ended["audit"].status == 0, story.ended["audit"].output


def test_network_that_is_away_for_half_a_minute_changes_nothing(told: Callable[[str], Told]) -> None:
    """A deploy whose network is gone for 30 s goes on when it is back, and is canonical."""
    story = told("away")
    assert story.ended["away"].status == 0, story.ended["away"].output
    assert is_whole(story.systems["away"])
    assert story.systems["away"].running != story.systems["first"].running


def test_host_lost_in_its_switch_is_judged_by_how_the_switch_ended(told: Callable[[str], Told]) -> None:
    """The first cause is the unit that did not start, not that the host runs the earlier system again."""
    story = told("lost-switch")
    ended, found = story.ended["lost in switch"], came_back(story, "lost in switch")
    failed = [check for check in ended.clause(story.host, Clause.CONVERGE).checks if check.verdict is Verdict.FAILED]
    assert "nightly-report.service" in failed[0].message, failed
    assert any("went back by itself" in warning for warning in found.warnings)


def test_host_does_not_go_back_while_others_still_build(lab: Lab, tmp_path: Path) -> None:
    """A host that is switched long before another one waits for that, longer than it waits for a confirmation."""
    stage = Stage(lab, "fast", tmp_path / "fleet", 30.0, others=["slow"])
    slow = Stage(lab, "slow", tmp_path / "slow", 30.0)
    prepare(slow, next(point for point in POINTS if str(point) == "during build"))
    process = stage.begin("fleet", "--sha=main")
    slow.wait_until_held("during build")
    stage.reach("fleet", '"host":"fast","phase":"converge","leg":"forward","seconds"')

    def since() -> float:
        """When the countdown of the fast host began, by the host's own clock."""
        return float(stage.inside("cat /run/switchproof/since") or 0)

    stage.wait_for(lambda: since() > 0, "the countdown begins", "fleet")
    began = since()
    stage.wait_for(lambda: since() - began > 30.0, "it began again after it would have been over", "fleet")
    let_go(slow)
    ended = stage.end("fleet", process)
    assert ended.status == 0, ended.output
    assert is_whole(stage.told.systems["fleet"])
    assert is_whole(look(lab.hosts["slow"]))


def test_confirmed_host_is_told_to_keep_the_system_as_the_last_thing(told: Callable[[str], Told]) -> None:
    """In a canonical deploy the confirmation passed after every other check; only what boots then comes later."""
    story = told("asked")
    assert confirmation(story, "main").verdict is Verdict.PASSED
    checks = [check for clause in host(story, "main").clauses for check in clause.checks if check.started]
    in_order = [check.id for check in sorted(checks, key=lambda check: check.started or "")]
    assert in_order[-2:] == ["converge/the-host-keeps-the-system", "converge/the-host-boots-the-system-that-it-keeps"]
    assert is_whole(story.systems["main"])
    assert story.systems["main"].running != story.systems["first"].running


def test_what_the_host_was_is_recorded_before_anything_changes(told: Callable[[str], Told]) -> None:
    """Toplevel, generation, boot id, the units' identities and the failed units stand in the record's evidence."""
    story = told("asked")
    text = story.ended["main"].evidence(story.host)["before.txt"]
    for part in (
        story.systems["first"].running,
        "system.generation",
        "system.boot_id",
        "units.failed",
        "InvocationID=",
    ):
        assert part in text
    assert text.count("MainPID=") == 5
    paths = [kept.path for kept in story.ended["main"].record.evidence]
    assert paths.index(f"evidence/{story.host}/before.txt") < paths.index(f"evidence/{story.host}/converge.log")


# Drills.


@pytest.mark.parametrize("name", ["drill", "dead-man"])
def test_drill_goes_there_and_back_and_there_again(told: Callable[[str], Told], name: str) -> None:
    """A drill is canonical with all five clauses on each of its three legs, and leaves the new system, kept."""
    story = told(name)
    ended, found = story.ended["drill"], host(story, "drill")
    assert ended.status == 0, ended.output
    assert (ended.record.run.mode, ended.record.verdict) == ("drill", RunVerdict.CANONICAL)
    assert ended.verdicts(story.host) == ALL_PASSED
    assert found.rollback
    assert found.again
    assert " ".join(str(clause.verdict) for clause in found.rollback.clauses) == ALL_PASSED
    assert " ".join(str(clause.verdict) for clause in found.again.clauses) == ALL_PASSED
    assert found.rollback.to == story.systems["first"].running
    assert found.state is HostState.CONVERGED
    assert is_whole(story.systems["drill"])
    assert story.systems["drill"].running != story.systems["first"].running


def test_drill_of_the_dead_man_s_switch_lets_the_host_go_back(told: Callable[[str], Told]) -> None:
    """With =dead-man the run waits and the host itself goes back, which it says."""
    found = host(told("dead-man"), "drill")
    assert "wait" in [phase.phase for phase in found.phases]
    assert "rollback" not in [phase.phase for phase in found.phases]
    assert any("went back by itself" in note for note in [*found.notes, *found.warnings])


def test_drill_of_a_broken_revision_ends_at_its_first_leg(told: Callable[[str], Told]) -> None:
    """A drill whose first deploy fails goes back because of that, once, and does not deploy again."""
    story = told("broken-drill")
    found = host(story, "drill")
    assert story.ended["drill"].status == 1, story.ended["drill"].output
    assert found.again is None
    assert [phase.phase for phase in found.phases].count("rollback") == 1
    assert found.state is HostState.ROLLED_BACK
    assert story.systems["drill"] == story.systems["first"]


# Asked to.


def test_broken_system_is_kept_only_loudly(told: Callable[[str], Told]) -> None:
    """With --on-failure=keep the broken system stays, is what boots, and nobody can overlook it."""
    story = told("kept")
    ended = story.ended["keep"]
    assert ended.status == 10, ended.output
    assert "LEFT AS IT IS" in ended.output
    assert host(story, "keep").state is HostState.UNSAFE
    assert host(story, "keep").rollback is None
    assert is_whole(story.systems["keep"])
    assert story.systems["keep"].running != story.systems["first"].running


def test_rollback_without_a_value_restores_what_ran(told: Callable[[str], Told]) -> None:
    """Without a canonical record, a rollback goes back to what ran before the newest deploy, and verifies it."""
    story = told("kept")
    ended = story.ended["rollback"]
    assert ended.status == 0, ended.output
    assert ended.record.run.mode == "rollback"
    assert ended.verdicts(story.host) == ALL_PASSED
    assert story.systems["rollback"] == story.systems["first"]


def test_rollback_that_does_not_pass_goes_back_to_what_ran(told: Callable[[str], Told]) -> None:
    """A rollback to a system that fails the clauses is undone, and what ran is verified."""
    story = told("kept")
    ended, found = story.ended["to broken"], host(story, "to broken")
    assert ended.status == 1, ended.output
    assert found.state is HostState.ROLLED_BACK
    assert ended.clause(story.host, Clause.RUNTIME).verdict is Verdict.FAILED
    assert story.systems["to broken"] == story.systems["first"]


def test_rollback_says_what_it_will_do_before_it_does_it(told: Callable[[str], Told]) -> None:
    """From what to what stands in the summary and the record, and is told before the rollback begins."""
    story = told("asked")
    ended = story.ended["left open"]
    assert ended.status == 0, ended.output
    (warning,) = host(story, "left open").warnings
    source, to = story.systems["v3"].running, story.systems["main"].running
    assert f"from {source} (generation " in warning
    assert f"to {to} (generation " in warning
    events = (ended.folder / "events.jsonl").read_text()
    assert events.index('"event":"warned"') < events.index('"phase":"rollback"')


def test_rollback_goes_where_it_is_told(told: Callable[[str], Told]) -> None:
    """Left open it goes to what the last canonical record left; a generation or a commit means that system."""
    story = told("asked")
    for name, other in {"left open": "main", "by generation": "first", "by commit": "v3"}.items():
        assert story.ended[name].status == 0, story.ended[name].output
        assert story.ended[name].verdicts(story.host) == ALL_PASSED
        assert host(story, name).state is HostState.CONVERGED
        assert story.systems[name] == story.systems[other]
        assert is_whole(story.systems[name])


def test_garbage_collected_generation_is_refused(told: Callable[[str], Told]) -> None:
    """A rollback to a generation whose system is gone exits 4 with the reason, and the host is as it was."""
    story = told("asked")
    ended = story.ended["gone"]
    assert ended.status == 4, ended.output
    assert "generation 1 is gone" in ended.output
    assert host(story, "gone").state is HostState.UNCHANGED
    assert story.systems["gone"] == story.systems["by commit"]


def test_host_that_we_never_deployed_to_can_go_back(told: Callable[[str], Told]) -> None:
    """A host that somebody else deployed to goes back to the generation before, verified like any other."""
    story = told("foreign")
    assert story.said["by hand"].endswith("rc 0")
    assert "No such file" in story.said["state"]
    ended = story.ended["rollback"]
    assert ended.status == 0, ended.output
    assert ended.verdicts(story.host) == ALL_PASSED
    assert story.systems["rollback"] == story.systems["first"]
