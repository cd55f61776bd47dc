"""What is seen of a scenario leads to the verdict that it deserves, and to no other."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.providers.lab.revisions import FAILS_BESIDE
from switchproof.deploy.providers.lab.trial.seen import Ended, Process
from switchproof.trials.case import Seen
from switchproof.trials.findings import find
from switchproof.trials.judge import judge
from switchproof.trials.record import Cause, FindingId
from switchproof.trials.scenario import SCENARIOS, Truth
from tests.trials.seeing import (
    ASKED,
    BEFORE,
    DIAGNOSTICS,
    LIMIT_S,
    OTHER,
    PROBES,
    UNCHANGED,
    activation,
    ended,
    request,
    seen,
    system,
    toplevel,
)

PASSED, FAILED, OPEN = Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE
BAD = [each.name for each in SCENARIOS if each.truth in {Truth.BAD, Truth.HANGS}]


def verdicts(given: Seen) -> dict[Clause, Verdict]:
    """The verdict of each clause that is judged."""
    return {each.clause: each.verdict for each in judge(given)}


def told(given: Seen, clause: Clause) -> str:
    """What is said to have been seen of a clause."""
    return "; ".join(each.seen for each in judge(given) if each.clause is clause)


@pytest.mark.parametrize("name", ["good", "branch-moved"])
def test_a_good_deploy_passes_four_clauses(name: str) -> None:
    """What is deployed, looked at and called a success passes; nothing is said of diagnostics."""
    assert verdicts(seen(name)) == dict.fromkeys(list(Clause)[:4], PASSED)
    assert find(seen(name)) == []


@pytest.mark.parametrize(
    ("after", "fragment"),
    [
        (system(BEFORE), "the host runs"),
        (system(ASKED, profile=toplevel(BEFORE)), "the system profile points to"),
        (system(ASKED, boots=toplevel(BEFORE)), "the host would boot"),
        (system(ASKED, running="/nix/store/x-choiros-b"), "the host runs"),
    ],
)
def test_a_success_is_held_against_the_host(after: object, fragment: str) -> None:
    """Another system that runs, is set or boots makes a success untrue, even one of the right commit."""
    given = seen("good", after=after)
    assert verdicts(given)[Clause.CONVERGE] is FAILED
    assert fragment in told(given, Clause.CONVERGE)


def test_a_switch_past_nixos_rebuild_breaks_the_letter_only() -> None:
    """The contract asks for nixos-rebuild switch; that the right system runs and boots is said, and kept apart."""
    given = seen("good", nixos_rebuild=False)
    assert verdicts(given)[Clause.CONVERGE] is FAILED
    assert "the right system runs, is the profile and boots" in told(given, Clause.CONVERGE)
    assert [each.letter for each in judge(given)] == [False, True, False, False]
    wrong = seen("good", nixos_rebuild=False, after=system(BEFORE))
    assert not any(each.letter for each in judge(wrong))


def test_what_the_trial_cannot_build_is_open() -> None:
    """Without the system that should run, a success is neither true nor untrue."""
    assert verdicts(seen("good", expected=""))[Clause.CONVERGE] is OPEN


def test_a_good_deploy_that_is_called_a_failure_fails() -> None:
    """A path that cries wolf is of no use."""
    given = seen("good", ended(1))
    assert verdicts(given)[Clause.CONVERGE] is FAILED
    assert "the commit runs" in told(given, Clause.CONVERGE)


def test_another_commit_than_the_asked_one_breaks_the_first_clause() -> None:
    """What a branch has moved on to is not what was asked for; going back to what ran before is no other commit."""
    assert verdicts(seen("branch-moved", activations=(activation(OTHER), activation())))[Clause.REVISION] is FAILED
    assert (
        verdicts(seen("branch-moved", activations=(activation(), activation(BEFORE, 8, 9))))[Clause.REVISION]
        is PASSED
    )


def test_what_was_never_activated_shows_nothing_of_the_rest() -> None:
    """A path that deploys nothing fails to converge; of revision and health nothing is known."""
    given = verdicts(seen("good", ended(1), **UNCHANGED))
    assert given == {Clause.REVISION: OPEN, Clause.CONVERGE: FAILED, Clause.HYPERVISOR: OPEN, Clause.RUNTIME: OPEN}


@pytest.mark.parametrize(
    ("requests", "clause", "fragment"),
    [
        (PROBES[1:], Clause.HYPERVISOR, "hypervisor was not asked"),
        (PROBES[:2], Clause.RUNTIME, "dev was not asked"),
        ((PROBES[0], PROBES[2]), Clause.RUNTIME, "live was not asked"),
        ((request("hypervisor", 4.0), *PROBES[1:]), Clause.HYPERVISOR, "was asked before the activation only"),
        (
            (request("hypervisor", 6.0), *PROBES[1:]),
            Clause.HYPERVISOR,
            "was asked during the activation only",
        ),
        ((request("hypervisor", 13.0), *PROBES[1:]), Clause.HYPERVISOR, "was asked after the path's end only"),
        ((request("hypervisor", 8.0, "/"), *PROBES[1:]), Clause.HYPERVISOR, "only for other pages: GET /"),
        ((*PROBES[:2], request("dev", 8.0, "/")), Clause.RUNTIME, "dev was asked only for other pages"),
    ],
)
def test_each_endpoint_must_be_asked_after_the_activation(
    requests: tuple[object, ...], clause: Clause, fragment: str
) -> None:
    """No request, one too early, one after the path's end and one for another page are no probe."""
    given = seen("good", requests=requests)
    assert verdicts(given)[clause] is FAILED
    assert fragment in told(given, clause)


