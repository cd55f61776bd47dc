"""A commit of a clone on this machine, as it is sent to hosts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from switchproof.deploy.errors import Inconclusive, UsageError
from switchproof.deploy.source import Input, Source, find_source, locked_inputs

_NOBODY = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **_NOBODY}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(clone: Path, text: str) -> str:
    (clone / "file").write_text(text)
    git(clone, "add", "file")
    git(clone, "commit", "--quiet", f"--message={text}")
    return git(clone, "rev-parse", "HEAD")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with two commits, of which the first has a tag."""
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "one")
    git(folder, "tag", "v1")
    commit(folder, "two")
    return folder


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host's clone, with nothing in it yet."""
    folder = tmp_path / "host"
    git(tmp_path, "init", "--quiet", str(folder))
    return folder


def fetch(host: Path, source: Source) -> list[str]:
    """Send a source to a host, as a run does; return the files that its commit has there."""
    known = git(host, "for-each-ref", "--format=%(objectname)").split()
    with source.bundle(known) as bundle:
        git(host, "fetch", "--quiet", "--force", str(bundle), "+refs/heads/*:refs/switchproof/heads/*")
    return git(host, "ls-tree", "--name-only", source.commit).split()


@pytest.mark.parametrize("revision", ["main", "heads/main", "v1", "tags/v1"])
def test_a_name_is_the_commit_that_the_clone_has_there(clone: Path, revision: str) -> None:
    """Branches and tags of the clone are looked for, and so are commits, also shortened and in capitals."""
    sha = git(clone, "rev-parse", f"{revision.rpartition('/')[2]}^{{commit}}")
    for asked in (revision, sha, sha.upper(), sha[:8]):
        assert find_source(str(clone), asked, dirty=False) == Source(clone, sha)


def test_a_folder_inside_the_clone_means_the_clone(clone: Path) -> None:
    """The path may be where one stands."""
    (clone / "inside").mkdir()
    assert find_source(str(clone / "inside"), "main", dirty=False).clone == clone


def test_a_host_gets_the_commit_by_its_hash(clone: Path, host: Path) -> None:
    """Whether it has nothing, an earlier commit, a later one or the same one."""
    first, second = (find_source(str(clone), name, dirty=False) for name in ("v1", "main"))
    for source in (second, second, first, second):
        assert fetch(host, source) == ["file"]
        assert git(host, "rev-parse", "refs/switchproof/heads/switchproof") == source.commit


def test_what_the_host_has_is_not_sent(clone: Path) -> None:
    """Only later commits are in the bundle; what the clone does not know, or is no commit, counts for nothing."""
    (clone / "large").write_bytes(os.urandom(100_000))
    git(clone, "add", "large")
    earlier = commit(clone, "three")
    commit(clone, "four")
    source = find_source(str(clone), "main", dirty=False)
    with source.bundle([]) as bundle:
        whole = bundle.stat().st_size
    with source.bundle([earlier, "0" * 40, "$(id)", git(clone, "rev-parse", "HEAD^{tree}")]) as bundle:
        assert bundle.stat().st_size < 10_000 < whole
    assert not bundle.exists()


def test_the_clone_stays_as_it_is(clone: Path) -> None:
    """No name, index or file changes, whether the tree is committed or not."""
    (clone / "file").write_text("changed")

    def state() -> tuple[str, bytes]:
        return git(clone, "for-each-ref") + git(clone, "status", "--porcelain"), (clone / ".git/index").read_bytes()

    before = state()
    for dirty in (False, True):
        with find_source(str(clone), None if dirty else "main", dirty=dirty).bundle([]):
            pass
    assert state() == before


def test_a_working_tree_is_the_same_commit_until_it_changes(clone: Path, host: Path) -> None:
    """It stands on HEAD, has each tracked file as it is, and is told by the hash of its tree."""
    (clone / "file").write_text("changed")
    (clone / "staged").write_text("new")
    git(clone, "add", "staged")
    source = find_source(str(clone), None, dirty=True)
    assert source == find_source(str(clone), None, dirty=True)
    assert fetch(host, source) == ["file", "staged"]
    assert git(host, "show", f"{source.commit}:file") == "changed"
    assert git(host, "rev-parse", f"{source.commit}^{{tree}}") == source.tree
    assert git(host, "rev-parse", f"{source.commit}^") == git(clone, "rev-parse", "HEAD")
    (clone / "file").write_text("changed again")
    assert find_source(str(clone), None, dirty=True).tree != source.tree


