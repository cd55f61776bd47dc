"""What a target file declares is read as numbers and times."""

from __future__ import annotations

import datetime as dt

import pytest

from switchproof.deploy.target.declared import CutoverTerms, DeclaredFile


@pytest.mark.parametrize(("mode", "bits"), [("0600", 0o600), ("644", 0o644), ("4755", 0o4755), ("0010", 0o010)])
def test_mode_of_a_file_is_octal(mode: str, bits: int) -> None:
    """Digits are those of chmod, with a leading zero or without."""
    assert DeclaredFile(path="/etc/x", mode=mode).bits == bits


@pytest.mark.parametrize(
    ("age", "longest"),
    [
        ("90m", dt.timedelta(minutes=90)),
        ("36h", dt.timedelta(hours=36)),
        ("10d", dt.timedelta(days=10)),
        ("2w", dt.timedelta(weeks=2)),
    ],
)
def test_age_of_a_proof_is_a_number_and_a_unit(age: str, longest: dt.timedelta) -> None:
    """All digits count, and the letter behind them is the unit."""
    assert CutoverTerms(max_age=age).longest == longest