def test_a_probe_that_is_logged_late_is_the_path_s_own() -> None:
    """A program answers before it logs, so the last probe may be logged just after the path's end."""
    given = seen("good", requests=(request("hypervisor", 10.5), *PROBES[1:]))
    assert verdicts(given)[Clause.HYPERVISOR] is PASSED


def test_a_query_is_part_of_no_path() -> None:
    """A page asked for with parameters is that page."""
    assert (
        verdicts(seen("good", requests=(request("hypervisor", 8.0, "/login?x=1"), *PROBES[1:])))[Clause.HYPERVISOR]
        is PASSED
    )


@pytest.mark.parametrize("name", BAD)
def test_a_success_in_a_bad_scenario_fails_its_clause(name: str) -> None:
    """The clause that the scenario examines failed, and diagnostics, which nobody owed yet, are not judged."""
    given = seen(name)
    assert verdicts(given) == {given.scenario.clause: FAILED}
    assert given.scenario.amiss in told(given, given.scenario.clause)


ANOTHER: dict[str, Any] = {"after": system(OTHER), "activations": (activation(OTHER),)}
"""A host to which the path deployed another commit than it was asked for."""


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("name", [*BAD, "evaluation-error", "build-failure", "connection-cut"])
def test_another_commit_shows_nothing_of_the_fault(name: str, code: int) -> None:
    """Only the first clause failed; all else is open, whatever the path said, and for the one reason."""
    given = seen(name, ended(code, output=DIAGNOSTICS), **ANOTHER)
    found = {each.clause: (each.verdict, each.cause) for each in judge(given)}
    assert found.pop(Clause.REVISION) == (FAILED, Cause.OTHER_COMMIT)
    assert set(found.values()) == {(OPEN, Cause.OTHER_COMMIT)}
    assert find(given) == []
    assert given.scenario.amiss not in " ".join(each.seen for each in judge(given)) or not given.scenario.amiss


def test_nothing_is_said_to_be_activated_and_not_to_be() -> None:
    """A branch that has moved is one reason on every clause."""
    given = seen("branch-moved", **ANOTHER)
    assert "nothing was activated" not in " ".join(each.seen for each in judge(given))
    assert {each.cause for each in judge(given) if each.clause is not Clause.CONVERGE} == {Cause.OTHER_COMMIT}


