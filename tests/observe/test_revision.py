"""A revision is one full commit, or the reason why it is not."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.errors import Inconclusive, UsageError
from switchproof.deploy.host.frame import Frame, FrameError
from switchproof.deploy.observe.revision import (
    RepositoryUnreachable,
    Resolution,
    RevisionAmbiguous,
    RevisionMalformed,
    RevisionMissing,
    check_form,
    is_commit,
    is_full,
    read_resolution,
)
from tests.answers import SHA


def told(**parts: str) -> Frame:
    return Frame("resolve", {name: text.encode() for name, text in parts.items()})


@pytest.mark.parametrize(
    "revision", ["main", "v1.2.3", "heads/main", "refs/tags/v1", "feat/a-b_c", "1a2b3c4", SHA, "a#1", "x+y"]
)
def test_names_and_commits_may_be_asked_for(revision: str) -> None:
    """Commits, branches and tags are taken as they are."""
    assert check_form(revision) == revision


@pytest.mark.parametrize(
    "revision",
    [
        "",
        "-x",
        "--upload-pack=evil",
        "a..b",
        "a b",
        "a\n",
        "main\nx",
        "a//b",
        "a/",
        "a.",
        "a.lock",
        "x.lock/y",
        "a@{1}",
        "HEAD~1",
        "a^",
        "a:b",
        "$(id)",
        "`id`",
        "a;b",
        "a'b",
        'a"b',
        "\\x",
        "/a",
        ".a",
        "a/.b",
        "ä",
        "a\x00",
        "*",
        "a?",
    ],
)
def test_what_is_no_revision_is_refused(revision: str) -> None:
    """An option, a range, an expression or shell code is no revision, and the message shows it."""
    with pytest.raises(RevisionMalformed) as refused:
        check_form(revision)
    assert f"--sha={revision}" in str(refused.value)


@given(st.text(max_size=60))
def test_accepted_revision_is_harmless(revision: str) -> None:
    """Whatever is accepted is printable ASCII that no shell and no git command takes for something else."""
    try:
        check_form(revision)
    except RevisionMalformed:
        return
    assert revision.isascii()
    assert revision.isprintable()
    assert not set(revision) & set(" \t\n\"'\\`$;&|<>()*?[]{}~^:!")
    assert not revision.startswith("-")


@pytest.mark.parametrize(
    ("revision", "full", "commit"),
    [
        (SHA, True, True),
        (SHA[:7], False, True),
        (SHA[:6], False, False),
        (SHA + "0", False, False),
        (SHA.upper(), False, True),
        (SHA[:7].upper(), False, True),
        (SHA + "\n", False, False),
        ("main", False, False),
    ],
)
def test_full_commit_has_forty_digits(revision: str, full: bool, commit: bool) -> None:
    """A full commit has 40 lower-case hexadecimal digits, a short one at least 7 in any case."""
    assert (is_full(revision), is_commit(revision)) == (full, commit)


@pytest.mark.parametrize("asked", ["main", SHA[:7], SHA])
def test_one_full_commit_is_the_answer(asked: str) -> None:
    """A host that says `ok` and a full commit has resolved the revision."""
    assert read_resolution(told(outcome="ok", sha=SHA, subject="Serve"), asked) == Resolution(SHA, "Serve")


@pytest.mark.parametrize(
    ("outcome", "error", "kind"),
    [
        ("malformed", RevisionMalformed, UsageError),
        ("missing", RevisionMissing, UsageError),
        ("ambiguous", RevisionAmbiguous, UsageError),
        ("unreachable", RepositoryUnreachable, Inconclusive),
        ("checkout", RepositoryUnreachable, Inconclusive),
    ],
)
def test_each_failure_has_its_error(outcome: str, error: type[Exception], kind: type[Exception]) -> None:
    """What is wrong with the revision is a usage error, what keeps the host from knowing is inconclusive."""
    with pytest.raises(error, match="in the host's words") as raised:
        read_resolution(told(outcome=outcome, detail="in the host's words"), "main")
    assert isinstance(raised.value, kind)


def test_a_missing_revision_says_to_push_it_first() -> None:
    """A commit that was never pushed is the usual reason, as the host fetches from the repository's URL."""
    with pytest.raises(RevisionMissing, match=r"in the host's words\. The host fetches .* push the commit first"):
        read_resolution(told(outcome="missing", detail="in the host's words"), SHA)


