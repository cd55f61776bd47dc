"""What a host lacks is told before a deploy begins anything there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import HEALTH, session, target_file
from tests.labs import own

pytestmark = [pytest.mark.lab, pytest.mark.long]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host."""
    with Lab.up(("a",), name=own("preflight"), runtime="netns") as lab:
        yield lab


@pytest.mark.parametrize("mode", ["deploy", "plan"])
def test_a_host_without_room_is_refused_with_all_that_it_lacks(lab: Lab, tmp_path: Path, mode: str) -> None:
    """One sentence names the places; the host builds nothing, runs what it ran and is free again."""
    much = "".join(f"{what}_mib = 1000000000\n" for what in ("store", "var", "memory"))
    limits = f'[preflight]\nrefuse = ["store", "var", "memory"]\n{much}'
    targets = target_file(tmp_path, ["a"], f"{HEALTH}\n{limits}")
    words = ["--plan"] if mode == "plan" else []
    host = lab.hosts["a"]
    before = host.run(["readlink", "/run/current-system"], timeout_s=30).stdout
    ended = session("--provider=lab", f"--targets={targets}", "--sha=main", *words, runs=tmp_path / "runs", lab=lab)
    assert ended.status == 4, ended.output
    for lack in ("MiB are free for /nix/store", "MiB are free for /var/lib", "MiB of memory and swap are available"):
        assert lack in " ".join(ended.output.split())
    assert "nothing was touched: a host cannot be deployed to" in ended.output
    assert host.run(["readlink", "/run/current-system"], timeout_s=30).stdout == before
    assert host.run(["sh", "-c", "ls -d /run/switchproof/lock"], timeout_s=30).returncode != 0
