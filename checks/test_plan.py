"""A plan: what a deploy would change, while nothing changes."""

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.run.results import Differences

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("plan")]


def test_the_system_can_be_built_and_compared(differences: Differences, show: Show) -> None:
    """The system of the commit can be built, and what it would change is known.

    What cannot be built cannot be deployed either, and here nobody is waiting for it.

    Try: read the log for its first error, mend that, and plan again.
    """
    show(
        expected=differences.expected,
        seen=f"runs {differences.running}\n{differences.closure}\n{differences.units}".strip(),
        command=f"nix store diff-closures {differences.running} {differences.expected}",
    )
    assert differences.expected, "the host did not say which system it would switch to"
