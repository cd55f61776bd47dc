"""One machine on the way to a host, with everything that its connection needs."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

from switchproof.deploy.providers.ssh.known_hosts import Pins


@dataclass(frozen=True)
class Hop:
    """A machine to connect to.

    Attributes:
        host: The host of the target file that the way leads to.
        address: The machine's name or address.
        port: Its port.
        user: Whom to log in as.
        pins: Which keys it may show.
        pinned_in: Where a user pins its key.
        identity_files: Keys to offer.
        certificate_files: Certificates to offer beside those that lie next to a key.
        identities_only: Whether the agent may offer only what is named as a file.
        agent: The agent's socket; empty if none is asked.
        family: What addresses may be used.
        algorithms: What is offered instead of the default, by the directive that says so.
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
    algorithms: dict[str, tuple[str, ...]] = field(default_factory=dict)
