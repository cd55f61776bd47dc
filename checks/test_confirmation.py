"""Clause `converge`, at its very end: the host keeps the system that it was converged to.

Only this check confirms a system. Until it does, the host goes back by itself.
"""

import pytest

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.run.results import Confirmation

pytestmark = [pytest.mark.clause("converge"), pytest.mark.when("keep"), pytest.mark.last]


def test_the_host_keeps_the_system(confirmation: Confirmation, show: Show) -> None:
    """The host keeps the system: confirmed over a new connection after all checks passed.

    The confirmation proves that the new system still accepts connections. Without it the host goes back by itself,
    because a system that cannot be reached any more must not stay.

    Try: deploy again; if the checks take longer than the host waits, increase rollback.confirm_s in the target file.
    """
    seen = f"{confirmation.outcome} {confirmation.detail}".strip()
    show(expected="ok", seen=seen, command="host-switch.sh confirm")
    if confirmation.outcome == "busy":
        raise Inconclusive(f"the host cannot keep the system while it is still switching: {confirmation.detail}")
    assert confirmation.outcome not in {"late", "booted"}, (
        f"the host has decided to go back by itself: {confirmation.detail}; "
        "if the checks take longer than the host waits, raise rollback.confirm_s in the target file"
    )
    assert confirmation.outcome == "ok", (
        f"the host refused to keep the system ({confirmation.outcome}): {confirmation.detail}"
    )


def test_the_host_boots_the_system_that_it_keeps(confirmation: Confirmation, show: Show) -> None:
    """After the confirmation, the boot loader starts the system that the host keeps.

    The host reports that it made the system its boot default; only what the boot loader reads proves it.

    Try: make sure that /boot is mounted, writable and not full, then deploy again.
    """
    boot = confirmation.boot
    show(
        expected=confirmation.expected,
        seen=str(boot or "not checked, because the host does not keep the system"),
        command="bootctl list; cat /boot/loader/loader.conf /boot/grub/grub.cfg",
    )
    if boot is None or boot.doubt:
        raise Inconclusive(
            f"it is unknown which system the host boots: {boot.doubt if boot else confirmation.detail}"
        )
    problem = boot.problem(confirmation.expected) if boot.loader != "none" else ""
    assert not problem, f"{problem}; the host confirmed {confirmation.expected}"
