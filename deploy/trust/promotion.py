"""Judges whether the record of an earlier run permits a deploy, with a sentence for each refusal (pure)."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator

import msgspec

from switchproof.deploy.contract import Clause, HostState, RunVerdict, Verdict
from switchproof.deploy.record.record import ClauseResult, Host, Record
from switchproof.deploy.record.waivers import waived_check, waiver_terms
from switchproof.deploy.trust.statement import CONTRACT, PREDICATE_TYPE, RECORD, STATEMENT_TYPE, Statement, closure

CLOCKS_DIFFER = dt.timedelta(minutes=5)
"""How far a record may lie in the future, because the clocks of two runners differ."""

PROVING = ("deploy", "drill")
"""The modes of runs that prove that a commit can be deployed."""

FETCH = "fetch the complete, unchanged folder of the run again"
"""The remedy for a run whose files do not agree."""

_SHOWN = 12


class Reason(enum.StrEnum):
    """Why a record does not permit a deploy."""

    UNREADABLE = "unreadable"
    UNSIGNED = "unsigned"
    SIGNATURE = "signature"
    NAMESPACE = "namespace"
    UNLISTED = "unlisted"
    EXPIRED = "expired"
    REVOKED = "revoked"
    SIGNER = "signer"
    STATEMENT = "statement"
    OTHER_RUN = "other-run"
    CHANGED = "changed"
    SUBJECT = "subject"
    SYSTEM = "system"
    RESULT = "result"
    MODE = "mode"
    VERDICT = "verdict"
    WAIVED = "waived"
    INCOMPLETE = "incomplete"
    EMULATED = "emulated"
    COMMIT = "commit"
    GROUP = "group"
    CONTRACT = "contract"
    AGE = "age"
    FUTURE = "future"
    DRILL = "drill"
    EVIDENCE = "evidence"


class Refusal(msgspec.Struct, frozen=True):
    """One reason, as a sentence with the record's value, the required value and a remedy."""

    reason: Reason
    sentence: str


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """The requirements for a record.

    Attributes:
        commit: The full commit that is about to be deployed.
        contract_sha256: The digest of the deploy's contract.
        units: The runtime units of that contract.
        emulated: Whether an emulated run counts, because the deploy is emulated itself.
        group: The group that the record's run must have deployed to; None for any.
        max_age: The greatest age of that run; None for any.
        drill: Whether it must have been a drill.
        signer: The principal who must have signed; None for any allowed signer.
        now: The time.
    """

    commit: str
    contract_sha256: str
    units: tuple[str, ...]
    emulated: bool
    group: str | None
    max_age: dt.timedelta | None
    drill: bool
    signer: str | None
    now: dt.datetime


def judge_record(record: Record, demand: Demand) -> list[Refusal]:
    """Judge the content of a record, whatever its origin."""
    return list(_judge_record(record, demand))


