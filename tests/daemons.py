"""A Nix daemon on a lab host, whose hosts have none of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from switchproof.deploy.providers.lab.host import LabHost

_START = """
systemd-run --quiet --unit=nix-daemon --property=Restart=always nix-daemon
until [ -S /nix/var/nix/daemon-socket/socket ]; do sleep 0.05; done
"""
_STOP = """
systemctl stop nix-daemon.service 2>/dev/null
rm -rf /nix/var/nix/daemon-socket
"""


@contextmanager
def nix_daemon(machine: LabHost) -> Iterator[None]:
    """Let users of a host build, for as long as the block lasts."""
    done = machine.run(["sh", "-ec", _START], timeout_s=30)
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        machine.run(["sh", "-c", _STOP], timeout_s=30)
