"""Clause `converge`: what the host boots is what the run says it is, and it stays so."""

import pytest

from switchproof.checks.fixtures import Booting, Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.observation import Observation

pytestmark = pytest.mark.clause("converge")


def test_the_host_boots_what_the_run_says(booting: Booting, show: Show) -> None:
    """The boot loader starts the system that the run says it does.

    A system that works until the next power cut does not work. Before a deploy is confirmed, a reboot leads to the
    earlier system on purpose; what boots after the confirmation has a check of its own.

    Try: see whether /boot is mounted, writable and not full, then deploy again.
    """
    boot = booting.boot
    show(
        expected=f"{booting.expected} ({booting.why})",
        seen=str(boot),
        command="bootctl list; cat /boot/loader/loader.conf /boot/grub/grub.cfg",
    )
    if boot.doubt:
        raise Inconclusive(f"it is not known what the host boots: {boot.doubt}")
    problem = boot.problem(booting.expected) if boot.loader != "none" else ""
    assert not problem, f"{problem}: {booting.why}"


@pytest.mark.when("audit")
def test_no_return_is_pending(observation: Observation, show: Show) -> None:
    """The host does not wait to return to an earlier system by itself.

    A switch that nobody has confirmed is undone by the host itself; its system is not there to stay.

    Try: wait for the run to end and audit again. After a killed run, let the host return, then deploy again.
    """
    pending = observation.pending
    show(
        expected="no switch waits for a confirmation",
        seen=str(pending or "none does"),
        command="cat /var/lib/switchproof/pending",
    )
    assert pending is None, str(pending)
