"""Deploys of what the hosts cannot fetch: a commit that is not pushed, and a tree that is not committed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.contract import HostState
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import HEALTH, Ended, session, target_file
from tests.labs import own
from tests.runners import runner_with_nix

pytestmark = [pytest.mark.lab, pytest.mark.long]

_NOBODY = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host."""
    with Lab.up(("a",), name=own("source"), runtime="netns") as lab:
        yield lab


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **_NOBODY}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(lab: Lab, tmp_path: Path) -> Path:
    """A clone with the sample's files on a branch that nobody pushed, in a commit that the hosts cannot fetch."""
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--branch=main", str(lab.repository), str(folder))
    git(folder, "checkout", "--quiet", "-b", "mine")
    (folder / "MINE").write_text("x")
    git(folder, "add", "MINE")
    git(folder, "commit", "--quiet", "--message=Mine alone")
    return folder


def deploy(lab: Lab, tmp_path: Path, *arguments: str, host: str = "", path: str = "") -> Ended:
    """Deploy to a host whose target file names a repository that nobody can fetch from.

    Args:
        lab: The lab.
        tmp_path: The folder of the test.
        arguments: Options of the run.
        host: Keys of the host in the target file.
        path: A folder of programs that the runner has beside its own.
    """
    targets = target_file(tmp_path, ["a"])
    text = targets.read_text(encoding="utf-8").replace("[[hosts]]\n", f"[[hosts]]\n{host}\n", 1)
    assert HEALTH in text
    targets.write_text(text, encoding="utf-8")
    environ = {"PATH": f"{path}:{os.environ['PATH']}"} if path else {}
    given = ("--provider=lab", f"--targets={targets}", *arguments)
    return session(*given, runs=tmp_path / "runs", lab=lab, environ=environ)


def inside(lab: Lab, script: str) -> str:
    return lab.hosts["a"].run(["sh", "-c", script], timeout_s=30).stdout.strip()


def test_a_commit_that_is_not_pushed_is_proven(lab: Lab, clone: Path, tmp_path: Path) -> None:
    """The host gets it from the runner, by its full hash; the run is canonical, and the file of the copy is gone."""
    sha = git(clone, "rev-parse", "HEAD")
    refused = deploy(lab, tmp_path, f"--sha={sha}")
    assert refused.status == 4, refused.output
    ended = deploy(lab, tmp_path, "--sha=mine", f"--source={clone}")
    assert ended.status == 0, ended.output
    record = ended.record
    assert (record.revision.sha, record.revision.subject) == (sha, "Mine alone")
    assert record.revision.repository == f"{clone} on the runner"
    assert f"The commit was sent from {clone} on the runner" in str(record.host("a").notes)
    assert inside(lab, "ls -A /var/lib/switchproof/sources") == ""
    again = deploy(lab, tmp_path, "--sha=mine", f"--source={clone}", "--soak=0")
    assert again.status == 0, again.output


def test_a_tree_that_is_not_committed_converges_and_proves_nothing(lab: Lab, clone: Path, tmp_path: Path) -> None:
    """The host keeps the system that passed every check; the run is inconclusive, and no gate takes its record."""
    (clone / "settings.nix").write_text((clone / "settings.nix").read_text() + "# not committed\n")
    refused = deploy(lab, tmp_path, "--dirty", f"--source={clone}")
    assert refused.status == 4, refused.output
    assert "--dirty: a must not get what is not committed; set hosts.allow_dirty" in " ".join(refused.output.split())
    ended = deploy(lab, tmp_path, "--dirty", f"--source={clone}", host="allow_dirty = true")
    assert ended.status == 11, ended.output
    record = ended.record
    assert record.host("a").state is HostState.CONVERGED
    assert record.run.dirty == git(clone, "rev-parse", f"{record.revision.sha}^{{tree}}")
    assert f"the working tree {record.run.dirty} is not committed" in " ".join(ended.output.split())
    gated = deploy(lab, tmp_path, f"--sha={record.revision.sha}", f"--require-record={ended.folder}")
    assert gated.status == 4, gated.output
    assert git(clone, "status", "--porcelain") == "M settings.nix"


