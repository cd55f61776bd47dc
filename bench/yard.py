"""Commits of the sample that nobody has built, and the nix on this machine that builds them."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from switchproof.deploy.providers.lab.lab import Lab
from tests.runners import runner_with_nix

UNIT = ("modules/hypervisor.nix", "RestartSec=1\n")
"""The file and the line by which changed commits differ from the base: one unit."""

BASE = "main"
ATTRIBUTE = "nixosConfigurations.choiros-a.config.system.build.toplevel"
_BUILD_S = 300.0


class Yard:
    """A place on this machine where contenders build, with what the base needs in its store.

    Args:
        lab: The hosts fetch from its repository.
        repository: Its clone, in the folder that this machine and its nix share.
        programs: The folder with nix.
        store: The folder that nix sees as `/nix`.
    """

    def __init__(self, lab: Lab, repository: Path, programs: Path, store: Path) -> None:
        self._lab, self.repository, self.store = lab, repository, store
        self.environ = {"PATH": f"{programs}:{os.environ['PATH']}"}

    def fresh(self) -> str:
        """Commit a change of one unit that no store has, and return the commit."""
        commit = change_unit(
            self._lab, f"RestartSec=2\n    Environment=FRESH={secrets.token_hex(8)}\n", "bench-fresh"
        )
        self.fetch()
        return commit

    def fetch(self) -> None:
        """Fetch what is new in the lab's repository."""
        git("-C", str(self.repository), "fetch", "--quiet", "origin", "+refs/heads/*:refs/heads/*")

    def flake(self, commit: str) -> str:
        """Return the flake reference of a commit for nix on this machine."""
        return f"git+file://{self.repository}?rev={commit}#{ATTRIBUTE}"

    def system(self, commit: str) -> str:
        """Return the system of a commit, which is evaluated for that."""
        return self._nix("eval", "--raw", f"{self.flake(commit)}.outPath")

    def build(self, commit: str) -> None:
        """Build a commit."""
        self._nix("build", "--no-link", self.flake(commit))

    def _nix(self, *words: str) -> str:
        command: Sequence[str] = ["nix", *words]
        environ = os.environ | self.environ
        done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=_BUILD_S)
        return done.stdout.strip()


@contextmanager
def yard(lab: Lab) -> Iterator[Yard]:
    """Make a yard in which the base of a lab's repository is built."""
    with runner_with_nix(lab) as runner, tempfile.TemporaryDirectory(prefix="switchproof-yard-") as folder:
        clone = Path(folder, "sample.git")
        git("clone", "--quiet", "--bare", str(lab.repository), str(clone))
        made = Yard(lab, clone, runner.folder / "bin", runner.folder / "nix")
        made.build(commit_of(lab, BASE))
        yield made


def commit_of(lab: Lab, revision: str) -> str:
    """Return the commit of a revision of a lab's repository."""
    return git("-C", str(lab.repository), "rev-parse", f"{revision}^{{commit}}")


def change_unit(lab: Lab, line: str, branch: str) -> str:
    """Commit another line of one unit of the base to a branch of a lab's repository, and return the commit."""
    name, old = UNIT
    with tempfile.TemporaryDirectory() as folder:
        git("clone", "--quiet", f"--branch={BASE}", str(lab.repository), folder)
        path = Path(folder, name)
        text = path.read_text("utf-8")
        if text.count(old) != 1:
            raise RuntimeError(f"{name} has {old!r} {text.count(old)} times, not once")
        path.write_text(text.replace(old, line), "utf-8")
        who = ["-c", "user.name=bench", "-c", "user.email=bench@choiros.example"]
        git("-C", folder, *who, "commit", "--quiet", "--all", "--message=Restart after two seconds")
        git("-C", folder, "push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
    return commit_of(lab, f"refs/heads/{branch}")


def git(*words: str) -> str:
    """Run git, and return its output."""
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
