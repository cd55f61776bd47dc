"""Every way to be non-canonical is found out for the right reason, and what is beyond the contract is told apart."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.providers.lab.trial.subject import Command
from switchproof.deploy.redact.redactor import Redactor
from switchproof.trials.attempt import Setting
from switchproof.trials.exam import Exam
from switchproof.trials.record import Cause, FindingId, ScenarioResult
from switchproof.trials.scenario import SCENARIOS
from tests.sampling import sampled

pytestmark = [pytest.mark.lab, pytest.mark.long]

SUBJECTS = Path(__file__).parent / "subjects"
LIMIT_S = 45.0
HANGING_LIMIT_S = 12.0

VIOLATIONS = {
    ("always-fails", "good"): (Clause.CONVERGE, "ended with exit code 1, and the host runs"),
    ("always-succeeds", "build-failure"): (Clause.CONVERGE, "reported success while the system does not build"),
    ("follows-the-branch", "branch-moved"): (Clause.REVISION, "it activated"),
    ("falls-back", "unknown-commit"): (Clause.REVISION, "the host was changed: the running system became"),
    ("stops-first", "unknown-commit"): (Clause.REVISION, "hypervisor.service was stopped or restarted"),
    ("ignores-the-rebuild", "build-failure"): (Clause.CONVERGE, "reported success while the system does not build"),
    ("trusts-the-rebuild", "old-process-kept"): (Clause.CONVERGE, "the hypervisor still ran from the earlier system"),
    ("only-tests", "good"): (Clause.CONVERGE, "it reported success, but the system profile points to"),
    ("only-boots", "good"): (Clause.CONVERGE, "it reported success, but the host runs"),
    ("without-nixos-rebuild", "good"): (Clause.CONVERGE, "nixos-rebuild did not switch to it"),
    ("other-node", "good"): (Clause.CONVERGE, "it reported success, but the host runs"),
    ("says-so-too-early", "good"): (Clause.CONVERGE, "it reported success, but the host runs"),
    ("claims-over-a-cut", "connection-cut"): (Clause.CONVERGE, "it reported success, but the host runs"),
    ("knows-no-lock", "second-deploy"): (Clause.CONVERGE, "in the end"),
    ("checks-no-host-key", "host-key-changed"): (Clause.CONVERGE, "the host was changed: the running system became"),
    ("deploys-main", "hypervisor-500"): (Clause.REVISION, "it activated"),
    ("pulls-and-rolls-back", "good"): (Clause.HYPERVISOR, "hypervisor was not asked"),
    ("pulls-and-rolls-back", "branch-moved"): (Clause.REVISION, "it activated"),
    ("tries-twice", "hypervisor-500"): (Clause.HYPERVISOR, "reported success while the hypervisor answered 500"),
    ("switches-from-afar", "good"): (Clause.RUNTIME, "live was not asked; dev was not asked"),
    ("switches-from-afar", "hypervisor-down"): (Clause.DIAGNOSTICS, "the journal of hypervisor with its own lines"),
    ("switches-from-afar", "new-unit-failing"): (Clause.DIAGNOSTICS, "missing: the sockets (ss)"),
    ("wraps-the-profile", "good"): (Clause.CONVERGE, "the right system runs, is the profile and boots"),
    ("asks-no-hypervisor", "good"): (Clause.HYPERVISOR, "hypervisor was not asked"),
    ("asks-another-page", "good"): (Clause.HYPERVISOR, "asked only for other pages: GET /"),
    ("asks-before", "good"): (Clause.HYPERVISOR, "before the activation only"),
    ("takes-any-page", "hypervisor-redirect"): (
        Clause.HYPERVISOR,
        "reported success while the hypervisor answered 303",
    ),
    ("takes-any-answer", "hypervisor-500"): (Clause.HYPERVISOR, "reported success while the hypervisor answered 500"),
    ("forgets-dev", "good"): (Clause.RUNTIME, "dev was not asked"),
    ("looks-at-units-only", "dev-workload-dead"): (Clause.RUNTIME, "reported success while dev's workload"),
    ("takes-200-for-healthy", "live-degraded"): (Clause.RUNTIME, "reported success while live reported"),
    ("takes-silence-for-health", "live-workload-dead"): (Clause.RUNTIME, "reported success while live's workload"),
    ("forgives-dev", "dev-degraded"): (Clause.RUNTIME, "reported success while dev reported"),
    ("forgives-failed-units", "new-unit-failing"): (Clause.CONVERGE, "reported success while a unit failed"),
    ("asks-behind-the-forward", "dev-not-listening"): (Clause.RUNTIME, "reported success while nothing listened"),
    ("says-nothing", "hypervisor-500"): (
        Clause.DIAGNOSTICS,
        "missing: the state of hypervisor (systemctl), the journal of hypervisor with its own lines (journalctl)",
    ),
    ("shows-no-state", "live-degraded"): (Clause.DIAGNOSTICS, "missing: the state of live (systemctl)"),
    ("shows-no-journal", "hypervisor-500"): (Clause.DIAGNOSTICS, "missing: the journal of hypervisor with its own"),
    ("shows-no-sockets", "dev-not-listening"): (Clause.DIAGNOSTICS, "missing: the sockets (ss)"),
}
"""Examples of a path that is non-canonical, the scenario that shows it, the clause, and what is said of it."""

FINDINGS = {
    ("canonical", "activation-failure"): {FindingId.ROLLBACK},
    ("careless", "second-deploy"): {FindingId.LOCK},
    ("pulls", "branch-moved"): {FindingId.BRANCH},
    ("shows-its-token", "good"): {FindingId.SECRETS},
    ("waits-for-ever", "live-hangs"): {FindingId.LIMIT, FindingId.ROLLBACK, FindingId.LEFTOVERS},
    ("leaves-something-running", "good"): {FindingId.LEFTOVERS},
    ("canonical", "good"): set(),
    ("prefixes-lines", "hypervisor-500"): {FindingId.ROLLBACK},
    ("wraps-the-profile", "activation-failure"): {FindingId.ROLLBACK_OPEN},
    ("says-it-went-back", "activation-failure"): {FindingId.UNTRUE},
}
"""Examples of what is found beyond the contract, and the scenario that shows it."""

LEFT_OPEN = {
    ("deploys-main", "hypervisor-500"): (Clause.HYPERVISOR, Cause.OTHER_COMMIT),
    ("without-a-flake", "good"): (Clause.CONVERGE, Cause.LAB),
}
"""Examples of what a scenario does not show, the clause, and why."""

SAMPLE = {
    "follows-the-branch",
    "without-nixos-rebuild",
    "looks-at-units-only",
    "shows-no-journal",
    "claims-over-a-cut",
    "checks-no-host-key",
    "leaves-something-running",
    "deploys-main",
    "without-a-flake",
    "wraps-the-profile",
}
"""Examples that every test run tries."""

Tries = dict[tuple[str, str], Callable[[], ScenarioResult | None]]

EVERY = list(dict.fromkeys((*VIOLATIONS, *FINDINGS, *LEFT_OPEN)))
SAMPLED = sampled(
    "bad examples",
    "trials",
    {"-".join(each): each for each in EVERY},
    {"-".join(each) for each in EVERY if each[0] in SAMPLE},
)


def trying(examples: Collection[tuple[str, str]]) -> pytest.MarkDecorator:
    """Try those of the examples that are to be tried."""
    chosen = {name: each for name, each in SAMPLED.tried.items() if each in examples}
    return pytest.mark.parametrize(
        ("example", "scenario"),
        [pytest.param(*each, id=name, marks=SAMPLED.mark(name)) for name, each in chosen.items()],
    )


@pytest.fixture(scope="module")
def tries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tries]:
    """Every example with its scenario, each on a fresh host, two at a time."""
    folder = tmp_path_factory.mktemp("trials")
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    results: Tries = {}
    with Exam(Redactor()) as exam:
        for number, (example, name) in enumerate(SAMPLED.tried.values()):
            limit_s = HANGING_LIMIT_S if name == "live-hangs" else LIMIT_S
            command = Command(f"./{example}.sh", SUBJECTS, limit_s)
            setting = Setting(command, "ovh", "netns", os.environ, folder / str(number))
            exam.begin(setting, [scenarios[name]])
            results[example, name] = functools.partial(exam.result, setting, name)
        yield results


def of(tries: Tries, example: str, scenario: str) -> ScenarioResult:
    """What came of an example that could be tried and seen."""
    result = tries[example, scenario]()
    assert result is not None
    assert result.problem is None, result.problem
    return result


@trying(VIOLATIONS.keys())
def test_a_path_that_breaks_a_clause_is_found_out(tries: Tries, example: str, scenario: str) -> None:
    """The clause that it breaks failed, for the reason that its first line tells."""
    clause, fragment = VIOLATIONS[example, scenario]
    result = of(tries, example, scenario)
    failed = {each.clause: each.seen for each in result.judgements if each.verdict is Verdict.FAILED}
    assert fragment in failed.get(clause, ""), result


@trying(FINDINGS.keys())
def test_what_is_beyond_the_contract_changes_no_verdict(tries: Tries, example: str, scenario: str) -> None:
    """It is found, nothing else is, and no clause failed for it."""
    result = of(tries, example, scenario)
    assert {finding.id for finding in result.findings} == FINDINGS[example, scenario], result
    assert Verdict.FAILED not in {each.verdict for each in result.judgements}, result


@trying(LEFT_OPEN.keys())
def test_what_a_scenario_does_not_show_is_open_and_says_why(tries: Tries, example: str, scenario: str) -> None:
    """Another commit and the lab's own limits say nothing about the fault, and the reason is one for all."""
    clause, cause = LEFT_OPEN[example, scenario]
    result = of(tries, example, scenario)
    found = {each.clause: (each.verdict, each.cause) for each in result.judgements}
    assert found[clause] == (Verdict.INCONCLUSIVE, cause), result


def test_a_path_that_deployed_the_first_system_itself_can_go_back_to_it(tmp_path: Path) -> None:
    """Its own way back finds a profile of its own, and there is nothing left to find beyond the contract."""
    command = Command("./wraps-the-profile.sh", SUBJECTS, LIMIT_S)
    setting = Setting(command, "ovh", "netns", os.environ, tmp_path, sets_first=True)
    scenario = next(each for each in SCENARIOS if each.name == "activation-failure")
    with Exam(Redactor()) as exam:
        exam.begin(setting, [scenario])
        result = exam.result(setting, scenario.name)
    assert result is not None
    assert (result.problem, result.verdict, result.findings) == (None, Verdict.PASSED, ()), result
    assert "deployed by the path itself" in result.prepared


def test_every_example_is_tried() -> None:
    """Each example has a place in the tables above, but those that sit the whole exam."""
    names = {path.stem for path in SUBJECTS.glob("*.sh")} - {"lib", "by-hand", "canonical-ssm"}
    assert names == {name for name, _ in EVERY}
