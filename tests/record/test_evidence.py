"""Evidence of any host fits into any file system, and no host's evidence costs another's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.host import limits
from switchproof.deploy.record.events import EvidenceKept, Noted
from switchproof.deploy.record.evidence import file_name, shorten
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor


def kept(journal: Journal) -> list[EvidenceKept]:
    return [event for event in journal.events if isinstance(event, EvidenceKept)]


def test_a_unit_with_the_longest_name_is_kept_like_any_other(tmp_path: Path) -> None:
    """A name of 255 characters becomes a shorter one; the name itself stands in the file and in its title."""
    journal = Journal(tmp_path, Redactor())
    unit = f"{'x' * 247}.service"
    for part in ("status", "journal"):
        assert journal.keep("a", f"diagnostics/{part}/{unit}.txt", f"{part}/{unit}", "failed")
    assert len({event.path for event in kept(journal)}) == 2
    for event in kept(journal):
        assert max(map(len, Path(event.path).parts)) <= 150
        assert (tmp_path / event.path).read_text().endswith(f"/{unit}.txt\nfailed")


def test_names_that_differ_have_files_that_differ(tmp_path: Path) -> None:
    """Names that a file system or the redactor would take for one are two files, and the same name twice as well."""
    journal = Journal(tmp_path, Redactor([("TOKEN", "tok-EN!x")]))
    names = (
        "a/x.txt",
        "a/x.txt",
        "a/X.txt",
        "a/tok-EN!x.txt",
        "a/\N{SNOWMAN}.txt",
        "a/\N{COMET}.txt",
        "y" * 200,
        "y" * 201,
    )
    paths = [journal.keep("a", name, name, f"content of {number}") for number, name in enumerate(names)]
    assert len({path.lower() for path in paths}) == len(names)
    assert "tok-EN" not in "".join(paths)
    assert [f"content of {n}" in (tmp_path / path).read_text() for n, path in enumerate(paths)] == [True] * len(names)


def test_evidence_has_limits_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One host's evidence ends at its limits; that is noted once, and another host's is kept all the same."""
    monkeypatch.setattr(limits, "FILES", 3)
    monkeypatch.setattr(limits, "FILE", 100)
    journal = Journal(tmp_path, Redactor())
    paths = [journal.keep("a", f"part{number}", "", "x" * 1000) for number in range(10)]
    assert [bool(path) for path in paths] == [True] * 3 + [False] * 7
    assert "[900 characters are left out here]" in (tmp_path / paths[0]).read_text()
    limit = f"3 files, {limits.EVIDENCE} characters or {limits.KEPT} bytes with all events"
    notes = [event.text for event in journal.events if isinstance(event, Noted)]
    assert notes == [f"Evidence is missing: no more than {limit} are kept of a."]
    assert journal.keep("b", "part", "", "x")


@given(st.text(min_size=1, max_size=400))
def test_any_name_makes_a_name_of_a_file(name: str) -> None:
    """Whatever a host calls something, a file can be called after it, within the folder."""
    made = file_name(name)
    assert all(0 < len(part.encode()) <= 150 and part.strip(".") for part in made.split("/"))


@given(st.text(max_size=300), st.integers(2, 100))
def test_a_shortened_text_has_its_beginning_and_its_end(text: str, limit: int) -> None:
    """What is left out of a text is left out of its middle."""
    short = shorten(text, limit)
    assert (
        short == text if len(text) <= limit else (short[: limit // 2] == text[: limit // 2] and short[-1] == text[-1])
    )
