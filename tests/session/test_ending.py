"""The code of a session follows from its record and from how it went, the worst first."""

from __future__ import annotations

import pytest

from switchproof.deploy.contract import ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.plan import Mode
from switchproof.deploy.record.record import Record
from switchproof.session.ending import Ending
from tests.reports import stories


def bad() -> Record:
    return stories.rolled_back().record()


def good() -> Record:
    return stories.canonical().record()


def ending(mode: Mode = Mode.DEPLOY, **given: bool) -> Ending:
    return Ending(mode=mode, begun=True, pytest_code=ExitCode.CANONICAL, **given)


@pytest.mark.parametrize(
    ("given", "of_good", "of_bad"),
    [
        ({}, 0, 1),
        ({"unreported": True}, 11, 11),
        ({"selected": True}, 11, 11),
        ({"unsigned": True}, 12, 1),
        ({"unsigned": True, "unreported": True}, 11, 11),
        ({"interrupted": True}, 2, 2),
    ],
)
def test_codes_of_what_went_wrong_beside_the_hosts(given: dict[str, bool], of_good: int, of_bad: int) -> None:
    """A lost report proves nothing, a missing signature matters only to what would be canonical."""
    assert ending(Mode.DEPLOY, **given).code(good()) == of_good
    assert ending(Mode.DEPLOY, **given).code(bad()) == of_bad


@pytest.mark.parametrize(
    "given", [{}, {"unreported": True}, {"selected": True}, {"unsigned": True}, {"interrupted": True}]
)
def test_an_unsafe_host_outranks_everything(given: dict[str, bool]) -> None:
    """Whatever else happened, a host that needs a person is what the code says."""
    record = bad()
    record.hosts[0].state = HostState.UNSAFE
    assert ending(Mode.DEPLOY, **given).code(record) is ExitCode.UNSAFE


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ((HostState.FOUND_UNHEALTHY, HostState.FOUND_HEALTHY), ExitCode.SAFE_FAILURE),
        ((HostState.FOUND_UNHEALTHY, HostState.UNKNOWN), ExitCode.SAFE_FAILURE),
    ],
)
def test_an_audit_that_found_a_host_unhealthy_fails(states: tuple[HostState, ...], code: ExitCode) -> None:
    """What an audit could not see of another host takes nothing from what it saw."""
    record = bad()
    for host, state in zip(record.hosts, states, strict=True):
        host.state = state
    assert record.judged is RunVerdict.NON_CANONICAL
    assert ending(Mode.AUDIT).code(record) is code


def test_a_crash_that_leaves_no_host_in_doubt_keeps_its_code() -> None:
    """A defect ends with 3, unless a host is worse off than that says."""
    crashed = Ending(mode=Mode.DEPLOY, begun=True, pytest_code=ExitCode.INTERNAL)
    assert crashed.code(bad()) is ExitCode.INTERNAL
    record = bad()
    record.hosts[0].state = HostState.UNKNOWN
    assert crashed.code(record) is ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdicts", "given", "code"),
    [
        (("passed", "passed"), {}, ExitCode.CANONICAL),
        (("passed", "failed"), {}, ExitCode.SAFE_FAILURE),
        (("inconclusive", "failed"), {}, ExitCode.SAFE_FAILURE),
        (("passed", "waived"), {}, ExitCode.SAFE_FAILURE),
        (("passed", "inconclusive"), {}, ExitCode.INCONCLUSIVE),
        ((), {}, ExitCode.INCONCLUSIVE),
        (("failed",), {"refused": True}, ExitCode.SAFE_FAILURE),
        (("failed",), {"interrupted": True}, ExitCode.INTERRUPTED),
        (("passed",), {"selected": True}, ExitCode.INCONCLUSIVE),
    ],
)
def test_a_preflight_ends_with_what_it_found(
    verdicts: tuple[str, ...], given: dict[str, bool], code: ExitCode
) -> None:
    """A finding that refuses is 1, what could not be seen is 11, and silence never passes."""
    found = [("a", f"check-{number}", Verdict(verdict), "") for number, verdict in enumerate(verdicts)]
    assert ending(Mode.PREFLIGHT, **given).code(stories.preflight(code, *found).record()) is code


@pytest.mark.parametrize(
    ("mode", "record", "code"),
    [
        (Mode.DEPLOY, good(), ExitCode.INCONCLUSIVE),
        (Mode.DRILL, good(), ExitCode.INCONCLUSIVE),
        (Mode.DEPLOY, bad(), ExitCode.SAFE_FAILURE),
    ],
)
def test_a_tree_that_is_not_committed_is_never_canonical(mode: Mode, record: Record, code: ExitCode) -> None:
    """Every check may pass, and yet nobody can name what was proven; what failed has failed all the same."""
    record.run.dirty = "705ed01931564c6c89b14f0ee22dbf6134c3bada"
    assert ending(mode).code(record) is code
