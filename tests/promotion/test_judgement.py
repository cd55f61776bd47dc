"""A record lets a deploy through only if nothing at all speaks against it, and each reason is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from switchproof.deploy.contract import HostState, RunVerdict, Verdict
from switchproof.deploy.record.facts import Waiver
from switchproof.deploy.record.record import Covered, Emulation, Record, WaiverResult
from switchproof.deploy.trust import promotion
from switchproof.deploy.trust.promotion import Demand, Reason, judge_record, judge_signer, judge_statement
from switchproof.deploy.trust.statement import Resource, Statement, make_statement
from tests.promotion.runs import COMMIT, CONTRACT, DEMAND, NOW, OTHER_COMMIT, changed, failed, staging
from tests.reports import stories

SHA256 = "1" * 64


def statement(record: Record | None = None) -> Statement:
    return make_statement(record or staging(), SHA256, "ovh.toml", "2" * 64)


def demand(**changes: Any) -> Demand:
    return Demand(**({name: getattr(DEMAND, name) for name in Demand.__struct_fields__} | changes))


def test_a_canonical_staging_run_lets_the_deploy_through() -> None:
    """Nothing speaks against a fresh canonical run of the commit on staging, and its statement."""
    assert judge_record(staging(), DEMAND) == []
    assert judge_statement(statement(), staging(), SHA256, DEMAND) == []
    assert judge_signer(("ci@staging",), DEMAND) == []


def test_a_drill_lets_it_through_as_well() -> None:
    """A canonical drill proves what a deploy does, whether one is demanded or not."""
    record = staging(stories.drill("b"))
    assert judge_record(record, DEMAND) == []
    assert judge_record(record, demand(drill=True)) == []


def test_what_is_not_demanded_does_not_count() -> None:
    """Without a group and an age, any host and any time will do; an emulated run will for an emulated deploy."""
    record = staging(stories.canonical("a", provider="lab", emulated=True))
    record.hosts[0].groups = ()
    late = NOW + dt.timedelta(days=900)
    assert judge_record(record, demand(group=None, max_age=None, emulated=True, now=late)) == []


def _clause_gone(record: Record) -> None:
    del record.hosts[0].clauses[2]


def _checks_gone(record: Record) -> None:
    record.hosts[0].clauses[3].checks = []


def _unit_gone(record: Record) -> None:
    checks = record.hosts[0].clauses[3].checks
    record.hosts[0].clauses[3].checks = [check for check in checks if "dev" not in check.id]


def _check_failed(record: Record) -> None:
    record.hosts[0].clauses[2].checks[1].verdict = Verdict.FAILED


def _waived(record: Record) -> None:
    until = dt.datetime(2026, 12, 31, tzinfo=dt.UTC)
    waiver = Waiver(check="hypervisor/x", reason="known", owner="ops", expires=until)
    record.hosts[0].clauses[2].checks[1].verdict = record.hosts[0].clauses[2].verdict = Verdict.WAIVED
    record.waivers = [WaiverResult(waiver=waiver, state="used", covered=(Covered(host="b", leg="forward"),))]
    record.verdict = RunVerdict.WITH_WAIVERS


def _hidden_waiver(record: Record) -> None:
    _waived(record)
    record.verdict = RunVerdict.CANONICAL


def _no_host(record: Record) -> None:
    record.hosts = []


def _set(**values: Any) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        for name, value in values.items():
            owner: Any = record
            *path, last = name.split("__")
            for step in path:
                owner = owner[int(step)] if step.isdecimal() else getattr(owner, step)
            setattr(owner, last, value)

    return change


ALL_CHANGES: list[tuple[Reason, Callable[[Record], None], str, str]] = [
    (Reason.COMMIT, _set(revision__sha=OTHER_COMMIT), f"its commit is {OTHER_COMMIT}", f"deploy {COMMIT} to group"),
    (Reason.COMMIT, _set(revision__sha=None), "it has no commit", f"--sha asks for {COMMIT}"),
    (Reason.MODE, _set(run__mode="audit"), "mode audit", "a deploy or a drill is needed"),
    (Reason.MODE, _set(run__mode="rollback"), "mode rollback", "a deploy or a drill is needed"),
    (Reason.VERDICT, failed, "its verdict is non-canonical", "canonical is needed"),
    (Reason.VERDICT, _set(verdict=RunVerdict.INCONCLUSIVE), "its verdict is inconclusive", "canonical is needed"),
    (
        Reason.WAIVED,
        _waived,
        "only canonical with waivers (hypervisor/x until 2026-12-31T00:00:00Z by ops: known)",
        "once they are fixed",
    ),
    (Reason.INCOMPLETE, _set(run__finished=None), "did not finish", "every clause must have passed"),
    (Reason.INCOMPLETE, _set(run__exit_code=3), "exit code 3", "every clause must have passed"),
    (Reason.INCOMPLETE, _set(run__interrupted="ended by SIGINT"), "did not finish", "every clause"),
    (Reason.INCOMPLETE, _set(hosts__0__state=HostState.UNCHANGED), "host b is unchanged", "every clause"),
    (Reason.INCOMPLETE, _clause_gone, "it does not have all five clauses on host b", "every clause"),
    (Reason.INCOMPLETE, _checks_gone, "clause runtime did not pass on host b", "every clause"),
    (Reason.INCOMPLETE, _unit_gone, "unit dev was not checked on host b", "every clause"),
    (Reason.INCOMPLETE, _hidden_waiver, "clause hypervisor did not pass on host b", "every clause"),
    (Reason.INCOMPLETE, _check_failed, "clause hypervisor did not pass on host b", "every clause"),
    (Reason.EMULATED, _set(emulated=True, provider="lab"), "emulated (provider lab)", "proves nothing about real"),
    (
        Reason.EMULATED,
        _set(emulated=True, emulations=[Emulation(by="a stand-in for SSM", not_modelled=("IAM",))]),
        "emulated (provider ovh, a stand-in for SSM)",
        "on real hosts",
    ),
    (Reason.GROUP, _set(hosts__0__groups=("production",)), "b of production", "demands group staging"),
    (Reason.GROUP, _set(hosts__0__groups=()), "b of no group", "demands group staging"),
    (Reason.CONTRACT, _set(contract_sha256="0" * 64), "contract 000000000000", CONTRACT[:12]),
    (Reason.AGE, _set(run__finished=NOW - dt.timedelta(days=7, seconds=1)), "ended 7 d ago", "demands at most 7 d"),
    (Reason.FUTURE, _set(run__finished=NOW + dt.timedelta(hours=1)), "is in the future", "correct the clocks"),
    (Reason.FUTURE, _set(run__finished=dt.datetime(2026, 11, 23)), "has no time zone", "deploy"),  # noqa: DTZ001
]


@pytest.mark.parametrize(("reason", "change", "found", "needed"), ALL_CHANGES)
def test_each_reason_of_the_record_is_a_sentence(
    reason: Reason, change: Callable[[Record], None], found: str, needed: str
) -> None:
    """A record with one thing wrong is refused for that one reason, naming what was found and what is needed."""
    (refusal,) = judge_record(changed(change), DEMAND)
    assert refusal.reason is reason
    assert found in refusal.sentence
    assert needed in refusal.sentence


def test_a_record_without_hosts_proves_nothing() -> None:
    """No host is no group and no proof."""
    reasons = {refusal.reason for refusal in judge_record(changed(_no_host), DEMAND)}
    assert reasons == {Reason.INCOMPLETE, Reason.GROUP}


def test_every_reason_is_told_at_once() -> None:
    """Of a record with several things wrong each is told, so that nobody mends them one by one."""
    record = changed(_set(emulated=True, revision__sha=OTHER_COMMIT, contract_sha256="0" * 64))
    assert [r.reason for r in judge_record(record, DEMAND)] == [Reason.COMMIT, Reason.EMULATED, Reason.CONTRACT]


@pytest.mark.parametrize("leg", ["rollback", "again"])
def test_a_drill_that_did_not_come_round_is_not_complete(leg: str) -> None:
    """A drill's record without its way back or its second deploy lets nothing through."""
    record = staging(stories.drill("b"))
    setattr(record.hosts[0], leg, None)
    (refusal,) = judge_record(record, demand(drill=True))
    assert refusal.reason is Reason.INCOMPLETE


