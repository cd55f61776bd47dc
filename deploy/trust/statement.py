"""A run as an in-toto statement: what a signature says of it, made from a record and read back (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from switchproof.deploy.contract import RunVerdict, Verdict
from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.record.events import SystemIdentity
from switchproof.deploy.record.fold import legs
from switchproof.deploy.record.record import Host, Record

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
RECORD, CONTRACT, TARGET = "record.json", "contract", "target"
"""Names of what a run was configured by; the target file's is followed by its own: `target ovh.toml`."""

_NIX_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
_NIX_SHA256 = re.compile(f"sha256:([01][{_NIX_DIGITS}]{{51}})")

_RESULTS = {RunVerdict.CANONICAL: "PASSED", RunVerdict.WITH_WAIVERS: "WARNED"}

_T = TypeVar("_T")


class NothingToSign(SwitchproofError):
    """The run came to no commit and no system, so there is nothing that a statement could be about."""


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that a statement names by a digest (in-toto's ResourceDescriptor)."""

    name: str = ""
    digest: dict[str, str] = {}
    media_type: str = ""
    annotations: dict[str, Any] = {}


class TestResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The predicate: what was tested with what, and how it ended.

    What did not pass stands under `failedTests`, a failure that is waived under `warnedTests`.
    """

    __test__ = False  # to pytest this is no test

    result: str
    configuration: tuple[Resource, ...]
    passed_tests: tuple[str, ...] = ()
    failed_tests: tuple[str, ...] = ()
    warned_tests: tuple[str, ...] = ()


class Statement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An in-toto statement with a test result. As in-toto asks, fields that are not known are passed over."""

    type_: str = msgspec.field(name="_type")
    subject: tuple[Resource, ...]
    predicate_type: str
    predicate: TestResult

    @property
    def commits(self) -> list[str]:
        """The commits that it is about."""
        return [digest for one in self.subject if (digest := one.digest.get("gitCommit"))]

    @property
    def systems(self) -> set[tuple[str, str]]:
        """The system closures that it is about, as store path and SHA-256 of the archive in hexadecimal digits."""
        return {(one.name, one.digest["sha256"]) for one in self.subject if "sha256" in one.digest}

    def configured(self, name: str) -> Resource | None:
        """What the run was configured by under a name; None unless there is exactly one."""
        found = [one for one in self.predicate.configuration if one.name == name]
        return found[0] if len(found) == 1 else None


def make_statement(record: Record, record_sha256: str, target: str, target_sha256: str) -> Statement:
    """Say of a run what is to be signed.

    Args:
        record: The run.
        record_sha256: Of `record.json` as it stands in the run's folder.
        target: The target file's name.
        target_sha256: Of the target file.

    Raises:
        NothingToSign: There is neither a commit nor a system to speak of.
    """
    sha = record.revision.sha
    systems = {system for host in record.hosts if host.after and (system := closure(host.after))}
    subject = [
        *([Resource(name=record.revision.repository, digest={"gitCommit": sha})] if sha else []),
        *(
            Resource(name=path, digest={"sha256": digest}, media_type="application/x-nix-nar")
            for path, digest in sorted(systems)
        ),
    ]
    if not subject:
        raise NothingToSign("the run resolved no commit and built no system, so there is nothing to sign")
    tests = {name: verdict for host in record.hosts for name, verdict in _tests(host)}
    return Statement(
        type_=STATEMENT_TYPE,
        subject=tuple(subject),
        predicate_type=PREDICATE_TYPE,
        predicate=TestResult(
            result=_RESULTS.get(record.verdict, "FAILED"),
            configuration=(
                Resource(name=RECORD, digest={"sha256": record_sha256}, annotations={"run": record.run.id}),
                Resource(name=CONTRACT, digest={"sha256": record.contract_sha256}),
                Resource(
                    name=f"{TARGET} {target}",
                    digest={"sha256": target_sha256},
                    annotations={
                        "provider": record.provider,
                        "emulated": record.emulated,
                        "groups": {host.name: list(host.groups) for host in record.hosts},
                    },
                ),
            ),
            passed_tests=tuple(name for name, verdict in tests.items() if verdict is Verdict.PASSED),
            failed_tests=tuple(name for name, verdict in tests.items() if not verdict.accepted),
            warned_tests=tuple(name for name, verdict in tests.items() if verdict is Verdict.WAIVED),
        ),
    )


def closure(system: SystemIdentity) -> tuple[str, str] | None:
    """Return a system's store path and the SHA-256 of its archive in hexadecimal digits; None if not both are known.

    Nix prints the hash in its own base 32: the digits of the number that the bytes are, the last byte first.
    """
    spelled = _NIX_SHA256.fullmatch(system.nar_hash or "")
    if not spelled or not system.toplevel:
        return None
    number = 0
    for digit in spelled[1]:
        number = number * 32 + _NIX_DIGITS.index(digit)
    return system.toplevel, number.to_bytes(32, "little").hex()


def encode(statement: Statement) -> bytes:
    """Write a statement as JSON; the signature is over exactly these bytes."""
    return msgspec.json.format(msgspec.json.encode(statement), indent=2) + b"\n"


def parse_statement(content: bytes) -> Statement:
    """Read a statement.

    Raises:
        ValueError: It is none, or one that two readers could understand differently.
    """
    return parse(content, Statement)


def parse(content: bytes, kind: type[_T]) -> _T:
    """Read JSON of one kind in which no key stands twice: of such, one reader takes the first and another the last.

    Raises:
        ValueError: It is none of this kind; the message names the key.
    """
    try:
        json.loads(content, object_pairs_hook=_unique)
        return msgspec.json.decode(content, type=kind)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"the key {key!r} appears twice in one object")
        seen.add(key)


def _tests(host: Host) -> Iterator[tuple[str, Verdict]]:
    """Name every check of every leg of a host, with its verdict."""
    for leg, parts in legs(host):
        within = "" if leg == "forward" else f"{leg}/"
        for part in parts:
            for check in part.checks:
                yield f"{host.name}/{within}{check.id}", check.verdict
