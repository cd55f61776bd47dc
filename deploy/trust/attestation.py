"""Writes the signed statement of a run into its folder, and reads it back without trusting it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from switchproof.deploy.record.record import Evidence, Record
from switchproof.deploy.trust.promotion import FETCH, Reason, Refusal
from switchproof.deploy.trust.signing import NAMESPACE, BadSignature, Fault, sign, signer
from switchproof.deploy.trust.statement import Statement, encode, make_statement, parse, parse_statement

RECORD, STATEMENT, SIGNATURE = "record.json", "statement.json", "statement.json.sig"

LARGEST = 256 * 1024 * 1024
"""Bytes of the largest record or statement that is read."""


class Refused(Exception):
    """A file in a run's folder does not count.

    Args:
        refusal: The reason.
    """

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.refusal = Refusal(reason, sentence)


class Attested(msgspec.Struct, frozen=True):
    """A statement with a valid signature.

    Attributes:
        statement: The signed statement.
        sha256: SHA-256 of its file.
        principals: The allowed signers that made the signature.
    """

    statement: Statement
    sha256: str
    principals: tuple[str, ...]


def attest(record: Record, folder: Path, key: Path, target: Path, target_sha256: str) -> None:
    """Write `statement.json` and its signature beside the record of a run.

    Args:
        record: The run.
        folder: The run's folder, with `record.json` in it.
        key: The private key, or the public key of one that an agent holds.
        target: The target file.
        target_sha256: SHA-256 of the target file as it was read.

    Raises:
        SwitchproofError: There is nothing to sign, or signing failed; no signature was written.
        OSError: A file could not be read or written.
    """
    digest = hashlib.sha256((folder / RECORD).read_bytes()).hexdigest()
    content = encode(make_statement(record, digest, target.name, target_sha256))
    signature = sign(key, content)
    for name, body in ((STATEMENT, content), (SIGNATURE, signature)):
        partial = folder / f"{name}.partial"
        partial.write_bytes(body)
        partial.replace(folder / name)


def read_content(folder: Path) -> bytes:
    """Read the file of a run's record.

    Raises:
        Refused: The file is missing or cannot be read.
    """
    return _read(folder, RECORD, Reason.UNREADABLE)


def parse_run(content: bytes) -> tuple[Record, str]:
    """Parse the record of a run that is not trusted yet.

    Returns:
        The record, and the SHA-256 of its file.

    Raises:
        Refused: It is not a record.
    """
    try:
        return parse(content, Record), hashlib.sha256(content).hexdigest()
    except ValueError as error:
        raise Refused(Reason.UNREADABLE, f"{RECORD} is not a record of a run: {error}: {FETCH}") from None


def read_attested(folder: Path, allowed: Path, revoked: Path | None) -> Attested:
    """Read the statement of a run, and verify its signature.

    Raises:
        Refused: It is not a statement, or not signed by an allowed signer.
        UsageError: `ssh-keygen` is missing.
    """
    for name in (STATEMENT, SIGNATURE):
        if not (folder / name).exists():
            raise Refused(Reason.UNSIGNED, f"it is not signed ({name} is missing): run again with --sign-key=FILE")
    content = _read(folder, STATEMENT, Reason.STATEMENT)
    _read(folder, SIGNATURE, Reason.SIGNATURE)
    try:
        principals = signer(content, folder / SIGNATURE, allowed, revoked)
    except BadSignature as error:
        why = _why(error.fault, allowed, revoked)
        raise Refused(why.reason, f"{why.sentence} ({error})") from None
    try:
        statement = parse_statement(content)
    except ValueError as error:
        raise Refused(Reason.STATEMENT, f"{STATEMENT} is not a statement about a run: {error}: {FETCH}") from None
    return Attested(statement, hashlib.sha256(content).hexdigest(), principals)


def _why(fault: Fault, allowed: Path, revoked: Path | None) -> Refusal:
    """Return why a signature does not count, with a remedy."""
    match fault:
        case Fault.UNREADABLE:
            return Refusal(Reason.SIGNATURE, f"{SIGNATURE} is not a readable signature: {FETCH}")
        case Fault.CONTENT:
            return Refusal(
                Reason.SIGNATURE,
                f"{STATEMENT} does not match its signature, which may be of another file: {FETCH}",
            )
        case Fault.NAMESPACE:
            return Refusal(
                Reason.NAMESPACE,
                f"it was signed for another purpose, or {allowed} does not let its signer sign runs; a "
                f"signature in namespace {NAMESPACE} is needed: run again with --sign-key=FILE",
            )
        case Fault.UNLISTED:
            return Refusal(
                Reason.UNLISTED,
                f"its signer is not listed in {allowed}; run again with the key of an allowed "
                "signer, or add the signer's public key to that file",
            )
        case Fault.EXPIRED:
            return Refusal(
                Reason.EXPIRED,
                f"its signer's key is not valid now, according to valid-after or valid-before in {allowed}: "
                "run again with a valid key that is listed there",
            )
        case Fault.REVOKED:
            return Refusal(
                Reason.REVOKED,
                f"its signer's key is revoked by {revoked}; run again with a new key, "
                "and add that key to the allowed signers",
            )


def judge_evidence(folder: Path, evidence: list[Evidence]) -> list[Refusal]:
    """Compare the evidence of a run with the digests in its record; stop at the first difference."""
    for kept in evidence:
        try:
            actual = _digest(_inside(folder, kept.path, Reason.EVIDENCE))
        except Refused as error:
            return [error.refusal]
        except OSError as error:
            return [Refusal(Reason.EVIDENCE, f"its evidence {kept.path!r} cannot be read: {error.strerror}: {FETCH}")]
        if actual != (kept.sha256, kept.bytes):
            return [
                Refusal(
                    Reason.EVIDENCE,
                    f"its evidence {kept.path!r} does not match the record: found {_shown(*actual)}, "
                    f"the record says {_shown(kept.sha256, kept.bytes)}: {FETCH}",
                )
            ]
    return []


def _shown(sha256: str, size: int) -> str:
    return f"SHA-256 {sha256[:12]}… of {size} bytes"


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


def _read(folder: Path, name: str, reason: Reason) -> bytes:
    path = _inside(folder, name, reason)
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise Refused(reason, f"{name} has {size} bytes; at most {LARGEST} are read: {FETCH}")
        return path.read_bytes()
    except OSError as error:
        raise Refused(reason, f"{name} cannot be read: {error.strerror}: {FETCH}") from None


def _inside(folder: Path, name: str, reason: Reason) -> Path:
    """Return the path of a file in a run's folder; refuse links that lead out of it."""
    path = folder / name
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        raise Refused(reason, f"{name!r} is missing from its folder: {FETCH}") from None
    if not real.is_relative_to(folder.resolve()):
        raise Refused(reason, f"{name!r} leads out of its folder, to {real}, where no file counts: {FETCH}")
    if not real.is_file():
        raise Refused(reason, f"{name!r} is not a file: {FETCH}")
    return real