def _judge_record(record: Record, demand: Demand) -> Iterator[Refusal]:
    again = f"deploy {demand.commit} to {f'group {demand.group}' if demand.group else 'that host'} and sign that run"
    if record.revision.sha != demand.commit:
        actual = f"its commit is {record.revision.sha}" if record.revision.sha else "it has no commit"
        yield Refusal(Reason.COMMIT, f"{actual}; --sha asks for {demand.commit}: {again}")
    if record.run.mode not in PROVING:
        yield Refusal(
            Reason.MODE,
            f"its run has mode {record.run.mode}; a deploy or a drill is needed: {again}",
        )
    if record.verdict is RunVerdict.WITH_WAIVERS:
        waived = "; ".join(
            f"{waived_check(each.waiver)} {waiver_terms(each.waiver)}" for each in record.waivers if each.covered
        )
        yield Refusal(
            Reason.WAIVED,
            f"it is only canonical with waivers ({waived}); waived checks were not proven, and canonical is needed: "
            f"{again}, once they are fixed",
        )
    elif record.verdict is not RunVerdict.CANONICAL:
        yield Refusal(
            Reason.VERDICT,
            f"its verdict is {record.verdict}; canonical is needed: read its report, fix the cause, {again}",
        )
    elif gap := _gap(record, demand.units):
        yield Refusal(
            Reason.INCOMPLETE, f"it is not complete: {gap}; every clause must have passed on every host: {again}"
        )
    if record.emulated and not demand.emulated:
        by = ", ".join([f"provider {record.provider}", *(each.by for each in record.emulations)])
        yield Refusal(
            Reason.EMULATED,
            f"its run was emulated ({by}), which proves nothing about real hosts: {again}, on real hosts",
        )
    if demand.group and not any(demand.group in host.groups for host in record.hosts):
        groups = ", ".join(sorted({group for host in record.hosts for group in host.groups})) or "no group"
        names = ", ".join(host.name for host in record.hosts) or "no host"
        yield Refusal(
            Reason.GROUP, f"its run was on {names} of {groups}; the target file demands group {demand.group}: {again}"
        )
    if record.contract_sha256 != demand.contract_sha256:
        yield Refusal(
            Reason.CONTRACT,
            f"its run verified contract {record.contract_sha256[:_SHOWN]}; this deploy verifies contract "
            f"{demand.contract_sha256[:_SHOWN]}: with the same checks, target file and --soak, {again}",
        )
    yield from _judge_age(record, demand, again)
    if demand.drill and record.run.mode != "drill":
        yield Refusal(
            Reason.DRILL,
            f"its run has mode {record.run.mode}; the target file demands a drill: {again}, with --drill",
        )


def _judge_age(record: Record, demand: Demand, again: str) -> Iterator[Refusal]:
    finished = record.run.finished
    if finished is None:
        return  # `_gap` reports a run that did not finish
    if finished.tzinfo is None:
        yield Refusal(Reason.FUTURE, f"its run ended at {finished.isoformat()}, which has no time zone: {again}")
        return
    age = demand.now - finished
    if age < -CLOCKS_DIFFER:
        yield Refusal(
            Reason.FUTURE,
            f"its run ended at {finished:%Y-%m-%dT%H:%M:%SZ}, which is in the future; the time here is "
            f"{demand.now:%Y-%m-%dT%H:%M:%SZ}: correct the clocks of both runners",
        )
    if demand.max_age is not None and age > demand.max_age:
        yield Refusal(
            Reason.AGE,
            f"its run ended {_span(age)} ago; the target file demands at most {_span(demand.max_age)}: {again}",
        )


def judge_statement(statement: Statement, record: Record, record_sha256: str, demand: Demand) -> list[Refusal]:
    """Judge whether a statement with a valid signature is about this record and commit.

    Args:
        statement: The signed statement.
        record: The record beside it.
        record_sha256: SHA-256 of that record's file.
        demand: The requirements.
    """
    return list(_judge_statement(statement, record, record_sha256, demand))


