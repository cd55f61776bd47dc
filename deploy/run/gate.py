"""The gate before production: finds the record that permits a deploy, before anything is touched."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Gate, Plan
from switchproof.deploy.record.events import PromotedFrom
from switchproof.deploy.record.record import Record
from switchproof.deploy.redact.redactor import plain
from switchproof.deploy.trust.attestation import (
    RECORD,
    Attested,
    Refused,
    judge_evidence,
    parse_run,
    read_attested,
    read_content,
)
from switchproof.deploy.trust.promotion import Demand, Reason, Refusal, judge_record, judge_signer, judge_statement

_SHOWN = 3
"""Runs of a folder whose refusals are shown."""


class _Candidate(msgspec.Struct):
    """A run that may permit the deploy."""

    folder: Path
    record: Record
    record_sha256: str
    attested: Attested | None = None

    def refusals(self, gate: Gate, demand: Demand) -> Iterator[Refusal]:
        """Yield every reason against it, the cheapest check first."""
        yield from judge_record(self.record, demand)
        try:
            self.attested = read_attested(self.folder, gate.allowed_signers, gate.revoked_signers)
        except Refused as error:
            yield error.refusal
        else:
            yield from judge_signer(self.attested.principals, demand)
            yield from judge_statement(self.attested.statement, self.record, self.record_sha256, demand)
        yield from judge_evidence(self.folder, self.record.evidence)


def pass_gate(plan: Plan, contract_sha256: str, now: dt.datetime) -> PromotedFrom | None:
    """Find the record that a deploy requires.

    Args:
        plan: The plan of the run.
        contract_sha256: The digest of the run's contract.
        now: The time.

    Returns:
        The record that permits it; None if it requires none.

    Raises:
        UsageError: No record permits it; the message has one line per reason.
    """
    gate = plan.gate
    if gate is None:
        return None
    for option, path in (("--allowed-signers", gate.allowed_signers), ("--revoked-signers", gate.revoked_signers)):
        if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
            raise UsageError(f"{option}={path}: not a readable file; ssh-keygen(1) describes its format")
    demand = _demand(plan, contract_sha256, now)
    folder = gate.record.parent if gate.record.name == RECORD else gate.record
    if not folder.is_dir():
        raise UsageError(
            f"--require-record={gate.record}: no such run; give a run's folder, its {RECORD}, or a folder of runs"
        )
    single = gate.record.name == RECORD or _holds(folder)
    candidate = _only(folder, gate, demand) if single else _newest(folder, gate, demand)
    attested = candidate.attested
    assert attested is not None  # otherwise there was a refusal
    return PromotedFrom(
        record=str(candidate.folder / RECORD),
        run=candidate.record.run.id,
        signer=demand.signer or attested.principals[0],
        statement_sha256=attested.sha256,
    )


def _demand(plan: Plan, contract_sha256: str, now: dt.datetime) -> Demand:
    requires = plan.target.requires
    assert plan.revision is not None  # the plan requires one
    return Demand(
        commit=plan.revision,
        contract_sha256=contract_sha256,
        units=tuple(plan.target.runtime),
        emulated=plan.target.provider == "lab",
        group=requires.group if requires else None,
        max_age=requires.longest if requires else None,
        drill=requires.drill if requires else False,
        signer=requires.signer if requires else None,
        now=now,
    )


def _holds(folder: Path) -> bool:
    return os.path.lexists(folder / RECORD)


def _only(folder: Path, gate: Gate, demand: Demand) -> _Candidate:
    try:
        candidate = _Candidate(folder, *parse_run(read_content(folder)))
    except Refused as error:
        raise _refuse(gate, demand, [(folder, error.refusal)]) from None
    if refusals := list(candidate.refusals(gate, demand)):
        raise _refuse(gate, demand, [(folder, refusal) for refusal in refusals])
    return candidate


def _newest(parent: Path, gate: Gate, demand: Demand) -> _Candidate:
    """Find the newest run in a folder of runs that permits the deploy; links do not count."""
    try:
        folders = [folder for folder in sorted(parent.iterdir()) if not folder.is_symlink() and _holds(folder)]
    except OSError as error:
        raise UsageError(f"--require-record={gate.record}: {parent} cannot be read: {error.strerror}") from None
    candidates = sorted(
        _of_commit(folders, demand.commit), key=lambda candidate: _utc(candidate.record.run.started), reverse=True
    )
    against = []
    for candidate in candidates:
        refusal = next(candidate.refusals(gate, demand), None)
        if refusal is None:
            return candidate
        against.append((candidate.folder, refusal))
    if not against:
        group = f"group {demand.group}" if demand.group else "other hosts"
        first = f"deploy it to {group} first, with --sign-key=FILE"
        sentence = f"none of the runs there ({len(folders)}) is of this commit: {first}"
        raise _refuse(gate, demand, [(parent, Refusal(Reason.COMMIT, sentence))])
    against.sort(key=lambda each: each[1].reason is Reason.MODE)  # show audits last
    raise _refuse(gate, demand, against[:_SHOWN], len(against) - _SHOWN)


def _of_commit(folders: list[Path], commit: str) -> Iterator[_Candidate]:
    for folder in folders:
        try:
            # Most runs are of other commits. Searching for the commit is much faster than parsing the record.
            if commit.encode() in (content := read_content(folder)):
                candidate = _Candidate(folder, *parse_run(content))
                if candidate.record.revision.sha == commit:
                    yield candidate
        except Refused:  # an unreadable run permits nothing
            continue


def _utc(time: dt.datetime) -> dt.datetime:
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _refuse(gate: Gate, demand: Demand, against: list[tuple[Path, Refusal]], older: int = 0) -> UsageError:
    head = f"--require-record={gate.record}: no run lets commit {demand.commit} through, so nothing was touched"
    lines = [f"{folder}: {refusal.sentence}" for folder, refusal in against]
    if older > 0:
        lines.append(f"other runs of this commit that do not count either: {older}")
    return UsageError("\n  ".join([head, *(plain(" ".join(line.split())) for line in lines)]))
