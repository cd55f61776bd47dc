"""Prepares lab hosts at a simulated distance, and the files with which each tool reaches them."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench import proxy
from bench.proxy import Route
from switchproof.deploy.providers.lab.lab import Lab

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"

_HOSTS = re.compile(r"(\[\[hosts\]\]\n(?:.+\n)+\n?)+")
_SSH = re.compile(r"\[ssh\]\n(?:.+\n)+")
ONE_ANSWER = """
[health]
ready_s = 0.0
answers = 1
soak_s = 0.0
"""


class Size(NamedTuple):
    """A number of hosts, and their distance as a round trip in seconds."""

    hosts: int
    round_trip_s: float

    @classmethod
    def from_arg(cls, text: str) -> Size:
        """Read `HOSTS@MS`.

        Raises:
            ValueError: It is not that.
        """
        hosts, _, milliseconds = text.partition("@")
        return cls(int(hosts), float(milliseconds) / 1000)

    def __str__(self) -> str:
        return f"{self.hosts} host{'s' if self.hosts > 1 else ''}, {self.round_trip_s * 1000:.0f} ms"


@dataclass(frozen=True)
class Way:
    """The way to a lab host: a port on loopback."""

    host: str
    port: int
    host_key: str


@dataclass(frozen=True)
class Ground:
    """Some hosts at one distance.

    Attributes:
        ways: The hosts.
        round_trip_s: The round trip time in seconds.
        identity_file: The private key for them.
        folder: The files for every tool, which also runs here.
        notes: The file in which the proxy in between notes moments; None if there is none.
    """

    ways: tuple[Way, ...]
    round_trip_s: float
    identity_file: Path
    folder: Path
    notes: Path | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts."""
        return tuple(way.host for way in self.ways)

    @property
    def size(self) -> Size:
        """The number of hosts and the distance."""
        return Size(len(self.ways), self.round_trip_s)


@contextlib.contextmanager
def grounds(lab: Lab, sizes: Sequence[Size], below: Path) -> Iterator[list[Ground]]:
    """Make a ground of each size, with the proxy in between, for as long as the context lasts.

    Args:
        lab: The lab; a ground has its first hosts.
        sizes: The sizes.
        below: The folder in which to make the grounds' folders.

    Raises:
        RuntimeError: The lab has too few hosts.
    """
    most, hosts = max(size.hosts for size in sizes), list(lab.hosts.values())
    if len(hosts) < most:
        raise RuntimeError(f"the lab {lab.name} has {len(hosts)} hosts, and a ground of {most} is asked for")
    routes = [Route(host.address, host.port, far) for far in {size.round_trip_s for size in sizes} for host in hosts]
    notes = below / "notes"
    with proxy.running(routes, notes) as ports:
        port_of = dict(zip(routes, ports, strict=True))
        made = []
        for size in sizes:
            ways = tuple(
                Way(host.name, port_of[Route(host.address, host.port, size.round_trip_s)], host.host_key)
                for host in hosts[: size.hosts]
            )
            folder = below / f"{size.hosts}-hosts-{size.round_trip_s * 1000:.0f}-ms"
            made.append(Ground(ways, size.round_trip_s, lab.identity_file, folder, notes))
            write(made[-1], Lab.repository_url)
        yield made


def write(ground: Ground, repository: str) -> None:
    """Make the folder of a ground, with the files for each tool."""
    ground.folder.mkdir()
    files = {
        "target.toml": target(ground, repository),
        "known_hosts": "".join(f"[127.0.0.1]:{way.port} {way.host_key}\n" for way in ground.ways),
        "ssh_config": ssh_config(ground),
        "inventory.py": inventory(ground),
        "test_ten.py": (PEERS / "testinfra_checks.py").read_text("utf-8"),
    }
    for name, text in files.items():
        (ground.folder / name).write_text(text, "utf-8")
    shutil.copy(PEERS / "pyinfra_checks.py", ground.folder / "ten.py")


def target(ground: Ground, repository: str, health: str = ONE_ANSWER) -> str:
    """Write the target file: `ovh` as in production, but with one probe of each endpoint, as in the peers."""
    text = (ROOT / "deploy" / "targets" / "ovh.toml").read_text("utf-8")
    tables = "\n".join(
        f'[[hosts]]\nname = "{way.host}"\nflake_attr = "choiros-a"\naddress = "127.0.0.1"\nport = {way.port}\n'
        f'host_keys = ["{way.host_key}"]\n'
        for way in ground.ways
    )
    text = _HOSTS.sub(lambda _: f"{tables}\n", text, count=1)
    text = _SSH.sub(lambda _: f'[ssh]\nidentity_files = ["{ground.identity_file}"]\n', text, count=1)
    text = text.replace('{ env = "DEPLOY_REPO_URL" }', f'"{repository}"')
    return text + health


def ssh_config(ground: Ground) -> str:
    """Write the ssh_config for OpenSSH and tools that read its configuration."""
    return "\n".join(
        f"Host {way.host}\n  HostName 127.0.0.1\n  Port {way.port}\n  User root\n"
        f"  IdentityFile {ground.identity_file}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {ground.folder / 'known_hosts'}\n  StrictHostKeyChecking yes\n"
        for way in ground.ways
    )


def inventory(ground: Ground) -> str:
    """Write pyinfra's inventory."""
    shared = {
        "ssh_hostname": "127.0.0.1",
        "ssh_user": "root",
        "ssh_key": str(ground.identity_file),
        "ssh_known_hosts_file": str(ground.folder / "known_hosts"),
        "ssh_strict_host_key_checking": "yes",
    }
    hosts = [(way.host, shared | {"ssh_port": way.port}) for way in ground.ways]
    return f"hosts = {hosts!r}\n"
