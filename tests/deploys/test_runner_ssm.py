"""Systems that the runner builds for a host through SSM: small ones are sent, large ones come from a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.contract import HostState
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import Ended, session, target_file
from tests.labs import own
from tests.runners import Runner, runner_with_nix

pytestmark = [pytest.mark.lab, pytest.mark.long]

SYSTEM = "nixosConfigurations.choiros-aws-a.config.system.build.toplevel"
LONGEST_S = 180.0
LARGE = 2_000_000
"""Bytes of a file that cannot be packed, and is more than what goes through SSM."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host."""
    with Lab.up(("a",), name=own("runner-ssm"), shape="aws", runtime="netns") as lab:
        yield lab


@pytest.fixture(scope="module")
def runner(lab: Lab) -> Iterator[Runner]:
    """Programs that run the image's nix here."""
    with runner_with_nix(lab) as runner:
        yield runner


@pytest.fixture
def large(lab: Lab, tmp_path: Path) -> Path:
    """A clone whose system has a large file, in a commit on the branch `large` of the lab's repository."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--branch=main", str(lab.repository), str(clone)], check=True)
    (clone / "large").write_bytes(os.urandom(LARGE))
    unit = clone / "modules" / "hypervisor.nix"
    text = unit.read_text(encoding="utf-8")
    assert text.count("RestartSec=1\n") == 1
    unit.write_text(text.replace("RestartSec=1\n", "RestartSec=1\n    Environment=LARGE=${../large}\n"), "utf-8")
    commit = "git add -A && git -c user.name=x -c user.email=x commit -qm Large"
    script = f"{commit} && git push -q origin +HEAD:refs/heads/large"
    subprocess.run(["sh", "-ec", script], cwd=clone, check=True)
    return clone


@pytest.fixture
def cache(lab: Lab, runner: Runner, large: Path, tmp_path: Path) -> Iterator[str]:
    """A binary cache with that system on the host, which trusts its key; its URL there."""
    for command in (
        f"nix-store --generate-binary-cache-key own {tmp_path}/secret {tmp_path}/public",
        f"nix copy --to file://{tmp_path}/cache?compression=none&secret-key={tmp_path}/secret git+file://{large}#{SYSTEM}",
    ):
        subprocess.run(command.split(), env=os.environ | path_with(runner), check=True, timeout=LONGEST_S)
    host = lab.hosts["a"]
    configuration, kept = host.root / "etc/nix/nix.conf", (host.root / "etc/nix/nix.conf").read_text(encoding="utf-8")
    public = (tmp_path / "public").read_text(encoding="utf-8")
    shutil.copytree(tmp_path / "cache", host.root / "srv/cache")
    configuration.write_text(f"{kept}\ntrusted-public-keys = {public}\n", encoding="utf-8")
    yield "file:///srv/cache"
    configuration.write_text(kept, encoding="utf-8")
    shutil.rmtree(host.root / "srv/cache")


def path_with(runner: Runner) -> dict[str, str]:
    return {"PATH": f"{runner.folder}/bin:{os.environ['PATH']}"}


def deploy(lab: Lab, runner: Runner, folder: Path, substituter: str = "") -> Ended:
    """Deploy the large system to the host."""
    folder.mkdir()
    targets = target_file(folder, ["a"], shape="aws")
    build = f'[build]\non = "runner"\nrepository = "{runner.repository}"\n'
    build += f'substituter = "{substituter}"\n' if substituter else ""
    targets.write_text(targets.read_text(encoding="utf-8") + build, encoding="utf-8")
    asked = ("--provider=lab", "--shape=aws", f"--targets={targets}", "--sha=large")
    return session(*asked, runs=folder / "runs", lab=lab, environ=path_with(runner))


def test_a_system_that_is_too_large_for_ssm_comes_from_a_cache(
    lab: Lab, runner: Runner, cache: str, tmp_path: Path
) -> None:
    """Without one nothing is switched, and the sentence names the limit."""
    without = deploy(lab, runner, tmp_path / "without")
    assert without.status == 11, without.output
    assert "more than 1.0 MB, packed, would have to be sent through SSM" in " ".join(without.output.split())
    assert without.record.host("a").state is HostState.UNCHANGED
    ended = deploy(lab, runner, tmp_path / "with", cache)
    assert ended.status == 0, ended.output
    assert f"missing store paths came from {cache}" in str(ended.record.host("a").notes)
