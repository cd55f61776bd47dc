"""Every benchmark still runs, and every contender in it still does its work."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bench.__main__ import NAMES
from tests.bench.smallest import smallest

ON_HOSTS = ("rollback", "ssm", "deploy", "verify", "fleet", "boots", "steady")
"""Benchmarks that make lab hosts, each its own; those that wait the longest first."""
IN_A_BROWSER = ("pages",)
"""Benchmarks that need one: `tests/browser/test_bench.py`."""


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


@pytest.mark.parametrize("name", sorted({*NAMES} - {*ON_HOSTS, *IN_A_BROWSER}))
@pytest.mark.long
def test_benchmark_without_hosts_runs(name: str) -> None:
    """One round of what needs neither host nor browser ends well."""
    done = smallest(name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
