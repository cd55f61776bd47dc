"""How a run is held against earlier ones."""

from __future__ import annotations

import pytest

from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.reports.page import difference
from tests.reports.story import NEW, OLD, Story


def failed(*not_passed: str, contract: str = "") -> list[difference.Difference]:
    """A run in which `live` fails and `emitted` is blocked, held against earlier ones."""
    story = Story("a").earlier(*not_passed).resolved()
    story.clauses("a", Clause.REVISION, Clause.CONVERGE, Clause.HYPERVISOR)
    story.check("a", Clause.RUNTIME, "live", Verdict.FAILED).check("a", Clause.RUNTIME, "dev")
    story.check("a", Clause.DIAGNOSTICS, "emitted", Verdict.BLOCKED).seen("a", "after", NEW, 42)
    record = story.left("a", HostState.CONVERGED, "").ended(ExitCode.SAFE_FAILURE).record()
    record.contract_sha256 = contract or record.contract_sha256
    return difference.differences(record)


def ids(changes: list[difference.Change]) -> list[str]:
    return [change.check.id for change in changes]


def test_what_passed_before_and_fails_now_is_new() -> None:
    """Against a canonical run a failure is new, and what could not be tried is counted apart."""
    against = failed()[0]
    assert (ids(against.new), ids(against.still), ids(against.fixed), ids(against.held)) == (
        ["live"],
        [],
        [],
        ["emitted"],
    )
    assert against.sentence == (
        "Checks that do not pass: 1 new, 0 fixed, 0 still failing; 1 check that passed then could not be tried."
    )


def test_newest_run_tells_what_is_fixed_and_what_still_fails() -> None:
    """Where the run before was no canonical one, it is held against that as well."""
    canonical, previous = failed("live", "dev")
    assert (canonical.name, previous.name) == ("the last canonical run", "the run before this one")
    assert ids(canonical.new) == ["live"]
    assert (ids(previous.new), ids(previous.still), ids(previous.fixed)) == ([], ["live"], ["dev"])


def test_system_that_a_host_was_left_with_is_compared() -> None:
    """The toplevel then and now is told for each host."""
    against = failed()[0]
    assert [(one.before, one.after, one.word) for one in against.systems] == [(OLD, NEW, "another")]


def test_other_contract_is_said() -> None:
    """A run that was held to another contract is not compared in silence."""
    assert failed()[0].same_contract
    assert not failed(contract="0" * 64)[0].same_contract


def test_check_that_may_not_have_been_made_is_not_said_to_have_passed() -> None:
    """Of a run of another contract or mode only what did not pass is known of each check."""
    assert failed()[0].new[0].before == "passed"
    assert failed(contract="0" * 64)[0].new[0].before == "passed or not made"


def test_plan_is_held_against_nothing() -> None:
    """What proves nothing differs from nothing."""
    assert difference.differences(Story("a", mode="plan").earlier().record()) == []


def test_run_without_earlier_ones_has_no_difference() -> None:
    """Where nothing is known of earlier runs there is nothing to hold against."""
    assert difference.differences(Story("a").record()) == []


@pytest.mark.parametrize("folder", ["..", ".", "", "a/b", "javascript:alert(1)", "a b", '"><script>', "-x", "../x"])
def test_only_a_plain_name_becomes_a_link(folder: str) -> None:
    """What is no name of a run's folder is shown and not linked."""
    assert difference.report_of(folder) == ""
    assert (
        difference.report_of("20261123T151203Z-deploy-ovh-1a2b3c4")
        == "../20261123T151203Z-deploy-ovh-1a2b3c4/report.html"
    )
