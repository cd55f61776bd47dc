"""A plan: what a deploy would change, while nothing changes."""

import pytest

from checks.fixtures import Show
from deploy.journey import Differences

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("plan")]


def test_the_system_can_be_built_and_compared(differences: Differences, show: Show) -> None:
    """The system of the commit can be built, and what it would change is known."""
    show(
        expected=differences.expected,
        seen=f"runs {differences.running}\n{differences.closure}\n{differences.units}".strip(),
    )
    assert differences.expected, "the host did not say which system it would switch to"
