"""Every benchmark still runs, and every contender in it still does its work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.__main__ import NAMES
from bench.result import ROOT
from switchproof.deploy.providers.lab.lab import Lab
from tests.labs import own

LONGEST_S = 300.0
ON_ONE_HOST = ("verify", "deploy", "rollback", "steady")
"""Benchmarks that share a host of the shape ovh, one after the other."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host."""
    with Lab.up(("a",), name=own("benches"), runtime="netns") as lab:
        yield lab


def smallest(name: str, *options: str) -> None:
    """Run a benchmark for one round on its smallest ground."""
    command = [sys.executable, "-m", f"bench.{name}", "--smallest", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.lab
@pytest.mark.parametrize("name", ON_ONE_HOST)
def test_benchmark_on_a_host_runs_and_every_contender_is_right(lab: Lab, name: str) -> None:
    """One round on one host ends well, which it does only if everybody got everything right there."""
    smallest(name, f"--lab={lab.name}")


@pytest.mark.lab
@pytest.mark.parametrize("name", ["ssm", "boots"])
def test_benchmark_with_hosts_of_its_own_runs(name: str) -> None:
    """One round through SSM, and one start of both microVMs, end well."""
    smallest(name)


@pytest.mark.parametrize("name", sorted({*NAMES} - {*ON_ONE_HOST, "ssm", "boots"}))
def test_benchmark_without_hosts_runs(name: str) -> None:
    """One round of what needs no host ends well."""
    smallest(name)
