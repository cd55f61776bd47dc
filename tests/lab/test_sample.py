"""The lab's sample repository is the same wherever it is made, and holds every revision of the table."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from switchproof.deploy.providers.lab import sample
from switchproof.deploy.providers.lab.sample import REVISIONS, Edit, Revision, build_repository, tree

if TYPE_CHECKING:
    from pathlib import Path

CLAUSES = {None, "revision", "converge", "hypervisor", "runtime"}


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "sample.git"
    build_repository(path)
    return path


def test_two_builds_give_the_same_commits(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes depend on neither the time, the person nor the person's git configuration."""
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody Else")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    build_repository(tmp_path / "again.git")
    assert _git(tmp_path / "again.git", "for-each-ref") == _git(repository, "for-each-ref")


def test_every_revision_has_its_ref_and_there_are_no_others(repository: Path) -> None:
    """The table is the list of the repository's branches and tags."""
    refs = _git(repository, "for-each-ref", "--format=%(refname)").split()
    assert sorted(refs) == sorted(revision.ref for revision in REVISIONS)


def test_a_clone_checks_out_main(repository: Path) -> None:
    """HEAD is the branch main, a good revision."""
    assert _git(repository, "symbolic-ref", "HEAD") == "refs/heads/main\n"


def test_v1_is_an_annotated_tag(repository: Path) -> None:
    """Whoever resolves v1 to a commit has to look through the tag."""
    assert _git(repository, "cat-file", "-t", "v1") == "tag\n"
    assert _git(repository, "cat-file", "-t", "v1^{commit}") == "commit\n"


def test_both_names_two_commits(repository: Path) -> None:
    """The branch and the tag of the name `both` are different commits, so that the name alone is ambiguous."""
    branch, tag = _git(repository, "rev-parse", "refs/heads/both", "refs/tags/both").split()
    assert branch != tag


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.ref)
def test_a_revision_holds_its_files(repository: Path, revision: Revision) -> None:
    """A commit's files are those of its entry in the table, and differ from its parent's."""
    files = tree(revision)
    assert _git(repository, "ls-tree", "-r", "--name-only", revision.ref).splitlines() == sorted(files)
    for edit in revision.edits:
        assert _git(repository, "show", f"{revision.ref}:{edit.path}") == files[edit.path]
    assert bool(revision.edits) == (revision.parent is not None)


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.ref)
def test_a_broken_revision_says_what_fails(revision: Revision) -> None:
    """A revision fails a clause and leaves words about it, or does neither."""
    assert revision.clause in CLAUSES
    assert bool(revision.says) == (revision.clause is not None)


def test_an_edit_that_does_not_fit_is_refused() -> None:
    """An edit whose old text is gone from the file is an error that names the revision and the file."""
    main = next(revision for revision in REVISIONS if revision.name == "main")
    stray = replace(main, edits=(Edit("settings.nix", "no such text", ""),))
    with pytest.raises(ValueError, match=r"refs/heads/main: settings\.nix must hold 'no such text' once"):
        tree(stray)


def test_the_sample_directory_holds_text_only() -> None:
    """No file of the sample needs more than reading as UTF-8."""
    assert "flake.nix" in tree(REVISIONS[0])
    assert all(path.read_text(encoding="utf-8") for path in sample.SAMPLE.rglob("*") if path.is_file())