def _judge_statement(statement: Statement, record: Record, record_sha256: str, demand: Demand) -> Iterator[Refusal]:
    kinds = (statement.type_, statement.predicate_type)
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE):
        yield Refusal(
            Reason.STATEMENT,
            f"the signed statement is {kinds[0][:80]} with {kinds[1][:80]}; "
            f"{STATEMENT_TYPE} with {PREDICATE_TYPE} is needed: {FETCH}",
        )
        return
    signed = statement.configured(RECORD)
    if signed is None:
        yield Refusal(Reason.STATEMENT, f"the signed statement must name exactly one {RECORD}: {FETCH}")
    elif signed.digest.get("sha256") != record_sha256:
        run = str(signed.annotations.get("run", ""))
        if run != record.run.id:
            yield Refusal(
                Reason.OTHER_RUN,
                f"the statement is of run {run[:80]!r}; the record beside it is of run {record.run.id!r}: {FETCH}",
            )
        else:
            signed_sha256 = str(signed.digest.get("sha256"))[:_SHOWN]
            difference = f"its SHA-256 is {record_sha256[:_SHOWN]}…, the signed one is {signed_sha256}…"
            yield Refusal(Reason.CHANGED, f"{RECORD} does not match the signed record: {difference}: {FETCH}")
    if statement.commits != [demand.commit]:
        commits = " and ".join(commit[:80] for commit in statement.commits) or "no commit"
        yield Refusal(
            Reason.SUBJECT,
            f"the signed statement is about {commits}; it must be about {demand.commit} alone: {FETCH}",
        )
    ran = {(host.name, closure(host.after) if host.after else None) for host in record.hosts}
    unknown = sorted(name for name, system in ran if system is None)
    if unknown:
        yield Refusal(
            Reason.SYSTEM,
            f"it has no hash of the system of {', '.join(unknown)}, so that system is not signed: "
            "deploy again with this version of Switchproof",
        )
    elif statement.systems != {system for _, system in ran}:
        systems = ", ".join(sorted(path for path, _ in statement.systems)) or "no system"
        yield Refusal(
            Reason.SYSTEM, f"the signed statement is about {systems}; the record's hosts run other systems: {FETCH}"
        )
    contract = statement.configured(CONTRACT)
    if contract is None or contract.digest.get("sha256") != demand.contract_sha256:
        named = str(contract.digest.get("sha256"))[:_SHOWN] if contract else "no single contract"
        needed = demand.contract_sha256[:_SHOWN]
        yield Refusal(Reason.CONTRACT, f"the signed statement names contract {named}; {needed} is needed: {FETCH}")
    predicate = statement.predicate
    if predicate.result != "PASSED" or predicate.failed_tests or predicate.warned_tests:
        failed = ", ".join([*predicate.failed_tests, *predicate.warned_tests][:3]) or "nothing"
        result = f"{predicate.result[:20]} ({failed[:160]} failed)"
        yield Refusal(Reason.RESULT, f"the signed statement's result is {result}; PASSED is needed: {FETCH}")


def judge_signer(principals: tuple[str, ...], demand: Demand) -> list[Refusal]:
    """Judge whether the signers include the required one."""
    if demand.signer is None or demand.signer in principals:
        return []
    return [
        Refusal(
            Reason.SIGNER,
            f"it was signed by {', '.join(principals)}; the target file demands {demand.signer}: "
            "run and sign where that key is available",
        )
    ]


def _gap(record: Record, units: tuple[str, ...]) -> str | None:
    """Return the first part that a canonical run of a contract has and this run lacks."""
    run = record.run
    if run.finished is None or run.exit_code != 0 or run.interrupted:
        return f"the run did not finish (exit code {run.exit_code})"
    if not record.hosts:
        return "it has no host"
    for host in record.hosts:
        if host.state is not HostState.CONVERGED:
            return f"host {host.name} is {host.state}"
        for leg, clauses in _legs(host, drill=run.mode == "drill"):
            if missing := _missing(clauses, units):
                return f"{missing} on host {host.name}{leg}"
    return None


def _legs(host: Host, *, drill: bool) -> Iterator[tuple[str, list[ClauseResult]]]:
    yield "", host.clauses
    if drill:
        yield " after the way back", host.rollback.clauses if host.rollback else []
        yield ", deployed again", host.again.clauses if host.again else []


def _missing(clauses: list[ClauseResult], units: tuple[str, ...]) -> str | None:
    if [clause.id for clause in clauses] != list(Clause):
        return "it does not have all five clauses"
    for clause in clauses:
        verdicts = {clause.verdict, *(check.verdict for check in clause.checks)}
        if not clause.checks or verdicts != {Verdict.PASSED}:
            return f"clause {clause.id} did not pass"
    looked_at = {
        check.id.split("/")[1] for check in clauses[list(Clause).index(Clause.RUNTIME)].checks if "/" in check.id
    }
    unseen = [unit for unit in units if unit not in looked_at]
    return f"unit {unseen[0]} was not checked" if unseen else None


def _span(span: dt.timedelta) -> str:
    """Return a time span in the largest suitable unit, rounded down."""
    seconds = int(span.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (seconds and seconds % length == 0):
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
