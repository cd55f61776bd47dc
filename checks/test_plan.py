"""A plan: what a deploy would change, while nothing changes."""

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.observe.planned import Differences

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("plan")]


def test_the_system_can_be_built_and_compared(differences: Differences, show: Show) -> None:
    """The commit's system can be built and compared with the running system.

    A system that cannot be built cannot be deployed; a plan finds that out in time.

    Try: find the first error in the log, fix it, and plan again.
    """
    show(
        expected=differences.expected,
        seen=differences.describe(),
        command=f"nix store diff-closures {differences.running} {differences.expected}",
    )
    assert differences.expected, "the host did not report which system it would switch to"
