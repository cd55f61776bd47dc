"""Finds the kept runs that may prove a step of the cutover, and checks their signatures and evidence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
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


class Candidate(msgspec.Struct, frozen=True):
    """A canonical run that may prove a step.

    Attributes:
        folder: The name of the run's folder.
        record: Its record.
        signer: The allowed signer who signed it; None if no signature is required.
        distrust: The reason why it does not count; None if its signature and evidence are valid.
    """

    folder: str
    record: Record
    signer: str | None = None
    distrust: str | None = None

    @property
    def ended(self) -> dt.datetime:
        """The end of the run; the earliest time if it did not finish."""
        return self.record.run.finished or dt.datetime.min.replace(tzinfo=dt.UTC)


class _RunHead(msgspec.Struct):
    mode: str


class _Head(msgspec.Struct):
    """The part of a record that decides whether to read the rest."""

    run: _RunHead
    verdict: str


def gather(folder: Path, allowed: Path | None, revoked: Path | None) -> list[Candidate]:
    """Return the canonical deploys, drills and audits of a folder of runs, the newest first.

    Args:
        folder: The folder of kept runs; links in it are skipped.
        allowed: The allowed signers, a file as in ssh-keygen(1); None requires no signature.
        revoked: The file of revoked keys; None for none.

    Raises:
        UsageError: The folder cannot be read.
    """
    try:
        folders = [each for each in sorted(folder.iterdir()) if not each.is_symlink() and (each / RECORD).exists()]
    except OSError as error:
        raise UsageError(f"--records={folder}: cannot be read: {error.strerror}; name a folder of runs") from None
    candidates = list(_candidates(folders, allowed, revoked))
    return sorted(candidates, key=lambda candidate: candidate.ended, reverse=True)


def _candidates(folders: list[Path], allowed: Path | None, revoked: Path | None) -> Iterator[Candidate]:
    decoder = msgspec.json.Decoder(_Head)
    for folder in folders:
        try:
            content = read_content(folder)
            head = decoder.decode(content)
            # Exactly this verdict: a run with waivers proves no step.
            if head.verdict != RunVerdict.CANONICAL.value or head.run.mode not in {*PROVING, "audit"}:
                continue
            record, digest = parse_run(content)
        except (Refused, ValueError):  # an unreadable run proves nothing
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