def test_a_deploy_is_no_drill() -> None:
    """Where a drill is demanded, a deploy's record is refused, and how to get one is told."""
    (refusal,) = judge_record(staging(), demand(drill=True))
    assert refusal.reason is Reason.DRILL
    assert "mode deploy" in refusal.sentence
    assert "with --drill" in refusal.sentence


@pytest.mark.parametrize(
    ("age", "fresh"),
    [(dt.timedelta(days=7), True), (dt.timedelta(days=7, seconds=1), False), (-promotion.CLOCKS_DIFFER, True)],
)
def test_the_limits_of_age(age: dt.timedelta, fresh: bool) -> None:
    """A record counts up to its age, and from a clock that is a little ahead."""
    assert (judge_record(changed(_set(run__finished=NOW - age)), DEMAND) == []) is fresh


def _configured(which: str, **changes: Any) -> Callable[[Statement], Statement]:
    def change(made: Statement) -> Statement:
        entries = tuple(
            msgspec.structs.replace(entry, **changes) if entry.name == which else entry
            for entry in made.predicate.configuration
        )
        return msgspec.structs.replace(made, predicate=msgspec.structs.replace(made.predicate, configuration=entries))

    return change


def _replaced(**changes: Any) -> Callable[[Statement], Statement]:
    return lambda made: msgspec.structs.replace(made, **changes)


