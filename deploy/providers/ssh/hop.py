"""One machine on the way to a host, with everything that its connection needs."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from switchproof.deploy.providers.ssh.known_hosts import Pins


class Hop(msgspec.Struct, frozen=True):
    """A machine to connect to.

    Attributes:
        host: The host of the target file at the end of the way.
        address: The machine's name or address.
        port: Its port.
        user: The login user.
        pins: The host keys that it may present.
        pinned_in: The place where a user can pin its key.
        identity_files: Keys to offer.
        certificate_files: Certificates to offer in addition to those beside a key.
        identities_only: Whether the agent may offer only keys that files name.
        agent: The agent's socket; empty for no agent.
        family: The address family to use.
        algorithms: Algorithms to offer in place of the default, by directive.
    """

    host: str
    address: str
    port: int
    user: str
    pins: Pins
    pinned_in: str
    identity_files: tuple[Path, ...] = ()
    certificate_files: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str = ""
    family: socket.AddressFamily = socket.AF_UNSPEC
    algorithms: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
