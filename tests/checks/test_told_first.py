"""What came first is what a message begins with: a reboot, a return, and only then what is seen because of it."""

from __future__ import annotations

import pytest

from switchproof.checks import test_converge
from switchproof.checks.fixtures import Shown
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.observe.observation import read_observation
from tests.answers import TOPLEVEL, frame

NEW = TOPLEVEL.replace("9z8x", "0q1w")
REBOOT = "a rebooted at 2026-11-26T12:00:00Z"


def ended(*, finished: bool) -> Convergence:
    return Convergence(finished, 0 if finished else None, "switch", NEW, "", "", "", "evidence/a/converge.log")


def test_a_reboot_comes_before_the_system_that_runs_after_it() -> None:
    """A host that lost power in its switch is told to have rebooted, before which system it came up with."""
    seen = read_observation(frame({}))
    with pytest.raises(AssertionError, match=f"^{REBOOT}, and runs {TOPLEVEL}; expected {NEW}"):
        test_converge.test_the_running_system_is_the_expected_one(
            seen, NEW, "", REBOOT, "", ended(finished=True), Shown()
        )
    with pytest.raises(AssertionError, match=f"^{REBOOT} before the switch had ended; .*journalctl -b -1"):
        test_converge.test_the_switch_ended_well(ended(finished=False), REBOOT, Shown())


def test_a_return_is_told_as_what_follows_from_the_switch() -> None:
    """After a switch that did not end well, the earlier system is a consequence, and no failure of its own."""
    seen = read_observation(frame({}))
    went_back = "The host went back by itself."
    with pytest.raises(Inconclusive, match=r"^The host went back by itself\. Look first at how the switch ended"):
        test_converge.test_the_running_system_is_the_expected_one(
            seen, NEW, "", "", went_back, ended(finished=False), Shown()
        )
