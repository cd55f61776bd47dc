"""A check is blocked by a clause that failed before it, and the last one by every check that has not passed."""

from __future__ import annotations

import pytest

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.plan import Mode
from switchproof.deploy.record.events import ExpectedCheck
from switchproof.session.results import Block, Results

MANIFEST = [
    ExpectedCheck(host=host, leg="forward", clause=clause, id=f"{clause}/check", title=f"{clause} holds")
    for host in ("a", "b")
    for clause in (Clause.REVISION, Clause.CONVERGE, Clause.RUNTIME)
]


def results(mode: Mode = Mode.DEPLOY, **failed: Clause) -> Results:
    """The verdicts of a run of two hosts, in which a clause failed on some."""
    made = Results(mode, ["a", "b"], lambda: MANIFEST)
    for want in MANIFEST:
        verdict = Verdict.FAILED if failed.get(want.host) is want.clause else Verdict.PASSED
        made.add(want.host, want.leg, want.clause, want.id, verdict)
    return made


@pytest.mark.parametrize("mode", [Mode.DEPLOY, Mode.AUDIT])
def test_clause_that_failed_blocks_later_ones_on_its_host_alone(mode: Mode) -> None:
    """Clauses before it and diagnostics are tried all the same, and so is everything on other hosts."""
    made = results(mode, a=Clause.CONVERGE)
    blocked = {clause for clause in Clause if made.block_of("a", "forward", clause, is_last=False)}
    assert blocked == {Clause.HYPERVISOR, Clause.RUNTIME}
    assert made.block_of("a", "forward", Clause.RUNTIME, is_last=False) == Block(Clause.CONVERGE, "a")
    assert not any(made.block_of("b", "forward", clause, is_last=False) for clause in Clause)


def test_no_host_is_deployed_to_while_another_lacks_its_revision() -> None:
    """A revision that one host cannot resolve blocks the others of a deploy; an audit of them goes on."""
    lacking = Block(Clause.REVISION, "a")
    assert results(a=Clause.REVISION).block_of("b", "forward", Clause.CONVERGE, is_last=False) == lacking
    assert results(Mode.AUDIT, a=Clause.REVISION).block_of("b", "forward", Clause.CONVERGE, is_last=False) is None
    on_the_way_back = results()
    on_the_way_back.add("a", "back", Clause.REVISION, "revision/check", Verdict.FAILED)
    assert on_the_way_back.block_of("b", "back", Clause.CONVERGE, is_last=False) is None


def test_last_check_waits_for_every_other_one_of_its_host() -> None:
    """A check that did not run blocks the confirmation as one that failed does; a waived one does not."""
    made = Results(Mode.DEPLOY, ["a", "b"], lambda: MANIFEST)
    for want in MANIFEST[:2]:
        made.add("a", "forward", want.clause, want.id, Verdict.WAIVED)
    assert made.block_of("a", "forward", Clause.CONVERGE, is_last=True) == Block(Clause.RUNTIME, "a")
    assert not made.all_passed("a", "forward")
    made.add("a", "forward", Clause.RUNTIME, MANIFEST[2].id, Verdict.PASSED)
    assert made.block_of("a", "forward", Clause.CONVERGE, is_last=True) is None
    made.add("a", "forward", Clause.RUNTIME, MANIFEST[2].id, Verdict.INCONCLUSIVE)
    assert made.block_of("a", "forward", Clause.CONVERGE, is_last=True) == Block(Clause.RUNTIME, "a")


def test_clause_that_failed_is_named_before_one_that_did_not_run() -> None:
    """A reader needs the cause: a check that is missing for another reason comes second."""
    made = Results(Mode.DEPLOY, ["a", "b"], lambda: MANIFEST)
    made.add("a", "forward", Clause.RUNTIME, MANIFEST[2].id, Verdict.FAILED)
    assert made.missing("a", "forward")[0] is Clause.REVISION
    assert made.block_of("a", "forward", Clause.CONVERGE, is_last=True) == Block(Clause.RUNTIME, "a")


def test_what_another_host_or_leg_lacks_blocks_nothing() -> None:
    """The last check of a leg waits for the checks of that leg on its own host, and for nothing else."""
    made = Results(Mode.DEPLOY, ["a", "b"], lambda: MANIFEST)
    for want in MANIFEST[:3]:
        made.add("a", "forward", want.clause, want.id, Verdict.PASSED)
    assert made.missing("a", "forward") == []
    assert made.missing("a", "back") == []
    assert made.missing("b", "forward") == [Clause.REVISION, Clause.CONVERGE, Clause.RUNTIME]


def test_first_clause_that_failed_is_the_one_that_blocks_the_last_check() -> None:
    """Of several failures the earliest may be the cause of the others."""
    made = results(a=Clause.RUNTIME)
    made.add("a", "forward", Clause.CONVERGE, "converge/check", Verdict.INCONCLUSIVE)
    assert made.failed("a", "forward") == [Clause.CONVERGE, Clause.RUNTIME]
    assert made.block_of("a", "forward", Clause.CONVERGE, is_last=True) == Block(Clause.CONVERGE, "a")
