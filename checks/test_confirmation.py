"""Clause `converge`, at its very end: the host keeps the system that it was converged to.

Until then the host goes back by itself, as nothing but this check confirms a system.
"""

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.run.results import Confirmation

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("keep"), pytest.mark.last]


def test_the_host_keeps_the_system(confirmation: Confirmation, show: Show) -> None:
    """The host keeps the system: confirmed over a new connection after every check passed.

    Until a host is told to keep it over a way that the new system itself lets in, it goes back by itself: a system
    that nobody can reach any more must not stay.

    Try: deploy again; if the checks take longer than the host waits, raise rollback.confirm_s in the target file.
    """
    seen = f"{confirmation.outcome} {confirmation.detail}".strip()
    show(expected="ok", seen=seen, command="host-switch.sh confirm")
    if confirmation.outcome == "busy":
        raise Inconclusive(f"the host cannot keep the system while it is still switching: {confirmation.detail}")
    assert confirmation.outcome not in {"late", "booted"}, (
        f"the host has decided to go back by itself: {confirmation.detail}; "
        "if the checks need longer than it waits, give it more time with rollback.confirm_s"
    )
    assert confirmation.outcome == "ok", f"the host refuses ({confirmation.outcome}): {confirmation.detail}"


def test_the_host_boots_the_system_that_it_keeps(confirmation: Confirmation, show: Show) -> None:
    """After the confirmation, the boot loader starts the system that the host keeps.

    The host says that it has made the system its boot default; only what the boot loader reads proves it.

    Try: see whether /boot is mounted, writable and not full, then deploy again.
    """
    boot = confirmation.boot
    show(
        expected=confirmation.expected,
        seen=str(boot or "not asked, as the host does not keep the system"),
        command="bootctl list; cat /boot/loader/loader.conf /boot/grub/grub.cfg",
    )
    if boot is None or boot.doubt:
        raise Inconclusive(f"it is not known what the host boots: {boot.doubt if boot else confirmation.detail}")
    problem = boot.problem(confirmation.expected) if boot.loader != "none" else ""
    assert not problem, f"{problem}; the host has confirmed {confirmation.expected}"
