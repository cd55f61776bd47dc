"""Finds in a folder of runs what may prove a step of the cutover, with its signature and evidence checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from switchproof.deploy.contract import RunVerdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.record import Record
from switchproof.deploy.trust.attestation import (
    RECORD,
    Refused,
    judge_evidence,
    parse_run,
    read_attested,
    read_content,
)
from switchproof.deploy.trust.promotion import PROVING, Demand, Reason, judge_statement


@dataclass(frozen=True)
class Candidate:
    """A canonical run that may prove something.

    Attributes:
        folder: The run's folder, by its name.
        record: What it says.
        signer: The allowed signer whose signature is on it, None where none was asked for.
        distrust: Why it counts for nothing, None if it is what was signed and all its evidence is there.
    """

    folder: str
    record: Record
    signer: str | None = None
    distrust: str | None = None

    @property
    def ended(self) -> dt.datetime:
        """When the run ended; long ago for one that never did."""
        return self.record.run.finished or dt.datetime.min.replace(tzinfo=dt.UTC)


class _RunHead(msgspec.Struct):
    mode: str


class _Head(msgspec.Struct):
    """The part of a record that tells whether the rest is worth reading."""

    run: _RunHead
    verdict: str


def gather(folder: Path, allowed: Path | None, revoked: Path | None) -> list[Candidate]:
    """Find the canonical deploys, drills and audits in a folder of runs, the newest first.

    Args:
        folder: The folder of runs; links in it count for nothing.
        allowed: Whose signatures count, as ssh-keygen(1) describes the file; None asks for no signature.
        revoked: Keys that no longer count.

    Raises:
        UsageError: The folder cannot be read.
    """
    try:
        folders = [each for each in sorted(folder.iterdir()) if not each.is_symlink() and (each / RECORD).exists()]
    except OSError as error:
        raise UsageError(f"--records={folder}: cannot be read: {error.strerror}; name a folder of runs") from None
    found = list(_candidates(folders, allowed, revoked))
    return sorted(found, key=lambda candidate: candidate.ended, reverse=True)


def _candidates(folders: list[Path], allowed: Path | None, revoked: Path | None) -> Iterator[Candidate]:
    decoder = msgspec.json.Decoder(_Head)
    for folder in folders:
        try:
            content = read_content(folder)
            head = decoder.decode(content)
            # Exactly this word: a run with waivers, or of any other kind, proves no step.
            if head.verdict != RunVerdict.CANONICAL.value or head.run.mode not in {*PROVING, "audit"}:
                continue
            record, digest = parse_run(content)
        except (Refused, ValueError):  # what cannot be read proves nothing
            continue
        if record.run.mode != "audit" or record.cutover is not None:
            yield _judged(folder, record, digest, allowed, revoked)


def _judged(folder: Path, record: Record, digest: str, allowed: Path | None, revoked: Path | None) -> Candidate:
    if refusals := judge_evidence(folder, record.evidence):
        return Candidate(folder.name, record, distrust=refusals[0].sentence)
    if allowed is None:
        return Candidate(folder.name, record)
    try:
        attested = read_attested(folder, allowed, revoked)
    except Refused as error:
        return Candidate(folder.name, record, distrust=error.refusal.sentence)
    commit = record.revision.sha
    demand = Demand(
        commit=commit or "",
        contract_sha256=record.contract_sha256,
        units=(),
        emulated=True,
        group=None,
        max_age=None,
        drill=False,
        signer=None,
        now=record.run.started,
    )
    refusals = judge_statement(attested.statement, record, digest, demand)
    if commit is None and not attested.statement.commits:
        # An audit of hosts that run several commits is signed as one about the systems alone.
        refusals = [refusal for refusal in refusals if refusal.reason is not Reason.SUBJECT]
    distrust = refusals[0].sentence if refusals else None
    return Candidate(folder.name, record, attested.principals[0], distrust)