def _predicate(**changes: Any) -> Callable[[Statement], Statement]:
    return lambda made: msgspec.structs.replace(made, predicate=msgspec.structs.replace(made.predicate, **changes))


def _twice(made: Statement) -> Statement:
    return _predicate(configuration=made.predicate.configuration * 2)(made)


def _subject(*commits: str, systems: bool = True) -> Callable[[Statement], Statement]:
    def change(made: Statement) -> Statement:
        rest = tuple(one for one in made.subject if "gitCommit" not in one.digest)
        named = tuple(Resource(name="r", digest={"gitCommit": commit}) for commit in commits)
        return msgspec.structs.replace(made, subject=named + (rest if systems else ()))

    return change


@pytest.mark.parametrize(
    ("reasons", "change", "found"),
    [
        ({Reason.STATEMENT}, _replaced(type_="https://in-toto.io/Statement/v0.1"), "Statement/v0.1"),
        ({Reason.STATEMENT}, _replaced(predicate_type="https://slsa.dev/provenance/v1"), "slsa.dev"),
        ({Reason.STATEMENT}, _configured("record.json", name="other.json"), "must name exactly one record.json"),
        ({Reason.STATEMENT, Reason.CONTRACT}, _twice, "must name exactly one record.json"),
        (
            {Reason.CHANGED},
            _configured("record.json", digest={"sha256": "3" * 64}),
            "does not match the signed record",
        ),
        ({Reason.CHANGED}, _configured("record.json", digest={"md5": SHA256}), "does not match the signed record"),
        (
            {Reason.OTHER_RUN},
            _configured("record.json", digest={"sha256": "3" * 64}, annotations={"run": "r7"}),
            "the statement is of run 'r7'",
        ),
        ({Reason.SUBJECT}, _subject(OTHER_COMMIT), f"about {OTHER_COMMIT}"),
        ({Reason.SUBJECT}, _subject(), "about no commit"),
        ({Reason.SUBJECT}, _subject(COMMIT, OTHER_COMMIT), f"about {COMMIT} and {OTHER_COMMIT}"),
        ({Reason.SUBJECT}, _subject(COMMIT, COMMIT), "alone"),
        ({Reason.SYSTEM}, _subject(COMMIT, systems=False), "about no system"),
        ({Reason.CONTRACT}, _configured("contract", digest={"sha256": "0" * 64}), "contract 000000000000"),
        ({Reason.RESULT}, _predicate(result="WARNED"), "result is WARNED"),
        ({Reason.RESULT}, _predicate(failed_tests=("b/runtime/live",)), "b/runtime/live failed"),
    ],
)
def test_each_reason_of_the_statement_is_a_sentence(
    reasons: set[Reason], change: Callable[[Statement], Statement], found: str
) -> None:
    """A statement that is about anything but this record and commit is refused for that reason."""
    refusals = judge_statement(change(statement()), staging(), SHA256, DEMAND)
    assert {refusal.reason for refusal in refusals} == reasons
    assert found in refusals[0].sentence


def test_a_system_without_a_hash_is_not_signed_for() -> None:
    """A host whose system has no known hash leaves open what ran there, so the record proves nothing."""
    record = staging()
    assert record.hosts[0].after is not None
    record.hosts[0].after = msgspec.structs.replace(record.hosts[0].after, nar_hash=None)
    (refusal,) = judge_statement(statement(record), record, SHA256, DEMAND)
    assert refusal.reason is Reason.SYSTEM
    assert "it has no hash of the system of b" in refusal.sentence


def test_another_signer_than_the_demanded_one_is_refused() -> None:
    """Where the target file names who must have signed, another allowed signer does not count."""
    (refusal,) = judge_signer(("dev@laptop",), demand(signer="ci@staging"))
    assert refusal.reason is Reason.SIGNER
    assert "signed by dev@laptop; the target file demands ci@staging" in refusal.sentence
    assert judge_signer(("dev@laptop", "ci@staging"), demand(signer="ci@staging")) == []


def test_no_sentence_is_without_something_to_do() -> None:
    """Every reason of a record ends in what to do about it."""
    for _, change, _, _ in ALL_CHANGES:
        (refusal,) = judge_record(changed(change), DEMAND)
        assert refusal.sentence.rpartition(": ")[2].startswith(("deploy ", "read ", "correct ", "with "))