def test_a_commit_that_is_not_pushed_comes_through_ssm(clone: Path, tmp_path: Path) -> None:
    """In pieces that the host checks; a clone that lacks too much for that is refused and the host left alone."""
    sha, filled = git(clone, "rev-parse", "HEAD"), tmp_path / "filled"
    with Lab.up(("a",), name=own("source-aws"), shape="aws", runtime="netns") as through_ssm:
        targets = target_file(tmp_path, ["a"], shape="aws")
        asked = ("--provider=lab", "--shape=aws", f"--targets={targets}")
        ended = session(*asked, "--sha=mine", f"--source={clone}", runs=tmp_path / "runs", lab=through_ssm)
        assert ended.status == 0, ended.output
        assert ended.record.revision.sha == sha
        assert f"The commit was sent from {clone} on the runner" in str(ended.record.host("a").notes)
        (clone / "LARGE").write_bytes(os.urandom(2_000_000))
        git(clone, "add", "LARGE")
        git(clone, "commit", "--quiet", "--message=Large")
        large = session(*asked, "--sha=mine", f"--source={clone}", runs=filled, lab=through_ssm)
        assert large.status == 11, large.output
        assert "more than 1.0 MB, packed, would have to be sent through SSM" in " ".join(large.output.split())
        assert large.record.host("a").state is HostState.UNCHANGED


@pytest.fixture
def programs(lab: Lab) -> Iterator[str]:
    """The folder of a nix on the runner."""
    with runner_with_nix(lab) as runner:
        yield f"{runner.folder}/bin"


def need_input(clone: Path, tmp_path: Path, programs: str) -> None:
    """Make the flake of a clone read a file of an input that is on the runner alone."""
    private = tmp_path / "private"
    private.mkdir()
    git(private, "init", "--quiet", "--initial-branch=main")
    (private / "word").write_text("private")
    git(private, "add", "word")
    git(private, "commit", "--quiet", "--message=Private")
    flake = clone / "flake.nix"
    text = flake.read_text(encoding="utf-8")
    for old, new in (
        ("    { self }:\n", "    { self, private }:\n"),
        ("  outputs =\n", f'  inputs.private = {{ url = "git+file://{private}"; flake = false; }};\n\n  outputs =\n'),
        ("revision = self.rev", 'revision = builtins.seq (builtins.readFile "${private}/word") self.rev'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    flake.write_text(text, encoding="utf-8")
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["nix", "flake", "lock", str(clone)], env=environ, check=True, capture_output=True, timeout=60)
    git(clone, "add", "flake.nix", "flake.lock")
    git(clone, "commit", "--quiet", "--message=With an input")


def test_an_input_that_the_runner_alone_can_fetch_is_sent(
    lab: Lab, clone: Path, tmp_path: Path, programs: str
) -> None:
    """The host builds with it and fetches nothing. Without nix on the runner, the run is refused."""
    need_input(clone, tmp_path, programs)
    refused = deploy(lab, tmp_path, "--sha=mine", f"--source={clone}")
    assert refused.status == 4, refused.output
    assert (
        f"the input private of flake.lock, which is git+file://{tmp_path}/private, and nix is not installed"
        in " ".join(refused.output.split())
    )
    ended = deploy(lab, tmp_path, "--sha=mine", f"--source={clone}", path=programs)
    assert ended.status == 0, ended.output
    notes = str(ended.record.host("a").notes)
    assert "The flake's inputs: 1 of 1 store paths were copied from the runner" in notes
    again = deploy(lab, tmp_path, "--sha=mine", f"--source={clone}", "--plan", path=programs)
    assert again.status == 0, again.output
    assert "All inputs of the flake were on the host already" in str(again.record.host("a").notes)
