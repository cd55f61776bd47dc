"""The hosts' network: one cable from this machine to each host, each in a small unused subnet."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import msgspec

from switchproof.deploy.providers.lab import process
from switchproof.deploy.providers.lab.errors import LabError

# 10.0.0.0/24 is not used, because the microVMs inside the hosts use it.
RANGES = (
    IPv4Network("10.213.0.0/16"),
    IPv4Network("172.30.0.0/16"),
    IPv4Network("192.168.208.0/20"),
    IPv4Network("100.101.0.0/16"),
)
# A shorter prefix is a default route, not a neighbour to avoid.
SHORTEST_PREFIX = 8


class Cable(msgspec.Struct, frozen=True):
    """One veth pair: its end on this machine, and the two addresses of its /30 subnet.

    A host has no other route, so that answers to other machines cannot leave.
    """

    interface: str
    runner_address: str
    host_address: str
    prefix: int = 30

    @property
    def subnet(self) -> IPv4Network:
        """Return the subnet of both ends."""
        return IPv4Network(f"{self.host_address}/{self.prefix}", strict=False)


def choose_subnets(count: int, occupied: Iterable[IPv4Network], first: int = 0) -> list[IPv4Network]:
    """Return the first free /30 subnets of the private ranges.

    Args:
        count: The number of subnets.
        occupied: The subnets to avoid.
        first: The number of the /30 subnet with which to begin in each range; after the last one the first follows.

    Raises:
        LabError: There are too few.
    """
    avoid = [network for network in occupied if network.prefixlen >= SHORTEST_PREFIX]
    chosen: list[IPv4Network] = []
    for subnet in _candidates(avoid, first):
        if len(chosen) == count:
            break
        if not any(subnet.overlaps(network) for network in avoid):
            chosen.append(subnet)
    if len(chosen) < count:
        ranges = ", ".join(map(str, RANGES))
        raise LabError(f"No free subnet is left for a lab host: routes cover all of {ranges}.")
    return chosen


def occupied_subnets() -> list[IPv4Network]:
    """Return every IPv4 subnet in which this machine has an address or a route."""
    routes = process.check(["ip", "-json", "-4", "route", "show", "table", "all"], timeout_s=10)
    destinations = [route["dst"] for route in json.loads(routes or "[]") if route["dst"] != "default"]
    interfaces = json.loads(process.check(["ip", "-json", "-4", "address", "show"], timeout_s=10) or "[]")
    addresses = [entry for interface in interfaces for entry in interface.get("addr_info", ())]
    return [
        *(IPv4Network(destination, strict=False) for destination in destinations),
        *(IPv4Interface(f"{entry['local']}/{entry['prefixlen']}").network for entry in addresses),
    ]


def interface_exists(name: str) -> bool:
    """Tell whether this machine has an interface of that name."""
    return Path("/sys/class/net", name).exists()


def remove_interface(name: str) -> None:
    """Remove a host's cable if it is still there; the kernel takes a moment to do it by itself."""
    if not interface_exists(name):
        return
    done = process.run(["ip", "link", "delete", name], timeout_s=20)
    if done.returncode != 0 and interface_exists(name):
        raise LabError(f"The interface {name} could not be removed: {done.stderr.strip()}")


def place(folder: Path) -> int:
    """Return where the labs of a folder begin to look for subnets.

    Labs in two cache folders do not see each other's descriptions, and a host that restarts has no address. So each
    folder has a place of its own.
    """
    return int.from_bytes(hashlib.sha256(os.fsencode(folder)).digest()[:4], "big")


def _candidates(avoid: list[IPv4Network], first: int) -> Iterator[IPv4Network]:
    for range_ in RANGES:
        if not any(range_.subnet_of(network) for network in avoid):
            size = range_.num_addresses // 4
            yield from (IPv4Network((range_[(first + number) % size * 4], 30)) for number in range(size))
