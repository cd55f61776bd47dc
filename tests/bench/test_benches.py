"""Every benchmark still runs, and every contender in it still does its work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bench.__main__ import NAMES
from bench.result import ROOT

LONGEST_S = 300.0
ON_HOSTS = ("rollback", "ssm", "deploy", "verify", "fleet", "boots", "steady")
"""Benchmarks that make lab hosts, each its own; those that wait the longest first."""


def smallest(name: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark for one round on its smallest ground."""
    command = [sys.executable, "-m", f"bench.{name}", "--smallest"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """The benchmarks on hosts that the tests are about, three at a time: they mostly wait."""
    wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(smallest, name) for name in ON_HOSTS if name in wanted}


@pytest.mark.lab
@pytest.mark.parametrize("name", ON_HOSTS)
@pytest.mark.long
def test_benchmark_on_hosts_runs_and_every_contender_is_right(
    running: dict[str, Future[subprocess.CompletedProcess[str]]], name: str
) -> None:
    """One round on one host ends well, which it does only if everybody got everything right there."""
    done = running[name].result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


@pytest.mark.parametrize("name", sorted({*NAMES} - {*ON_HOSTS}))
@pytest.mark.long
def test_benchmark_without_hosts_runs(name: str) -> None:
    """One round of what needs no host ends well."""
    done = smallest(name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