def test_files_that_would_be_left_out_are_named(clone: Path) -> None:
    """A file that git does not know would be missing on the host; one that is ignored is meant to be."""
    (clone / ".git/info/exclude").write_text("ignored\n")
    (clone / "ignored").write_text("x")
    assert find_source(str(clone), None, dirty=True)
    for number in range(5):
        (clone / f"new{number}").write_text("x")
    with pytest.raises(UsageError, match="would be left out: new0, new1, new2 and 2 more; add them with `git add`"):
        find_source(str(clone), None, dirty=True)


def test_a_clone_that_cannot_be_used_is_named(clone: Path, tmp_path: Path) -> None:
    """No such folder, no repository, a shallow or partial one, and a revision that it lacks or that means two."""
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{clone}", "shallow")
    git(clone, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", f"file://{clone}", "partial")
    git(clone, "branch", "v1", "main")
    (tmp_path / "folder").mkdir()
    for path, revision, problem in (
        (tmp_path / "none", "main", "No such file or directory"),
        (tmp_path / "folder", "main", "not a git repository"),
        (tmp_path / "shallow", "main", "a shallow clone.* run `git fetch --unshallow`"),
        (tmp_path / "partial", "main", "a partial clone.* use one made without --filter"),
        (clone, "nowhere", "the clone has no commit, branch or tag 'nowhere'"),
        (clone, "0" * 40, "the clone has no commit, branch or tag"),
        (clone, "abcdef1", "Needed a single revision|unknown revision"),
        (clone, "v1", "'v1' is a branch and a tag; write heads/v1 or tags/v1"),
    ):
        with pytest.raises(UsageError, match=problem) as refused:
            find_source(str(path), revision, dirty=False)
        assert str(refused.value).startswith(f"--source={path}: ")


def test_a_clone_that_is_gone_is_inconclusive(clone: Path) -> None:
    """What cannot be read any more when a host is to get it proves nothing of the host."""
    source = find_source(str(clone), "main", dirty=False)
    (clone / ".git/HEAD").unlink()
    with pytest.raises(Inconclusive, match=f"{source.commit} cannot be read from"), source.bundle([]):
        pass


LOCK = """{"root": "root", "version": 7, "nodes": {
  "root": {"inputs": {"one": "one"}},
  "one": {"locked": {"type": "git", "url": "ssh://git:word@forge.example.org/one.git", "rev": "1", "revCount": 1}},
  "two": {"locked": {"type": "git", "url": "file:///srv/two"}},
  "scp": {"locked": {"type": "git", "url": "git@forge.example.org:scp.git"}},
  "open": {"locked": {"type": "git", "url": "https://forge.example.org/open.git"}},
  "hub": {"locked": {"type": "github", "owner": "NixOS", "repo": "nixpkgs"}},
  "tar": {"locked": {"type": "tarball", "url": "https://example.org/x.tar.gz"}},
  "here": {"locked": {"type": "path", "path": "/home/me/here"}},
  "part": {"locked": {"type": "path", "path": "./part"}, "parent": []}
}}"""


def test_inputs_that_hosts_cannot_fetch_are_told_from_others(clone: Path) -> None:
    """What takes a key, or is a place on this machine, is private; user and password are not shown."""
    (clone / "flake.lock").write_text(LOCK)
    git(clone, "add", "flake.lock")
    git(clone, "commit", "--quiet", "--message=lock")
    assert set(locked_inputs(find_source(str(clone), "main", dirty=False))) == {
        Input("one", "git+ssh://forge.example.org/one.git", is_private=True),
        Input("two", "git+file:///srv/two", is_private=True),
        Input("scp", "git+git@forge.example.org:scp.git", is_private=True),
        Input("open", "git+https://forge.example.org/open.git", is_private=False),
        Input("hub", "github:NixOS/nixpkgs", is_private=False),
        Input("tar", "tarball+https://example.org/x.tar.gz", is_private=False),
        Input("here", "path:/home/me/here", is_private=True),
        Input("part", "path:./part", is_private=False),
    }


@pytest.mark.parametrize("text", ["", "[]", '{"nodes": 1}', "{"])
def test_a_lock_of_another_form_names_no_inputs(clone: Path, text: str) -> None:
    """Nix itself says what is wrong with it."""
    (clone / "flake.lock").write_text(text)
    git(clone, "add", "flake.lock")
    git(clone, "commit", "--quiet", "--message=lock")
    assert locked_inputs(find_source(str(clone), "main", dirty=False)) == ()
