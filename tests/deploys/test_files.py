"""Deploys of systems that a Nix file of the repository holds, instead of a flake."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, HostState, Verdict
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import Ended, session, target_file
from tests.labs import own

pytestmark = [pytest.mark.lab, pytest.mark.long]

_NOBODY = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
CHECKOUT = "/opt/choiros/workspace"
LINKS = "readlink -f /run/current-system /nix/var/nix/profiles/system"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two hosts. On the first one other configurations lie in wait: a flake in /etc/nixos, and a channel."""
    with Lab.up(("a", "b"), name=own("files"), runtime="netns") as lab:
        trap = "mkdir -p /etc/nixos /root/.nix-defexpr/channels/nixpkgs; echo '{ }' >/etc/nixos/flake.nix"
        channel = "echo 'throw \"the channel was used\"' >/root/.nix-defexpr/channels/nixpkgs/default.nix"
        lab.hosts["a"].run(["sh", "-c", f"{trap}; {channel}"], timeout_s=30)
        yield lab


def run(
    lab: Lab,
    folder: Path,
    *arguments: str,
    attr: str = "hosts.a",
    file: str = "default.nix",
    hosts: str = "a",
) -> Ended:
    """Run to the end with an attribute of a file of the repository as the system of each host."""
    targets = target_file(folder, hosts.split())
    text = targets.read_text(encoding="utf-8").replace('flake_attr = "choiros-a"', f'attr = "{attr}"')
    targets.write_text(text.replace("[repository]\n", f'[repository]\nfile = "{file}"\n', 1), encoding="utf-8")
    return session("--provider=lab", f"--targets={targets}", *arguments, runs=folder / "runs", lab=lab)


def inside(lab: Lab, script: str) -> str:
    return lab.hosts["a"].run(["sh", "-c", script], timeout_s=30).stdout.strip()


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **_NOBODY}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_file_of_exactly_the_commit_is_deployed_and_proven(lab: Lab, tmp_path: Path) -> None:
    """Neither the working tree of the clone nor /etc/nixos counts; the host notes the commit for later audits."""
    inside(lab, f"[ -e {CHECKOUT} ] || git init --quiet {CHECKOUT}; echo broken >{CHECKOUT}/default.nix")
    ended = run(lab, tmp_path, "--sha=from-file")
    assert ended.status == 0, ended.output
    after = ended.record.host("a").after
    assert after is not None
    assert after.revision == ended.record.revision.sha
    runs, profile = inside(lab, LINKS).split()
    assert runs == profile == after.toplevel
    assert inside(lab, "cat /run/current-system/configuration-revision") == "none", "the flake would name its commit"
    audit = run(lab, tmp_path, "--audit", f"--sha={ended.record.revision.sha}")
    assert audit.status == 0, audit.output


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            {"attr": "hosts.none"},
            "attribute 'none' in selection path 'hosts.none.config",
        ),
        ({"file": "nix/none.nix"}, "/nix/none.nix' does not exist"),
        ({"attr": "hosts.unpinned"}, "file 'nixpkgs' was not found in the Nix search path"),
    ],
)
def test_what_cannot_be_evaluated_touches_nothing(lab: Lab, tmp_path: Path, wrong: dict[str, str], says: str) -> None:
    """A wrong attribute or file, and a channel that is not pinned, fail clause `converge` with nix's own words."""
    were = inside(lab, LINKS)
    ended = run(lab, tmp_path, "--sha=from-file", **wrong)
    assert ended.status == 1, ended.output
    assert ended.clause("a", Clause.CONVERGE).verdict is Verdict.FAILED
    (failed,) = ended.failed("a")
    assert failed.message.startswith("the system could not be evaluated; the host was not touched")
    assert says in ended.evidence("a")["converge.log"]
    assert ended.record.host("a").state is HostState.UNCHANGED
    assert inside(lab, LINKS) == were


