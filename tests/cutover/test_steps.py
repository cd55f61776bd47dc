"""Which step is proven, and what keeps each from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.contract import Clause, HostState, RunVerdict, Verdict
from switchproof.deploy.paths.survey import State
from switchproof.deploy.record.record import Record
from switchproof.deploy.record.steps import Cutover, Lack
from tests.cutover.stories import (
    COMMIT,
    NOW,
    OF_AWS,
    OTHER,
    WITH_AWS,
    after,
    entry,
    host,
    lacks,
    missing_at,
    run,
    stale,
    step,
)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4])
def test_each_step_follows_from_its_proofs(number: int) -> None:
    """With the proofs of a step and of all before it, that step is reached and no further one."""
    cutover = step(number).decide()
    assert cutover.reached == number
    assert [one.proven for one in cutover.steps] == [one < number for one in range(4)]
    assert cutover.verdict is Verdict.PASSED
    assert all(one.proofs for one in cutover.steps[:number])


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_step_that_is_demanded_must_be_proven(number: int) -> None:
    """An audit that demands a step passes with its proofs and fails without them."""
    assert step(number).decide(demanded=number).verdict is Verdict.PASSED
    refused = step(number - 1).decide(demanded=number)
    assert refused.verdict is Verdict.FAILED
    assert f"Step {number} was requested" in refused.words


def test_a_proof_names_its_run_and_when() -> None:
    """Every proof says which run shows it, when that ended, and of which commit it is."""
    cutover = step(3).decide()
    told = {proof.what: proof for one in cutover.steps for proof in one.proofs}
    drill = told["a passed drill on production, the dead man's switch included"]
    assert (drill.run, drill.when, drill.commit) == ("production-drill", NOW - dt.timedelta(hours=1), COMMIT)


def emulated(record: Record) -> None:
    record.emulated = True


def of_another_commit(record: Record) -> None:
    record.revision.sha = OTHER


def under_another_contract(record: Record) -> None:
    record.contract_sha256 = "9" * 64


def incomplete(record: Record) -> None:
    record.hosts[0].clauses.pop()


def of_an_unsafe_host(record: Record) -> None:
    record.hosts[0].state = HostState.UNSAFE


def non_canonical(record: Record) -> None:
    record.verdict = RunVerdict.NON_CANONICAL


def yet_to_come(record: Record) -> None:
    record.run.finished = NOW + dt.timedelta(hours=1)


def reached_otherwise(record: Record) -> None:
    for one in record.hosts:
        kind = one.connection.kind if one.connection else "ssh"
        one.connection = ConnectionFacts(kind="ssh" if kind == "ssm" else "ssm")


def of_another_provider(record: Record) -> None:
    record.provider = "lab"


@pytest.mark.parametrize(
    "spoil",
    [
        stale,
        emulated,
        under_another_contract,
        incomplete,
        of_an_unsafe_host,
        non_canonical,
        yet_to_come,
        reached_otherwise,
        of_another_provider,
    ],
)
@pytest.mark.parametrize(
    ("name", "number"),
    [("aws", 1), ("staging-drill", 2), ("production", 3), ("production-drill", 3)],
)
def test_a_spoilt_proof_proves_nothing(name: str, number: int, spoil: Callable[[Record], None]) -> None:
    """A record that is stale, emulated, of another contract or not whole counts as if it were not there."""
    story = step(4).change(name, spoil)
    if name == "production":  # else the drill would be the deploy that is looked for
        story.change("production-drill", spoil)
    cutover = story.decide()
    assert cutover.reached == number - 1
    assert missing_at(cutover, number)


@pytest.mark.parametrize("name", ["staging", "staging-drill"])
def test_one_drill_is_a_deploy_too(name: str) -> None:
    """A drill deploys and verifies, so it alone is both; a deploy alone is no drill."""
    story = step(2)
    del story.records[name]
    assert story.decide().reached == (2 if name == "staging" else 1)


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        ("aws", 2, "no canonical deploy of"),
        ("staging-drill", 2, "no passed drill"),
        ("production-drill", 3, "no drill of"),
    ],
)
def test_proofs_of_another_commit_do_not_add_up(name: str, number: int, says: str) -> None:
    """What is proven of one commit says nothing of another, and what is missing names the commit."""
    cutover = step(4).change(name, of_another_commit).decide()
    assert cutover.reached == number - 1
    assert says in missing_at(cutover, number)
    assert COMMIT[:12] in missing_at(cutover, number)


def test_production_that_was_not_promoted_is_not_proven() -> None:
    """A canonical deploy to production without the staged record behind it does not reach the third step."""
    story = step(3)
    for record in story.records.values():
        record.promoted_from = None
    assert "was not promoted" in missing_at(story.decide(), 3)


@pytest.mark.parametrize("claimed", ["aws", "production-drill", "gone"])
def test_a_promotion_must_come_from_staging(claimed: str) -> None:
    """A deploy that names another run than one on staging was not promoted from the staged commit."""
    story = step(3)
    source = story.records["production"].promoted_from
    assert source is not None
    story.records["production"].promoted_from = msgspec.structs.replace(source, run=claimed)
    assert "was not promoted" in missing_at(story.decide(), 3)


def test_a_drill_without_the_dead_mans_switch_is_not_enough() -> None:
    """On production the host must have gone back by itself once."""
    story = step(3)
    story.records["production-drill"].run.options["drill"] = "orderly"
    assert "without the dead man's switch" in missing_at(story.decide(), 3)


def test_every_host_of_a_group_counts() -> None:
    """A group is proven when all of its hosts took part, not when one did."""
    story = step(3)
    story.terms = replace(story.terms, production=("production", frozenset({"a", "c"})))
    assert "all of group production (a, c)" in missing_at(story.decide(), 3)


@pytest.mark.parametrize(
    ("seen", "lack"),
    [
        (host("a", commit=OTHER), Lack.ABSENT),
        (host("a", commit=None), Lack.UNSEEN),
        (host("a", contract=Verdict.FAILED), Lack.REFUTED),
        (host("a", contract=Verdict.INCONCLUSIVE), Lack.UNSEEN),
        (None, Lack.UNSEEN),
    ],
)
def test_production_must_serve_what_was_proven(seen: object, lack: Lack) -> None:
    """The third step asks that production runs the proven commit, well, at this moment."""
    story = step(3)
    story.hosts = [host("b"), *([seen] if seen else [])]  # type: ignore[list-item]
    cutover = story.decide()
    assert cutover.reached == 2
    assert lacks(cutover, 3) == [lack.value]


def test_a_record_that_is_not_what_was_signed_proves_nothing() -> None:
    """Who distrusts a record is told why."""
    story = step(1)
    story.distrusted["aws"] = "it is not signed"
    assert "aws: it is not signed" in missing_at(story.decide(), 1)


@pytest.mark.parametrize(
    ("entries", "lack", "says"),
    [
        (WITH_AWS, Lack.REFUTED, "justfile:7: aws ssm send-command"),
        ([entry("deploy-ovh-ssh", State.ACTIVE)], Lack.ABSENT, "no `just deploy-aws-ssm`"),
        (
            [entry("deploy-ovh-ssh", State.ACTIVE), entry("deploy-aws-ssm", State.NO_DEPLOY)],
            Lack.ABSENT,
            "does not refuse",
        ),
        (
            [
                entry("deploy-ovh-ssh", State.ACTIVE),
                entry("deploy-aws-ssm", State.REFUSES),
                entry("x", State.NOT_UNDERSTOOD, unclear="runs $X"),
            ],
            Lack.UNSEEN,
            "runs $X",
        ),
        ([entry("deploy-aws-ssm", State.REFUSES)], Lack.ABSENT, "no active deploy path"),
    ],
)
def test_logic_for_aws_keeps_the_last_step_away(entries: list[object], lack: Lack, says: str) -> None:
    """AWS is gone when no active path knows it, its recipe refuses, and all of the repository was understood."""
    story = step(4)
    story.entries = list(entries)  # type: ignore[arg-type]
    cutover = story.decide()
    assert cutover.reached == 3
    assert lack.value in lacks(cutover, 4)
    assert says in missing_at(cutover, 4)


@pytest.mark.parametrize(
    ("bad", "lack"),
    [(Verdict.FAILED, Lack.REFUTED), (Verdict.INCONCLUSIVE, Lack.UNSEEN), (Verdict.BLOCKED, Lack.UNSEEN)],
)
def test_what_a_host_still_has_keeps_the_last_step_away(bad: Verdict, lack: Lack) -> None:
    """One check of one host is enough; that it could not be seen is not that it is not there."""
    story = step(4)
    story.hosts[1] = host("b", agent=bad)
    cutover = story.decide()
    assert cutover.reached == 3
    assert lacks(cutover, 4) == [lack.value]
    assert "b: There is no agent" in missing_at(cutover, 4)


def test_what_could_not_be_seen_is_inconclusive() -> None:
    """A demanded step that lacks only sight is inconclusive; one that lacks a proof fails."""
    story = step(4)
    story.hosts[1] = host("b", agent=Verdict.INCONCLUSIVE)
    assert story.decide(demanded=4).verdict is Verdict.INCONCLUSIVE
    assert story.decide(demanded=3).verdict is Verdict.PASSED


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_what_was_proven_stays_proven(number: int) -> None:
    """Records grow old, and nobody deploys to AWS any more; the audit that had proven the steps speaks for them."""
    cutover = after(number).decide(demanded=number)
    assert (cutover.reached, cutover.before, cutover.verdict) == (number, number, Verdict.PASSED)
    assert any(proof.run == "audit" for proof in cutover.steps[0].proofs)


def test_aws_that_comes_back_is_noticed() -> None:
    """After the last step was proven, logic for AWS in an active path is a step backwards and fails."""
    story = after(4)
    story.entries = [entry("deploy-ovh-ssh", State.ACTIVE, OF_AWS), entry("deploy-aws-ssm", State.REFUSES)]
    cutover = story.decide()
    assert (cutover.reached, cutover.backwards, cutover.verdict) == (3, True, Verdict.FAILED)
    assert "gone backwards" in cutover.words
    assert "justfile:7" in cutover.words


def test_an_agent_that_comes_back_is_noticed() -> None:
    """So is an agent of AWS on a host."""
    story = after(4)
    story.hosts[0] = host("a", agent=Verdict.FAILED)
    assert story.decide().backwards


def test_what_cannot_be_seen_again_is_no_step_backwards() -> None:
    """A host that was not looked at leaves it open whether AWS is still gone: inconclusive, not failed."""
    story = after(4)
    story.hosts = [host("a")]
    cutover = story.decide()
    assert (cutover.backwards, cutover.verdict) == (False, Verdict.INCONCLUSIVE)


def spoil_verdict(record: Record) -> None:
    assert record.cutover is not None
    record.cutover = msgspec.structs.replace(record.cutover, verdict=Verdict.FAILED)


@pytest.mark.parametrize("spoil", [emulated, of_another_provider, yet_to_come, spoil_verdict])
def test_only_a_good_audit_speaks_for_what_was(spoil: Callable[[Record], None]) -> None:
    """An earlier audit counts only if it passed, was not emulated, and is of the same provider."""
    story = after(4).change("audit", spoil)
    assert (story.decide().before, story.decide().reached) == (0, 0)


def test_the_lab_may_prove_itself() -> None:
    """Where the hosts are the lab's, emulated records count, as emulated ones; elsewhere they never do."""
    story = step(3)
    for record in story.records.values():
        record.provider, record.emulated = "lab", True
    assert story.decide().reached == 0
    story.terms = replace(story.terms, provider="lab", before="lab", emulated=True)
    cutover = story.decide()
    assert cutover.reached == 3
    assert all(proof.emulated for one in cutover.steps[:3] for proof in one.proofs)


def test_other_verdicts_than_on_aws_are_told() -> None:
    """The two providers are held against each other clause by clause; both must have looked at the same."""
    story = step(2)
    both = [story.records["aws"], story.records["staging"]]
    assert [{result.id for result in record.hosts[0].clauses} for record in both] == [set(Clause)] * 2
    story.terms = replace(story.terms, units_before=("live",))
    assert "other units" in missing_at(story.decide(), 2)


def test_the_newest_commit_is_not_the_only_one() -> None:
    """A newer deploy to staging that is not drilled yet does not take away what an older commit has proven."""
    story = step(2)
    story.records["newer"] = run("newer", "b", "staging", hours_ago=0.1)
    of_another_commit(story.records["newer"])
    assert story.decide().reached == 2


def test_it_is_written_as_published() -> None:
    """What is decided survives its way through JSON."""
    cutover = step(4).decide()
    assert msgspec.json.decode(msgspec.json.encode(cutover), type=Cutover) == cutover