@pytest.mark.parametrize("name", [each.name for each in SCENARIOS])
def test_what_the_lab_cannot_do_is_no_fault_of_the_path(name: str) -> None:
    """A path that met a limit of the lab's stand-ins, and changed nothing, is open, with the limit told."""
    runs = [ended(1), ended(1, asked=OTHER)] if name == "second-deploy" else [ended(1)]
    given = seen(name, *runs, **UNCHANGED | {"limits": ("its stand-in builds flakes only",), "cut": False})
    assert {each.verdict for each in judge(given)} == {OPEN}
    assert {each.cause for each in judge(given)} == {Cause.LAB}


def test_a_limit_of_the_lab_that_stopped_nothing_excuses_nothing() -> None:
    """A path that deployed the commit all the same is judged by what the host saw."""
    given = seen("hypervisor-500", limits=("its stand-in knows no list-generations",))
    assert verdicts(given) == {Clause.HYPERVISOR: FAILED}


def test_a_commit_that_runs_after_a_reboot_was_deployed() -> None:
    """Without a switch nothing shows when it began to run, and the fault was there to be noticed."""
    assert verdicts(seen("good", activations=()))[Clause.HYPERVISOR] is OPEN
    assert verdicts(seen("hypervisor-500", activations=())) == {Clause.HYPERVISOR: FAILED}


def test_a_success_after_going_back_is_told_by_what_runs() -> None:
    """A path that goes back and calls that a success did not say so while the fault was there."""
    given = seen("hypervisor-500", after=system(BEFORE), activations=(activation(), activation(BEFORE, 8, 9)))
    assert verdicts(given) == {Clause.HYPERVISOR: FAILED}
    assert told(given, Clause.HYPERVISOR) == f"it reported success, but the host runs {BEFORE[:12]}"


@pytest.mark.parametrize("name", BAD)
def test_a_success_without_the_commit_shows_nothing_of_its_fault(name: str) -> None:
    """A path that does nothing and calls it success is found out by a good commit, not by a broken one."""
    assert set(verdicts(seen(name, ended(0), **UNCHANGED)).values()) == {OPEN}


@pytest.mark.parametrize("name", BAD)
def test_a_failure_with_diagnostics_passes_a_bad_scenario(name: str) -> None:
    """The scenario's clause and the diagnostics passed."""
    given = seen(name, ended(1, output=DIAGNOSTICS))
    assert verdicts(given) == {given.scenario.clause: PASSED, Clause.DIAGNOSTICS: PASSED}


@pytest.mark.parametrize("name", BAD)
def test_a_path_that_fails_for_a_good_commit_as_well_has_not_noticed_the_fault(name: str) -> None:
    """A script whose checks are for other services fails on every host; its diagnostics are judged all the same."""
    given = replace(seen(name, ended(1, output=DIAGNOSTICS)), fails_anyway=True)
    assert verdicts(given) == {given.scenario.clause: OPEN, Clause.DIAGNOSTICS: PASSED}
    (judgement,) = (each for each in judge(given) if each.verdict is OPEN)
    assert (judgement.cause, judgement.seen) == (
        Cause.FAILS_ANYWAY,
        "it ended with exit code 1, as it did for a good commit",
    )
    told_success = replace(seen(name, ended(0)), fails_anyway=True)
    assert verdicts(told_success) == {given.scenario.clause: FAILED}


def test_a_good_commit_that_was_activated_and_left_again_is_told_so() -> None:
    """A path that goes back from a good commit is told apart from one that never got there."""
    left = seen("good", ended(1), after=system(BEFORE), activations=(activation(), activation(BEFORE, 8, 9)))
    assert told(left, Clause.CONVERGE) == (
        f"it ended with exit code 1, and the host runs {BEFORE[:12]}, after the commit had been activated"
    )
    never = seen("good", ended(1), **UNCHANGED)
    assert told(never, Clause.CONVERGE) == f"it ended with exit code 1, and the host runs {BEFORE[:12]}"
    assert told(seen("good", ended(1)), Clause.CONVERGE) == "it ended with exit code 1, and the commit runs"


@pytest.mark.parametrize("name", BAD)
def test_a_failure_before_the_activation_shows_nothing(name: str) -> None:
    """Who fails sooner has not shown that he notices."""
    given = seen(name, ended(1, output=DIAGNOSTICS), **UNCHANGED)
    assert set(verdicts(given).values()) == {OPEN}


