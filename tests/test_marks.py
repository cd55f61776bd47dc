"""Tests are marked by what they need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
USES_A_LAB = re.compile(r"\bLab\.up\(|: Lab(Host)?\b[^\n]*\) -> ")
"""A lab of the test's own, or the fixture of one."""
NEEDS_A_LAB = [
    path for path in sorted(TESTS.rglob("test_*.py")) if USES_A_LAB.search(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("path", NEEDS_A_LAB, ids=lambda path: str(path.relative_to(TESTS)))
def test_tests_that_boot_hosts_are_marked(path: Path) -> None:
    """`pytest -m "not lab"` needs neither root nor Linux."""
    assert "pytest.mark.lab" in path.read_text(encoding="utf-8")