@pytest.mark.parametrize(
    ("parts", "asked"),
    [
        ({}, "main"),
        ({"outcome": ""}, "main"),
        ({"outcome": "okay", "sha": SHA}, "main"),
        ({"outcome": "ok"}, "main"),
        ({"outcome": "ok", "sha": ""}, "main"),
        ({"outcome": "ok", "sha": SHA[:39]}, "main"),
        ({"outcome": "ok", "sha": f"{SHA}\n{SHA}"}, "main"),
        ({"outcome": "ok", "sha": SHA + "\n"}, "main"),
        ({"outcome": "ok", "sha": SHA.replace("1a", "2b")}, SHA),
    ],
)
def test_answer_that_is_none_of_these_is_no_answer(parts: dict[str, str], asked: str) -> None:
    """Without one full commit, or with another than the full one that was asked for, nothing is resolved."""
    with pytest.raises(FrameError):
        read_resolution(told(**parts), asked)


@pytest.mark.parametrize(
    ("name", "author"),
    [
        ("Ada Example", "Ada Example"),
        ("ada@example.org", "ada"),
        ("Ada <ada@example.org>", "Ada"),
        ("Ada Example ada@example.org", "Ada Example ada"),
        ("", ""),
        ("A" * 5000, "A" * 200),
    ],
)
def test_author_is_named_without_an_address(name: str, author: str) -> None:
    """Who wrote a commit is told by name; an e-mail address, which some use for one, is not."""
    assert read_resolution(told(outcome="ok", sha=SHA, author=name), "main").author == author


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("2026-01-01T01:00:00+01:00", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        ("2026-01-01T00:00:00", None),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_commit_s_time_is_in_utc_or_unknown(said: str, time: dt.datetime | None) -> None:
    """When a commit was written is told in UTC; what is no time, as a commit may say anything, is not told."""
    assert read_resolution(told(outcome="ok", sha=SHA, authored=said), "main").authored == time


@pytest.mark.parametrize(
    ("outcome", "words", "says"),
    [
        ("checkout", "fatal: detected dubious ownership in repository at '/opt/w'", "safe.directory"),
        ("checkout", "fatal: unknown repository extension found: foo", "another git or with other hashes"),
        ("unreachable", "fatal: mismatched algorithms: client sha256; server sha1", "with other hashes"),
        ("unreachable", "error: cannot lock ref 'refs/switchproof/heads/main': unable to resolve", "damaged"),
        ("unreachable", "fatal: ref updates aborted by hook", "hook of the checkout"),
        ("unreachable", "ssh: Could not resolve hostname git.example: Could not resolve host", "DNS, routes"),
        ("unreachable", "git@git.example: Permission denied (publickey).", "deploy key"),
        ("unreachable", "fatal: repository 'https://git.example/x/' not found", "repository.url"),
        ("unreachable", "error: unable to write file: No space left on device", "Make room"),
        (
            "checkout",
            "/opt/w is a folder inside the git repository /opt, not a repository itself",
            "why git cannot use",
        ),
        ("unreachable", "something that nobody knows", "Run git fetch"),
    ],
)
def test_remedy_fits_what_git_said(outcome: str, words: str, says: str) -> None:
    """What to try is told for the checkout, the repository or the network, whichever git complained of."""
    frame = Frame("resolve", {"outcome": outcome.encode(), "detail": words.encode()})
    with pytest.raises(RepositoryUnreachable) as refused:
        read_resolution(frame, "main")
    assert says in refused.value.remedy
    assert "pushed" not in refused.value.remedy


def test_full_commit_in_upper_case_is_that_commit() -> None:
    """Somebody's tool may write hexadecimal digits in upper case; a name is left as it is."""
    assert check_form("719C" * 10) == "719c" * 10
    assert check_form("ABCDEF1") == "ABCDEF1"
