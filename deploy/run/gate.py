"""The gate before production: looks for the record that lets a deploy through, before anything is touched."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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

_TOLD = 3
"""Runs of a folder whose reasons are told."""


@dataclass
class _Found:
    """A run of which it is asked whether it lets the deploy through."""

    folder: Path
    record: Record
    record_sha256: str
    attested: Attested | None = None

    def refusals(self, gate: Gate, demand: Demand) -> Iterator[Refusal]:
        """Yield every reason against it; what costs least is asked first."""
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
    """Find the record that a deploy asks for.

    Args:
        plan: What the run does.
        contract_sha256: The contract that it will be held to.
        now: The time.

    Returns:
        What lets it through; None if it asks for none.

    Raises:
        UsageError: Nothing does; each reason is a sentence.
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
    found = (
        _only(folder, gate, demand) if gate.record.name == RECORD or _holds(folder) else _newest(folder, gate, demand)
    )
    attested = found.attested
    assert attested is not None  # else there was a reason against it
    return PromotedFrom(
        record=str(found.folder / RECORD),
        run=found.record.run.id,
        signer=demand.signer or attested.principals[0],
        statement_sha256=attested.sha256,
    )


def _demand(plan: Plan, contract_sha256: str, now: dt.datetime) -> Demand:
    requires = plan.target.requires
    assert plan.revision is not None  # the plan has seen to it
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


def _only(folder: Path, gate: Gate, demand: Demand) -> _Found:
    try:
        found = _Found(folder, *parse_run(read_content(folder)))
    except Refused as error:
        raise _refuse(gate, demand, [(folder, error.refusal)]) from None
    if refusals := list(found.refusals(gate, demand)):
        raise _refuse(gate, demand, [(folder, refusal) for refusal in refusals])
    return found


def _newest(parent: Path, gate: Gate, demand: Demand) -> _Found:
    """Find the newest run in a folder of runs that lets the deploy through; links count for none."""
    try:
        folders = [folder for folder in sorted(parent.iterdir()) if not folder.is_symlink() and _holds(folder)]
    except OSError as error:
        raise UsageError(f"--require-record={gate.record}: {parent} cannot be read: {error.strerror}") from None
    candidates = sorted(
        _of_commit(folders, demand.commit), key=lambda found: _utc(found.record.run.started), reverse=True
    )
    against = []
    for found in candidates:
        refusal = next(found.refusals(gate, demand), None)
        if refusal is None:
            return found
        against.append((found.folder, refusal))
    if not against:
        group = f"group {demand.group}" if demand.group else "other hosts"
        first = f"deploy it to {group} first, with --sign-key=FILE"
        sentence = f"none of the runs there ({len(folders)}) is of this commit: {first}"
        raise _refuse(gate, demand, [(parent, Refusal(Reason.COMMIT, sentence))])
    against.sort(key=lambda each: each[1].reason is Reason.MODE)  # of many audits nobody wants to hear first
    raise _refuse(gate, demand, against[:_TOLD], len(against) - _TOLD)


def _of_commit(folders: list[Path], commit: str) -> Iterator[_Found]:
    for folder in folders:
        try:
            # Most runs are of other commits; understanding a record takes far longer than looking for the commit.
            if commit.encode() in (content := read_content(folder)):
                found = _Found(folder, *parse_run(content))
                if found.record.revision.sha == commit:
                    yield found
        except Refused:  # what cannot be read lets nothing through
            continue


def _utc(time: dt.datetime) -> dt.datetime:
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _refuse(gate: Gate, demand: Demand, against: list[tuple[Path, Refusal]], older: int = 0) -> UsageError:
    head = f"--require-record={gate.record}: no run lets commit {demand.commit} through, so nothing was touched"
    lines = [f"{folder}: {refusal.sentence}" for folder, refusal in against]
    if older > 0:
        lines.append(f"other runs of this commit that do not count either: {older}")
    return UsageError("\n  ".join([head, *(plain(" ".join(line.split())) for line in lines)]))