@pytest.mark.parametrize(
    ("gone", "fragment"),
    [
        ("Active: activating", "the state of hypervisor"),
        ("word1", "the journal of hypervisor"),
        ("LISTEN", "the sockets"),
    ],
)
def test_each_part_of_the_diagnostics_is_missed(gone: str, fragment: str) -> None:
    """Another unit's state or journal is not the failed one's; a header with something in it is a list of sockets."""
    output = DIAGNOSTICS.replace(gone, "")
    if gone == "LISTEN":
        output = output.replace("State  Recv-Q", "")
    given = seen("hypervisor-500", ended(1, output=output))
    assert verdicts(given)[Clause.DIAGNOSTICS] is FAILED
    assert told(given, Clause.DIAGNOSTICS).startswith(f"missing: {fragment}")


def test_the_unit_that_failed_beside_the_contract_is_diagnosed_as_well_as_one_of_the_contract() -> None:
    """nixos-rebuild prints the state and the log of the very unit that failed, and no sockets."""
    unit = f"{FAILS_BESIDE}.service"
    shown = (
        f"warning: the following units failed: {unit}\n\u00d7 {unit} - ChoirOS nightly report\n"
        f"     Loaded: loaded (/etc/systemd/system/{unit}; enabled)\n     Active: failed (Result: exit-code)\n\n"
        "Nov 23 12:00:20 choiros-a busybox[762]: word4\n"
    )
    given = seen("new-unit-failing", ended(4, output=shown))
    assert told(given, Clause.DIAGNOSTICS) == "missing: the sockets (ss)"
    sockets = "LISTEN 0 64 127.0.0.1:8080 0.0.0.0:*\n"
    assert verdicts(seen("new-unit-failing", ended(4, output=shown + sockets)))[Clause.DIAGNOSTICS] is PASSED
    assert (
        verdicts(seen("evaluation-error", ended(1, output=shown + sockets), **UNCHANGED))[Clause.DIAGNOSTICS]
        is FAILED
    )


def test_a_line_about_a_unit_is_not_the_journal_of_what_the_unit_logged() -> None:
    """`systemctl status` of a unit in its restart shows systemd's last line only, and not why the unit failed."""
    line = "Nov 23 12:00:25 choiros-a systemd[1]: hypervisor.service: Scheduled restart job, restart counter is at 1."
    given = seen("hypervisor-down", ended(4, output=DIAGNOSTICS.replace("word1", "") + line))
    assert told(given, Clause.DIAGNOSTICS) == "missing: the journal of hypervisor with its own lines (journalctl)"


def test_what_is_missing_from_a_cut_output_is_open() -> None:
    """What was not kept may have been there."""
    given = seen("hypervisor-500", ended(1, output="", cut=True))
    assert verdicts(given)[Clause.DIAGNOSTICS] is OPEN


@pytest.mark.parametrize("name", [*BAD, "good", "unknown-commit", "connection-cut"])
def test_a_path_that_its_limit_ended_is_never_passed(name: str) -> None:
    """Nobody knows what it would have said; that it has no limit of its own is found."""
    given = seen(name, ended(None))
    assert Clause.DIAGNOSTICS not in verdicts(given)
    assert verdicts(given)[given.scenario.clause if name != "good" else Clause.CONVERGE] in {OPEN, FAILED}
    (found,) = (each for each in find(given) if each.id is FindingId.LIMIT)
    assert f"{LIMIT_S:g} s" in found.message


def test_an_unknown_commit_must_change_nothing() -> None:
    """A refusal passes; a success, a switch and a stopped unit fail the first clause. Diagnostics are not owed."""
    assert verdicts(seen("unknown-commit", ended(1), **UNCHANGED)) == {Clause.REVISION: PASSED}
    assert verdicts(seen("unknown-commit", ended(0), **UNCHANGED)) == {Clause.REVISION: FAILED}
    assert verdicts(seen("unknown-commit", ended(1))) == {Clause.REVISION: FAILED}
    again = UNCHANGED | {"activations": (activation(BEFORE),)}
    assert verdicts(seen("unknown-commit", ended(1), **again)) == {Clause.REVISION: FAILED}
    assert verdicts(seen("host-key-changed", ended(1), **again)) == {Clause.CONVERGE: FAILED}
    restarted = UNCHANGED | {"restarted": ("hypervisor.service",)}
    assert verdicts(seen("unknown-commit", ended(1), **restarted)) == {Clause.REVISION: FAILED}


