"""The benchmark that needs a browser still runs."""

from __future__ import annotations

import pytest

from tests.bench.smallest import smallest


@pytest.mark.long
def test_benchmark_of_pages_runs() -> None:
    """One round of small pages ends well."""
    done = smallest("pages")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout
