"""What a run tells of a commit has bounds, and a rollback's value is a number or a commit."""

from __future__ import annotations

import pytest

from switchproof.deploy.observe.revision import is_generation, read_resolution
from tests.answers import SHA
from tests.observe.test_revision import told


def test_author_s_name_is_cut() -> None:
    """A commit may have any name for its author; the first two hundred characters are kept."""
    found = read_resolution(told(outcome="ok", sha=SHA, subject="x", author="a" * 500), SHA)
    assert found.author == "a" * 200


@pytest.mark.parametrize(
    ("asked", "number"), [("0", True), ("123456", True), ("1234567", False), ("", False), ("7a", False), (SHA, False)]
)
def test_up_to_six_digits_are_a_generation(asked: str, number: bool) -> None:
    """What has more digits may be a commit, which is never written with fewer than seven."""
    assert is_generation(asked) is number
