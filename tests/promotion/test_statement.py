"""A run becomes a statement that says what was proven of what, and reads back as nothing else."""

from __future__ import annotations

import json

import msgspec
import pytest

from switchproof.deploy.record.events import SystemIdentity
from switchproof.deploy.trust.statement import (
    NothingToSign,
    Statement,
    closure,
    encode,
    make_statement,
    parse_statement,
)
from tests.answers import NAR_HASH
from tests.promotion.runs import COMMIT, CONTRACT, NAR_HEX, changed, failed, staging
from tests.reports import stories
from tests.reports.story import NEW, Story

RECORD_SHA256, TARGET_SHA256 = "1" * 64, "2" * 64


def made(**changes: object) -> dict[str, object]:
    """The statement of a staging run as JSON, with some fields changed."""
    statement = make_statement(staging(), RECORD_SHA256, "ovh.toml", TARGET_SHA256)
    loaded: dict[str, object] = json.loads(encode(statement))
    return loaded | changes


def test_a_statement_is_in_toto_s() -> None:
    """It has the type, predicate, subjects, configuration and tests that in-toto's test-result asks for."""
    statement = made()
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["subject"] == [
        {"name": "https://example.org/choiros.git", "digest": {"gitCommit": COMMIT}},
        {"name": NEW, "digest": {"sha256": NAR_HEX}, "mediaType": "application/x-nix-nar"},
    ]
    predicate = statement["predicate"]
    assert isinstance(predicate, dict)
    assert predicate["result"] == "PASSED"
    assert predicate["configuration"] == [
        {
            "name": "record.json",
            "digest": {"sha256": RECORD_SHA256},
            "annotations": {"run": "20261123T151203Z-deploy-ovh-1a2b3c4"},
        },
        {"name": "contract", "digest": {"sha256": CONTRACT}},
        {
            "name": "target ovh.toml",
            "digest": {"sha256": TARGET_SHA256},
            "annotations": {"provider": "ovh", "emulated": False, "groups": {"b": ["staging"]}},
        },
    ]
    assert "b/runtime/live" in predicate["passedTests"]
    assert predicate["failedTests"] == []


def test_what_did_not_pass_stands_under_failed() -> None:
    """A run that is not canonical is FAILED, and names every check that did not pass, of its way back too."""
    statement = make_statement(stories.rolled_back().record(), RECORD_SHA256, "ovh.toml", TARGET_SHA256)
    assert statement.predicate.result == "FAILED"
    assert set(statement.predicate.failed_tests) == {"a/answers", "a/live", "a/dev"}
    assert "a/back/answers" in statement.predicate.passed_tests
    assert make_statement(changed(failed), "", "", "").predicate.result == "FAILED"


def test_one_system_of_many_hosts_is_one_subject() -> None:
    """Hosts that run the same system are one subject."""
    statement = make_statement(staging(stories.canonical("b", "c")), RECORD_SHA256, "ovh.toml", TARGET_SHA256)
    assert statement.systems == {(NEW, NAR_HEX)}
    assert len(statement.subject) == 2


def test_a_run_that_came_to_nothing_cannot_be_signed() -> None:
    """Without a commit and a system there is nothing to make a statement about."""
    with pytest.raises(NothingToSign):
        make_statement(Story("b").record(), RECORD_SHA256, "ovh.toml", TARGET_SHA256)


@pytest.mark.parametrize(
    ("toplevel", "nar_hash"),
    [
        (NEW, None),
        (None, NAR_HASH),
        (NEW, NAR_HASH.removeprefix("sha256:")),
        (NEW, NAR_HASH + "0"),
        (NEW, "sha256:" + "z" * 52),
        (NEW, "sha256:" + "e" * 52),
        (NEW, "$(reboot)"),
    ],
)
def test_what_is_no_hash_names_no_system(toplevel: str | None, nar_hash: str | None) -> None:
    """A host that says no hash, or something that is none, has no system that could be signed for."""
    assert closure(SystemIdentity(toplevel, 1, COMMIT, "b00t", nar_hash)) is None


def test_a_statement_reads_back() -> None:
    """What was written is what is read, and fields that nobody knows yet are passed over."""
    statement = make_statement(staging(), RECORD_SHA256, "ovh.toml", TARGET_SHA256)
    assert parse_statement(encode(statement)) == statement
    assert parse_statement(json.dumps(made(later="more")).encode()) == statement
    assert isinstance(statement, Statement)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "column 1"),
        (b"{\xff}", "decode"),
        (b"[]", "object"),
        (json.dumps(made(subject="all")).encode(), "subject"),
        (b'{"predicate": {"result": "FAILED", "result": "PASSED"}}', "the key 'result' appears twice"),
        (b'{"a": {"digest": 1}, "b": [{"x": 1, "x": 2}]}', "the key 'x' appears twice"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_statement_is_told(content: bytes, says: str) -> None:
    """What is not JSON, no statement, or can be read in two ways is an error that says so."""
    with pytest.raises(ValueError, match=says):
        parse_statement(content)


def test_a_key_that_stands_twice_is_found_however_spelled() -> None:
    """An escape does not hide that a key stands twice."""
    with pytest.raises(ValueError, match="appears twice"):
        parse_statement(b'{"_type": "a", "\\u005ftype": "b"}')


def test_an_omitted_name_is_the_empty_one() -> None:
    """A resource needs no name to be read, as in-toto says."""
    subject = [{"digest": {"gitCommit": COMMIT}}]
    assert parse_statement(msgspec.json.encode(made(subject=subject))).commits == [COMMIT]