def test_one_that_fails_goes_back(lab: Lab, tmp_path: Path) -> None:
    """The host runs again exactly what it ran."""
    git(tmp_path, "clone", "--quiet", str(lab.repository), "clone")
    clone = tmp_path / "clone"
    git(clone, "checkout", "--quiet", "-b", "file-broken", "from-file")
    start = clone / "programs/hypervisor-start.sh"
    start.write_text(start.read_text(encoding="utf-8").replace('echo "hypervisor', 'exit 1\necho "hypervisor', 1))
    git(clone, "commit", "--quiet", "--all", "--message=Do not start")
    git(clone, "push", "--quiet", "origin", "file-broken")
    were = inside(lab, LINKS)
    ended = run(lab, tmp_path, "--sha=file-broken")
    assert ended.status == 1, ended.output
    assert ended.record.host("a").state is HostState.ROLLED_BACK
    assert ended.clause("a", Clause.HYPERVISOR).verdict is Verdict.FAILED
    assert inside(lab, LINKS) == were


def test_hosts_that_build_different_systems_from_one_commit_are_warned_about(lab: Lab, tmp_path: Path) -> None:
    """A file may read what the host has; the run passes, and the record names both systems and the nix."""
    git(tmp_path, "clone", "--quiet", "--branch=from-file", str(lab.repository), "clone")
    clone, own_name = tmp_path / "clone", 'settings // { version = "x-${builtins.readFile /var/tmp/name}"; }'
    file = clone / "default.nix"
    text = file.read_text(encoding="utf-8").replace("inherit name settings;", f"inherit name; settings = {own_name};")
    file.write_text(text, encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message=Read what the host has")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/impure")
    for name, host in lab.hosts.items():
        (host.root / "var/tmp/name").write_text(name, encoding="utf-8")
    differing = run(lab, tmp_path, "--sha=impure", hosts="a b")
    assert differing.status == 0, differing.output
    a, b = (differing.record.host(name) for name in ("a", "b"))
    assert a.after
    assert b.after
    (warning,) = [text for text in b.warnings if "from the same commit" in text]
    assert warning.startswith(
        f"The host built {b.after.toplevel}, but a built {a.after.toplevel} from the same commit"
    )
    assert "something outside the commit changes the build" in " ".join(differing.output.split())
    agreeing = run(lab, tmp_path, "--sha=from-file", hosts="a b")
    assert agreeing.status == 0, agreeing.output
    (note,) = [
        text for text in agreeing.record.notes if text.startswith("Hosts built their own systems: a, b with nix (")
    ]
    assert note.endswith("Hosts of one configuration built one system.")


def test_what_a_file_pins_is_fetched_and_another_content_touches_nothing(lab: Lab, tmp_path: Path) -> None:
    """A pin as npins writes it: a repository, a commit, and the hash of its files."""
    git(tmp_path, "clone", "--quiet", "--branch=from-file", str(lab.repository), "clone")
    clone, pinned = tmp_path / "clone", lab.hosts["a"].root / "var/tmp/pinned"
    rev = git(clone, "rev-parse", "HEAD")
    git(clone, "worktree", "add", "--quiet", str(pinned), rev)
    (pinned / ".git").unlink()
    good = inside(lab, "nix --extra-experimental-features nix-command hash path --sri /var/tmp/pinned")
    pin = f'{{ url = "{lab.repository_url}"; rev = "{rev}"; narHash = "{good}"; }}'
    (clone / "default.nix").write_text(f'import (builtins.fetchGit {pin} + "/default.nix")\n', encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message=Pin the systems")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/pinned")
    ended = run(lab, tmp_path, "--sha=pinned")
    assert ended.status == 0, ended.output
    were = inside(lab, LINKS)
    other = pin.replace(good, f"sha256-{'A' * 43}=")
    (clone / "default.nix").write_text(f'import (builtins.fetchGit {other} + "/default.nix")\n', encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message=Pin other files")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/pinned")
    ended = run(lab, tmp_path, "--sha=pinned")
    assert ended.status == 1, ended.output
    assert "NAR hash mismatch" in ended.evidence("a")["converge.log"]
    assert ended.record.host("a").state is HostState.UNCHANGED
    assert inside(lab, LINKS) == were
