"""Which commit a revision means, by real repositories of git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.host_functions import run

RESOLVE = """
verb_resolve
echo "${said[outcome]} ${said[sha]:-} ${said[subject]:-}"
echo "${said[detail]:-}"
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits on main, a branch and a tag of one name that differ, and a commit that is in no branch."""
    path = tmp_path_factory.mktemp("repository")
    script = """
      set -e; cd "$1"; git init -q -b main .
      commit() { git -c user.name=Ada -c user.email=a@b commit -q --allow-empty -m "$1"; }
      commit first; git tag v1; git -c user.name=Ada -c user.email=a@b tag -a -m x annotated; git branch both
      commit second; git tag both; git branch feature/x
      commit lost; git update-ref refs/stash HEAD; git reset -q --hard HEAD~1
    """
    subprocess.run(
        ["bash", "-c", script, "-", str(path)], check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(path)}
    )
    return path


def commit(repository: Path, name: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", f"{name}^{{commit}}"], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def resolved(repository: Path, tmp_path: Path, revision: str, **values: str) -> tuple[str, str]:
    """How the script resolves a revision in a clone of its own: outcome, commit and subject; and the detail."""
    given = {"HOME": str(tmp_path), "RELEASE_SHA": revision, "WORKDIR": str(tmp_path / "clone")}
    given |= {"REPO_URL": f"file://{repository}", **values}
    told = run(RESOLVE, "files", "answer", "revision", "lock", folder=tmp_path, values=given)
    head, detail = told.split("\n")[:2]
    return head, detail


@pytest.mark.parametrize(
    ("revision", "meant", "subject"),
    [
        ("main", "main", "second"),
        ("feature/x", "main", "second"),
        ("refs/heads/feature/x", "main", "second"),
        ("v1", "v1", "first"),
        ("annotated", "v1", "first"),
        ("heads/both", "v1", "first"),
        ("refs/tags/both", "main", "second"),
    ],
)
def test_a_name_is_the_commit_that_the_repository_has_there(
    repository: Path, tmp_path: Path, revision: str, meant: str, subject: str
) -> None:
    """Branches and tags, with or without what they are, mean one commit; the repository says the same unfetched."""
    sha = commit(repository, meant)
    assert resolved(repository, tmp_path, revision) == (f"ok {sha} {subject}", "")
    assert resolved(repository, tmp_path, revision, SWITCHPROOF_READONLY="1") == (f"ok {sha} ", "")


def test_a_commit_may_be_shortened_and_in_any_case(repository: Path, tmp_path: Path) -> None:
    """Digits of a commit are that commit, if a branch or tag has it."""
    sha = commit(repository, "main")
    for given in (sha, sha.upper(), sha[:9]):
        assert resolved(repository, tmp_path, given) == (f"ok {sha} second", "")


@pytest.mark.parametrize(
    ("revision", "outcome", "detail"),
    [
        ("nowhere", "missing", "the repository has no commit, branch or tag 'nowhere'"),
        ("both", "ambiguous", "'both' is ambiguous, it may mean: "),
        ("", "malformed", "'' is not a revision"),
        ("--upload-pack=x", "malformed", "is neither a commit, a branch nor a tag"),
        ("a..b", "malformed", "is neither a commit, a branch nor a tag"),
    ],
)
def test_what_means_no_one_commit_is_refused(
    repository: Path, tmp_path: Path, revision: str, outcome: str, detail: str
) -> None:
    """Whatever is not one commit of the repository is refused by name, and nothing is guessed."""
    head, words = resolved(repository, tmp_path, revision)
    assert head.split() == [outcome]
    assert detail in words


def test_a_commit_that_no_branch_has_is_none(repository: Path, tmp_path: Path) -> None:
    """A clone that has the object all the same does not make it one of the repository's."""
    lost = commit(repository, "refs/stash")
    resolved(repository, tmp_path, "main")
    subprocess.run(["git", "-C", str(tmp_path / "clone"), "fetch", "-q", str(repository), "refs/stash"], check=True)
    assert resolved(repository, tmp_path, lost)[0].split() == ["missing"]


def test_a_checkout_that_cannot_be_used_is_named(repository: Path, tmp_path: Path) -> None:
    """A folder that is in another repository, or no repository, is left alone; one that does not answer is named."""
    (tmp_path / "clone" / "inner").mkdir(parents=True)
    (tmp_path / "clone" / "file").touch()
    assert resolved(repository, tmp_path, "main")[0].split() == ["checkout"]
    subprocess.run(["git", "init", "-q", str(tmp_path / "clone")], check=True)
    (tmp_path / "clone" / "inner" / "file").touch()
    inner = str(tmp_path / "clone" / "inner")
    assert "is a folder inside the git repository" in resolved(repository, tmp_path, "main", WORKDIR=inner)[1]
    gone = resolved(repository, tmp_path, "main", REPO_URL=f"file://{tmp_path}/none")
    assert gone[0].split() == ["unreachable"]


@pytest.mark.parametrize(
    ("files", "left_out"),
    [
        ({"file": "x"}, ""),
        ({".gitmodules": "[submodule]"}, "submodules"),
        ({".gitattributes": "*.bin filter=lfs diff=lfs"}, "lfs"),
        ({".gitattributes": "*.txt text"}, ""),
        ({"assets/.gitattributes": "*.bin filter=lfs diff=lfs"}, "lfs"),
        ({".gitattributes": "# *.bin filter=lfs\n", "attributes": "*.bin filter=lfs"}, ""),
        ({".gitmodules": "", ".gitattributes": "*.bin filter=lfs\n" + "x text\n" * 20_000}, "submodules lfs"),
        ({"sub/.gitmodules": "not of this repository"}, ""),
    ],
)
def test_what_nix_leaves_out_of_a_commit_is_told(tmp_path: Path, files: dict[str, str], left_out: str) -> None:
    """Submodules and files of Git LFS are absent from what nix builds, though it ends well."""
    for name, text in files.items():
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / name).write_text(text)
    script = "git init -q . && git add --all && git -c user.name=x -c user.email=x commit -qm x && git rev-parse HEAD"
    made = subprocess.run(["sh", "-ec", script], cwd=tmp_path / "clone", check=True, capture_output=True, text=True)
    told = run(f"left_out_of {made.stdout}", "revision", values={"WORKDIR": str(tmp_path / "clone")})
    assert told.split() == left_out.split()