@pytest.mark.parametrize("name", ["evaluation-error", "build-failure"])
def test_what_cannot_be_built_must_be_refused_with_diagnostics(name: str) -> None:
    """Any unit's state and journal will do where none failed; a host that has another profile then was changed."""
    assert verdicts(seen(name, ended(1, output=DIAGNOSTICS), **UNCHANGED)) == {
        Clause.CONVERGE: PASSED,
        Clause.DIAGNOSTICS: PASSED,
    }
    again = UNCHANGED | {"activations": (activation(BEFORE),)}
    assert verdicts(seen(name, ended(1, output=DIAGNOSTICS), **again))[Clause.CONVERGE] is PASSED
    moved = UNCHANGED | {"after": system(BEFORE, profile=toplevel(OTHER))}
    assert verdicts(seen(name, ended(1), **moved))[Clause.CONVERGE] is FAILED
    assert verdicts(seen(name, ended(0), **UNCHANGED)) == {Clause.CONVERGE: FAILED}


@pytest.mark.parametrize("code", [126, 127])
def test_a_command_that_is_not_there_refuses_nothing(code: int) -> None:
    """A typing error in the command is no refusal of a commit, and no failure to deploy one."""
    assert verdicts(seen("good", ended(code), **UNCHANGED))[Clause.CONVERGE] is OPEN
    assert verdicts(seen("good", ended(code)))[Clause.CONVERGE] is FAILED
    assert verdicts(seen("unknown-commit", ended(code), **UNCHANGED)) == {Clause.REVISION: OPEN}


def test_after_a_cut_only_the_truth_passes() -> None:
    """A failure is the truth, whatever became of the host; a success must be so; without a cut nothing is shown."""
    assert verdicts(seen("connection-cut", ended(255))) == {Clause.CONVERGE: PASSED}
    assert verdicts(seen("connection-cut", ended(255), after=system(BEFORE))) == {Clause.CONVERGE: PASSED}
    assert verdicts(seen("connection-cut", ended(0))) == {Clause.CONVERGE: PASSED}
    assert verdicts(seen("connection-cut", ended(0), after=system(BEFORE))) == {Clause.CONVERGE: FAILED}
    assert verdicts(seen("connection-cut", ended(255), cut=False)) == {Clause.CONVERGE: OPEN}


def test_a_host_with_another_key_is_let_alone() -> None:
    """A refusal passes; a login is a finding; whatever is done to the host fails, and so does a success."""
    assert verdicts(seen("host-key-changed", ended(255), **UNCHANGED)) == {Clause.CONVERGE: PASSED}
    assert verdicts(seen("host-key-changed", ended(0), **UNCHANGED)) == {Clause.CONVERGE: FAILED}
    assert verdicts(seen("host-key-changed", ended(127), **UNCHANGED)) == {Clause.CONVERGE: OPEN}
    for trace in ({"restarted": ("hypervisor.service",)}, {"checkouts": (ASKED,)}):
        assert verdicts(seen("host-key-changed", ended(1), **UNCHANGED | trace)) == {Clause.CONVERGE: FAILED}
    assert find(seen("host-key-changed", ended(255), **UNCHANGED)) == []
    trusting = seen("host-key-changed", ended(0), logins=1)
    assert verdicts(trusting) == {Clause.CONVERGE: FAILED}
    assert told(trusting, Clause.CONVERGE).startswith("the host was changed: the running system became")
    assert [each.id for each in find(trusting)] == [FindingId.HOST_KEYS]


def second(code: int) -> Ended:
    """How the second of two deploys ended."""
    return ended(code, asked=OTHER, after=20.0)


