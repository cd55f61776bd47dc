"""Clause `converge`: the host boots the system that the run expects, and is not about to return to another."""

import pytest

from switchproof.checks.fixtures import Booting, Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.observation import Observation

pytestmark = pytest.mark.clause("converge")


@pytest.mark.when("audit")
def test_no_return_is_pending(observation: Observation, show: Show) -> None:
    """The host is not waiting to return to an earlier system by itself.

    The host undoes an unconfirmed switch by itself, so the system that runs now would not stay.

    Try: wait until that run has ended or the host has gone back, and audit again; until then no other run may
    change the host.
    """
    pending = observation.pending
    show(
        expected="no switch is waiting for a confirmation",
        seen=str(pending or "none is waiting"),
        command="cat /var/lib/switchproof/pending",
    )
    assert pending is None, str(pending)


def test_the_host_boots_what_the_run_says(booting: Booting, show: Show) -> None:
    """The boot loader starts the system that the run expects.

    A deploy that the next power cut undoes has not worked. Before a deploy is confirmed, a reboot returns to the
    earlier system on purpose; a separate check covers what boots after the confirmation.

    Try: make sure that /boot is mounted, writable and not full, then deploy again.
    """
    boot = booting.boot
    show(
        expected=f"{booting.expected} ({booting.why})",
        seen=str(boot),
        command="bootctl list; cat /boot/loader/loader.conf /boot/grub/grub.cfg",
    )
    if boot.doubt:
        raise Inconclusive(f"it is unknown which system the host boots: {boot.doubt}")
    problem = boot.problem(booting.expected) if boot.loader != "none" else ""
    assert not problem, f"{problem}: {booting.why}"
