"""No host is said to be in a better state than was proven."""

from __future__ import annotations

import itertools

import pytest

from switchproof.deploy.contract import HostState, Verdict
from switchproof.deploy.run.leaving import Departure, audited_state

YES_OR_NO = (False, True)
EVERY = [
    Departure(verdict, back, kept, returned, same, "/nix/store/x")
    for verdict, back, kept, returned, same in itertools.product(
        Verdict, [None, *Verdict], YES_OR_NO, YES_OR_NO, YES_OR_NO
    )
]


def test_converged_is_only_what_passed_and_is_kept() -> None:
    """Converged means that every clause passed or is waived, and that the host confirmed to keep the system."""
    for each in EVERY:
        held = each.verdict in {Verdict.PASSED, Verdict.WAIVED}
        assert (each.state[0] is HostState.CONVERGED) == (held and each.kept), each


def test_rolled_back_is_only_what_passed_on_the_system_from_before() -> None:
    """Rolled back means that every clause held on the way back, and that the very system from before was seen."""
    for each in EVERY:
        if each.state[0] is HostState.ROLLED_BACK:
            assert each.back in {Verdict.PASSED, Verdict.WAIVED}
            assert each.same


def test_restored_system_that_did_not_pass_is_unsafe() -> None:
    """A way back that was begun and is not proven leaves the host unsafe, whatever runs there."""
    for each in EVERY:
        if each.back is not None and each.state[0] not in {HostState.CONVERGED, HostState.ROLLED_BACK}:
            assert each.state[0] is HostState.UNSAFE


def test_unchanged_is_only_what_was_seen_to_be() -> None:
    """Unchanged means that the host was seen to be on the system from before, and never left it by its own word."""
    for each in EVERY:
        if each.state[0] is HostState.UNCHANGED:
            assert each.same
            assert not each.returned
            assert each.back is None


@pytest.mark.parametrize(
    ("departure", "state", "says"),
    [
        (Departure(Verdict.FAILED, Verdict.PASSED, False, True, True, "/old"), HostState.ROLLED_BACK, "by itself"),
        (Departure(Verdict.FAILED, None, False, True, True, "/old"), HostState.UNKNOWN, "was not verified"),
        (Departure(Verdict.FAILED, None, False, False, False, "/new"), HostState.UNSAFE, "switched to /new"),
        (Departure(Verdict.INCONCLUSIVE, None, False, False, False, "/new"), HostState.UNKNOWN, "could be checked"),
        (Departure(Verdict.PASSED, None, False, False, False, "/new"), HostState.UNKNOWN, "could be checked"),
        (Departure(Verdict.WAIVED, None, True, False, False, "/new"), HostState.CONVERGED, "except those waived"),
        (
            Departure(Verdict.FAILED, Verdict.WAIVED, False, False, True, "/old"),
            HostState.ROLLED_BACK,
            "those waived",
        ),
        (
            Departure(Verdict.FAILED, Verdict.PASSED, False, False, False, "/x"),
            HostState.UNSAFE,
            "changed after that",
        ),
        (
            Departure(Verdict.FAILED, Verdict.FAILED, False, False, True, "/old"),
            HostState.UNSAFE,
            "did not pass every",
        ),
    ],
)
def test_reason_says_how_it_is_known(departure: Departure, state: HostState, says: str) -> None:
    """The reason tells what the state follows from."""
    assert departure.state[0] is state
    assert says in departure.state[1]


@pytest.mark.parametrize(
    ("verdict", "state", "reason"),
    [
        (Verdict.PASSED, HostState.FOUND_HEALTHY, "Every clause passed; nothing was changed."),
        (
            Verdict.WAIVED,
            HostState.FOUND_HEALTHY,
            "Every clause passed, except those waived; nothing was changed.",
        ),
        (Verdict.FAILED, HostState.FOUND_UNHEALTHY, "Not every clause passed; nothing was changed."),
        (Verdict.BLOCKED, HostState.UNKNOWN, "Not every clause could be checked; nothing was changed."),
        (Verdict.INCONCLUSIVE, HostState.UNKNOWN, "Not every clause could be checked; nothing was changed."),
    ],
)
def test_audit_finds_a_host_healthy_only_if_nothing_failed(verdict: Verdict, state: HostState, reason: str) -> None:
    """What could not be checked is unknown, and neither healthy nor unhealthy."""
    assert audited_state(verdict) == (state, reason)
