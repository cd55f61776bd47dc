"""Tests are marked by what they need."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
STARTS_A_LAB = [path for path in sorted(TESTS.rglob("test_*.py")) if "Lab.up(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", STARTS_A_LAB, ids=lambda path: str(path.relative_to(TESTS)))
def test_tests_that_boot_hosts_are_marked(path: Path) -> None:
    """`pytest -m "not lab"` needs neither root nor Linux."""
    assert "pytest.mark.lab" in path.read_text(encoding="utf-8")
