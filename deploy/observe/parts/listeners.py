"""The processes that listen on an address, and whether they hear a given one (pure)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

import msgspec

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.parts.text import lines_of, sections_named

_DEVICE = re.compile(r"%[^:\]]+(?=:\d+$)")
_MAPPED = re.compile(r"^\[::ffff:([0-9.]+)\]")


class Listener(msgspec.Struct, frozen=True):
    """A process that listens on a TCP address or a unix socket.

    Attributes:
        address: The address as ss(8) prints it, or the path of the socket.
        pid: The process.
        unit: The contract's unit of the process; its control group if it belongs to no such unit.
        container: Unit of the container in whose network namespace it listens; empty for the host's own.
    """

    address: str
    pid: int
    unit: str
    container: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether only processes in the same network namespace can reach the socket."""
        host = self._bare.rpartition(":")[0]
        if host.endswith("%lo"):
            return True
        try:
            return ipaddress.ip_address(host.partition("%")[0].strip("[]")).is_loopback
        except ValueError:
            return False

    def hears(self, listen: str) -> bool:
        """Whether a connection to `listen` (`address:port`, or a socket's path) reaches it.

        ss writes `*` for a socket that accepts IPv4 and IPv6, so `[::]` does not count for an IPv4 address. A socket
        that is bound to a device (`127.0.0.1%lo:80`) hears connections to its address on that device. A wildcard
        socket on a device other than `lo` hears no connection from the host itself.
        """
        port = listen.rpartition(":")[2]
        everywhere = {f"*:{port}", f"[::]:{port}" if listen.startswith("[") else f"0.0.0.0:{port}"}
        return _DEVICE.sub("", self._bare) == listen or self._bare.replace("%lo:", ":") in everywhere

    @property
    def _bare(self) -> str:
        """The address, with an IPv4 address of an IPv6 socket (`[::ffff:127.0.0.1]:80`) written as IPv4."""
        return _MAPPED.sub(r"\1", self.address)


def read_listeners(frame: Frame) -> tuple[Listener, ...]:
    """Read the listeners of the host, then those of its containers.

    Raises:
        FrameError: A part is missing.
        ValueError: A line is malformed.
    """
    inside = sections_named(frame, "listeners.").items()
    return (
        *_read_namespace(frame.text("listeners"), ""),
        *(listener for container, text in inside for listener in _read_namespace(text, container)),
    )


def _read_namespace(text: str, container: str) -> Iterator[Listener]:
    for line in lines_of(text):
        address, pid, unit = line.split(" ")
        yield Listener(address, int(pid), unit, container)
