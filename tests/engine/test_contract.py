"""How verdicts combine, and with which code a run ends."""

from __future__ import annotations

from itertools import chain, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.contract import (
    Clause,
    ExitCode,
    HostState,
    RunVerdict,
    Verdict,
    combine,
    exit_code,
    run_verdict,
)

P, F, B, I = Verdict.PASSED, Verdict.FAILED, Verdict.BLOCKED, Verdict.INCONCLUSIVE  # noqa: E741 - a table's heads
W = Verdict.WAIVED
BELOW_FOUR = list(chain.from_iterable(product(Verdict, repeat=count) for count in range(4)))
verdicts = st.lists(st.sampled_from(Verdict))


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([], I),
        ([P], P),
        ([P, P], P),
        ([P, B], B),
        ([P, I], I),
        ([P, F], F),
        ([B, I], I),
        ([I, F], F),
        ([B, F], F),
        ([P, B, I, F], F),
        ([P, W], W),
        ([W], W),
        ([W, B], B),
        ([W, I], I),
        ([W, F], F),
    ],
)
def test_the_worst_part_is_the_whole(parts: list[Verdict], whole: Verdict) -> None:
    """Failed is worse than inconclusive, then come blocked and waived, and of nothing at all nothing is known."""
    assert combine(parts) is whole
    assert combine(reversed(parts)) is whole


def test_only_passed_counts() -> None:
    """A whole has passed exactly if there are parts and every one of them has."""
    for parts in BELOW_FOUR:
        assert (combine(parts) is P) == (bool(parts) and all(part is P for part in parts)), parts


@given(verdicts, verdicts)
def test_grouping_changes_nothing(left: list[Verdict], right: list[Verdict]) -> None:
    """Clauses that are combined first and then together give what all checks at once give."""
    if left and right:
        assert combine([combine(left), combine(right)]) is combine(left + right)


@given(verdicts, st.sampled_from([F, B, I, W]))
def test_nothing_makes_a_bad_part_good(parts: list[Verdict], bad: Verdict) -> None:
    """No number of passed parts outweighs one that has not."""
    assert combine([*parts, bad]) is not P


@pytest.mark.parametrize(
    ("hosts", "verdict"),
    [
        ([], RunVerdict.INCONCLUSIVE),
        ([P, P], RunVerdict.CANONICAL),
        ([P, F], RunVerdict.NON_CANONICAL),
        ([P, B], RunVerdict.INCONCLUSIVE),
        ([P, I], RunVerdict.INCONCLUSIVE),
        ([I, F], RunVerdict.NON_CANONICAL),
        ([P, W], RunVerdict.WITH_WAIVERS),
        ([W, F], RunVerdict.NON_CANONICAL),
        ([W, B], RunVerdict.INCONCLUSIVE),
    ],
)
def test_run_is_canonical_only_if_every_host_passed(hosts: list[Verdict], verdict: RunVerdict) -> None:
    """One host that did not pass keeps the run from being canonical, one waived failure from being just that."""
    assert run_verdict(hosts) is verdict


@pytest.mark.parametrize(
    ("verdict", "states", "code"),
    [
        ("canonical", ["converged"], 0),
        ("canonical", ["unchanged", "converged"], 0),
        ("canonical", ["unchanged", "converged", "found-healthy"], 0),
        ("canonical", ["unknown"], 11),
        ("canonical", ["converged", "unsafe"], 10),
        ("canonical", ["rolled-back"], 1),
        ("canonical with waivers", ["converged"], 0),
        ("canonical with waivers", ["rolled-back"], 1),
        ("non-canonical", ["unchanged"], 1),
        ("non-canonical", ["rolled-back", "converged"], 1),
        ("non-canonical", ["rolled-back", "unknown"], 11),
        ("non-canonical", ["unknown", "unsafe"], 10),
        ("inconclusive", ["unchanged"], 11),
        ("canonical", ["found-healthy"], 0),
        ("non-canonical", ["found-unhealthy", "found-healthy"], 1),
        ("inconclusive", ["rolled-back"], 11),
        ("inconclusive", ["unsafe"], 10),
    ],
)
def test_exit_code_obeys_verdict_and_states(verdict: str, states: list[str], code: int) -> None:
    """Each verdict and what the hosts were left in has its exit code; an unsafe host outranks everything."""
    assert exit_code(RunVerdict(verdict), [HostState(state) for state in states]) == code


@given(st.sampled_from(RunVerdict), st.lists(st.sampled_from(HostState)))
def test_zero_means_canonical_and_safe(verdict: RunVerdict, states: list[HostState]) -> None:
    """Only a canonical run, with waivers or without, whose hosts are converged or untouched exits 0."""
    code = exit_code(verdict, states)
    accepted = {RunVerdict.CANONICAL, RunVerdict.WITH_WAIVERS}
    proven = verdict in accepted and set(states) <= {
        HostState.CONVERGED,
        HostState.UNCHANGED,
        HostState.FOUND_HEALTHY,
    }
    assert (code is ExitCode.CANONICAL) == proven
    assert (code is ExitCode.UNSAFE) == (HostState.UNSAFE in states)


def test_clauses_stand_in_the_order_of_the_contract() -> None:
    """Each clause waits for all before it, but diagnostics wait for none."""
    assert [str(clause) for clause in Clause] == ["revision", "converge", "hypervisor", "runtime", "diagnostics"]
    assert [len(clause.prerequisites) for clause in Clause] == [0, 1, 2, 3, 0]
    assert Clause.RUNTIME.prerequisites == (Clause.REVISION, Clause.CONVERGE, Clause.HYPERVISOR)
    assert len({clause.promise for clause in Clause}) == 5
