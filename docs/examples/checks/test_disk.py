"""There is room on the host for what comes next."""

import pytest
from testinfra.host import Host

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive

LEAST_BYTES = 200_000_000
"""Room for the next system and its logs."""


@pytest.mark.clause("converge", severity="low")
@pytest.mark.when("deploy", "audit")
@pytest.mark.parametrize("folder", ["/nix/store", "/var/log"])
def test_there_is_room(host: Host, show: Show, folder: str) -> None:
    """There is room on the file system for the next deploy.

    A full disk breaks a switch half-way, and logs with it. A rollback needs no room, and is not held up for it.

    Try: nix-collect-garbage --delete-older-than 30d, and journalctl --vacuum-size=500M.
    """
    done = host.run("df --block-size=1 --output=avail %s", folder)
    if done.failed:
        raise Inconclusive(f"df says nothing of {folder}: {done.stderr.strip()}")
    left = int(done.stdout.split()[-1])
    show(expected=f"{LEAST_BYTES:,} bytes at least", seen=f"{left:,} bytes", command=f"df {folder}")
    assert left >= LEAST_BYTES, f"{folder} has {left:,} bytes left, {LEAST_BYTES:,} are needed"
