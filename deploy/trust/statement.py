"""Makes an in-toto statement of a run from its record, and parses it (pure)."""

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
"""Names of a run's configuration; that of the target file contains its file name: `target ovh.toml`."""

_NIX_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
_NIX_SHA256 = re.compile(f"sha256:([01][{_NIX_DIGITS}]{{51}})")

_RESULTS = {RunVerdict.CANONICAL: "PASSED", RunVerdict.WITH_WAIVERS: "WARNED"}

_T = TypeVar("_T")


class NothingToSign(SwitchproofError):
    """The run has no commit and no system that a statement could be about."""


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A file or commit that a statement names by a digest (in-toto's ResourceDescriptor)."""

    name: str = ""
    digest: dict[str, str] = {}
    media_type: str = ""
    annotations: dict[str, Any] = {}


class TestResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The predicate: the tests, their configuration, and their results.

    `failedTests` lists tests that did not pass, `warnedTests` those with a waived failure.
    """

    __test__ = False  # pytest must not collect it

    result: str
    configuration: tuple[Resource, ...]
    passed_tests: tuple[str, ...] = ()
    failed_tests: tuple[str, ...] = ()
    warned_tests: tuple[str, ...] = ()


class Statement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An in-toto statement with a test result. Unknown fields are ignored, as in-toto requires."""

    type_: str = msgspec.field(name="_type")
    subject: tuple[Resource, ...]
    predicate_type: str
    predicate: TestResult

    @property
    def commits(self) -> list[str]:
        """The commits that it is about."""
        return [digest for each in self.subject if (digest := each.digest.get("gitCommit"))]

    @property
    def systems(self) -> set[tuple[str, str]]:
        """The system closures that it is about, as store path and SHA-256 of the archive in hexadecimal digits."""
        return {(each.name, each.digest["sha256"]) for each in self.subject if "sha256" in each.digest}

    def configured(self, name: str) -> Resource | None:
        """Return the configuration with a name; None unless there is exactly one."""
        named = [each for each in self.predicate.configuration if each.name == name]
        return named[0] if len(named) == 1 else None


def make_statement(record: Record, record_sha256: str, target: str, target_sha256: str) -> Statement:
    """Make the statement about a run.

    Args:
        record: The run.
        record_sha256: SHA-256 of `record.json` in the run's folder.
        target: The target file's name.
        target_sha256: SHA-256 of the target file.

    Raises:
        NothingToSign: The run has neither a commit nor a system.
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
    """Return a system's store path and the SHA-256 of its archive in hexadecimal digits; None if one is unknown.

    Nix prints the hash in its own base 32: the digits of the number whose bytes it is, the last byte first.
    """
    spelled = _NIX_SHA256.fullmatch(system.nar_hash or "")
    if not spelled or not system.toplevel:
        return None
    number = 0
    for digit in spelled[1]:
        number = number * 32 + _NIX_DIGITS.index(digit)
    return system.toplevel, number.to_bytes(32, "little").hex()


def encode(statement: Statement) -> bytes:
    """Encode a statement as JSON; the signature is over exactly these bytes."""
    return msgspec.json.format(msgspec.json.encode(statement), indent=2) + b"\n"


def parse_statement(content: bytes) -> Statement:
    """Read a statement.

    Raises:
        ValueError: It is not a statement, or is ambiguous.
    """
    return parse(content, Statement)


def parse(content: bytes, kind: type[_T]) -> _T:
    """Parse JSON of one type without duplicate keys, because readers disagree about those.

    Raises:
        ValueError: It does not have this type; the message names the key.
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
    """Yield every check of every leg of a host, with its verdict."""
    for leg, parts in legs(host):
        within = "" if leg == "forward" else f"{leg}/"
        for part in parts:
            for check in part.checks:
                yield f"{host.name}/{within}{check.id}", check.verdict