@pytest.mark.parametrize(
    ("codes", "after", "activations", "verdict"),
    [
        ((0, 75), system(ASKED), (activation(),), PASSED),
        ((0, 0), system(OTHER), (activation(), activation(OTHER, 12, 14)), PASSED),
        ((1, 1), system(ASKED), (activation(),), PASSED),
        ((0, 1), system(ASKED, profile=toplevel(OTHER)), (activation(),), FAILED),
        ((0, 1), system(OTHER), (activation(), activation(OTHER, 12, 14)), FAILED),
        ((0, 0), system(OTHER), (activation(), activation(OTHER, 7, 7.5)), FAILED),
        ((1, 1), system(BEFORE), (), OPEN),
    ],
)
def test_of_two_deploys_who_says_success_says_the_truth(
    codes: tuple[int, int], after: object, activations: tuple[object, ...], verdict: Verdict
) -> None:
    """One after the other, one refused or both failed is the truth; a success over the other's system is not."""
    given = seen("second-deploy", ended(codes[0]), second(codes[1]), after=after, activations=activations)
    assert {each.verdict for each in judge(given)} - {PASSED} == ({verdict} - {PASSED})


def test_a_switch_into_another_deploy_is_found() -> None:
    """No lock is a finding: the second switched the host while the first was at work."""
    both = (activation(), activation(OTHER, 8, 9))
    given = seen("second-deploy", ended(1), second(1), activations=both)
    assert [each.id for each in find(given)] == [FindingId.LOCK]


def test_systems_are_named_by_their_commits() -> None:
    """Of what runs, what is set and what boots, each is told as a commit; paths are for the details."""
    after = system(
        ASKED, profile=toplevel(OTHER), profile_revision=OTHER, boots=toplevel(BEFORE), boots_revision=BEFORE
    )
    given = seen("second-deploy", ended(0), second(1), after=after)
    words = told(given, Clause.CONVERGE)
    assert f"runs {ASKED[:12]}, has the profile {OTHER[:12]} and boots {BEFORE[:12]}" in words
    assert "/nix/store" not in words


SAID_BACK = "Deployment to node a failed, rolled back to previous generation\n"
SAID_TRYING = "De-activating due to error\n"


@pytest.mark.parametrize(
    ("output", "first_by_path", "back", "found"),
    [
        ("", False, False, [FindingId.ROLLBACK]),
        (SAID_TRYING, False, False, [FindingId.ROLLBACK_OPEN]),
        (SAID_TRYING, True, False, [FindingId.ROLLBACK]),
        (SAID_BACK, False, False, [FindingId.UNTRUE]),
        (SAID_BACK, True, False, [FindingId.UNTRUE]),
        (SAID_BACK, False, True, []),
        ("", True, True, []),
    ],
)
def test_what_a_path_says_of_its_way_back_is_held_against_the_host(
    output: str, first_by_path: bool, back: bool, found: list[FindingId]
) -> None:
    """A way back to what the path had not deployed is not held against it, unless it says that it went back."""
    given = seen("hypervisor-500", ended(1, output=output), after=system(BEFORE if back else ASKED))
    given = replace(given, first_by_path=first_by_path)
    assert [each.id for each in find(given)] == found


def test_what_is_beyond_the_contract_is_found() -> None:
    """A host left with what failed, a checkout that followed a branch, a secret in view, something left running."""
    ids = [each.id for each in find(seen("hypervisor-500", ended(1)))]
    assert ids == [FindingId.ROLLBACK]
    assert find(seen("hypervisor-500", ended(1), after=system(BEFORE))) == []
    followed = seen("branch-moved", checkouts=(OTHER, ASKED))
    assert [each.id for each in find(followed)] == [FindingId.BRANCH]
    shown = seen("good", exposed=("the repository's token stood in the command line of `ssh`",))
    assert [each.id for each in find(shown)] == [FindingId.SECRETS]
    left = seen("good", leftovers=(Process(where="host", pid=7, command="sleep 321"),))
    assert [each.id for each in find(left)] == [FindingId.LEFTOVERS]
