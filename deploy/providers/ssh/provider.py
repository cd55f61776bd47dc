"""The provider `ssh`: finds the way to each host at the start of the run, and connects over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import paramiko
from msgspec.structs import replace

from switchproof.deploy.connection import ConnectionFacts, ConnectionLost, ConnectionProblem, NotRoot, RootRefused
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.elevation import Elevation
from switchproof.deploy.providers.ssh.connection import SshConnection
from switchproof.deploy.providers.ssh.handshake import Sock, describe, dial, forward, open_transport
from switchproof.deploy.providers.ssh.hop import Hop
from switchproof.deploy.providers.ssh.known_hosts import Pins, find_pins, host_name, read_key
from switchproof.deploy.providers.ssh.openssh.config import HostConfig, read_host
from switchproof.deploy.providers.ssh.openssh.directives import HONOURED
from switchproof.deploy.providers.ssh.openssh.jumps import JumpHost
from switchproof.deploy.providers.ssh.openssh.reading import Setting
from switchproof.deploy.providers.ssh.table import Ssh, SshHost
from switchproof.deploy.providers.ssh.transport import Transport, algorithms
from switchproof.deploy.target.types import Builder, Host, Target

__all__ = ["SshConnection", "SshProvider"]

ROOT = "root"


def _silent(_: str) -> None:
    pass


class SshProvider:
    """Reaches the hosts of a target file over SSH.

    Args:
        target: Hosts with addresses.
        say: Receives a line that says what the run waits for.
        password: The password of the login users, if sudo asks for one.

    Raises:
        UsageError: A key file, known_hosts file or ssh_config is named that cannot be used.
    """

    def __init__(
        self,
        target: Target,
        say: Callable[[str], None] = _silent,
        password: str = "",
    ) -> None:
        self._say = say
        self._ssh = target.table(Ssh)
        self._hosts = frozenset(host.name for host in _hosts(target))
        machines: Iterable[Builder] = (*target.hosts, *target.builders)
        self._hops = {machine.name: _Ways(self._ssh).lead_to(machine) for machine in machines}
        self._elevations = self._prepare_elevations(password)
        self._were_root: set[str] = set()

    def connect(self, host: str) -> SshConnection:
        """Open a new connection; see `Provider.connect`."""
        way = self._hops[host]
        transports: list[Transport] = []
        try:
            connect: Callable[[], Sock] = partial(dial, way[0], self._ssh.connect_timeout_s, self._ssh.keepalive_s)
            for hop, after in pairwise(way):
                transport = open_transport(hop, self._ssh, connect, self._say)
                transports.append(transport)
                connect = partial(forward, hop, transport, after, self._ssh.connect_timeout_s)
            transports.append(open_transport(way[-1], self._ssh, connect, self._say))
            elevation = self._elevations.get(host)
            facts = _facts(way, transports, elevation)
            connection = SshConnection(host, transports, facts, elevation, self._ssh.connect_timeout_s)
            self._prove_root(connection, way[-1].user)
        except BaseException as error:
            for transport in reversed(transports):
                transport.close()
            if isinstance(error, ConnectionProblem | UsageError) or not isinstance(error, Exception):
                raise
            raise ConnectionLost(
                host, f"the connection was lost during its setup: {error or type(error).__name__}", "Try again."
            ) from error
        return connection

    def close(self) -> None:
        """Do nothing: only connections hold resources."""

    def _prepare_elevations(self, password: str) -> dict[str, Elevation]:
        """Return the elevation of each login user that is not root, by host. A mere builder needs no root."""
        users = {host: way[-1].user for host, way in self._hops.items() if host in self._hosts}
        users = {host: user for host, user in users.items() if user != ROOT}
        if self._ssh.become is None:
            return {}
        return {host: Elevation(host, self._ssh.become, user, password) for host, user in users.items()}

    def _prove_root(self, connection: SshConnection, user: str) -> None:
        """Check that programs run as root there."""
        host = connection.host
        if user == ROOT or host not in self._hosts:
            return
        try:
            done = connection.run(b"id -u\n", timeout_s=2 * self._ssh.connect_timeout_s)
        except NotRoot as error:
            if host in self._were_root:
                raise
            raise RootRefused(host, error.what, error.remedy) from error
        uid = done.stdout.decode("utf-8", "replace").strip()[-40:]
        if uid != "0":
            become = self._ssh.become
            raise RootRefused(
                host,
                f"{user} is not root there (its user id is {uid or 'not known'}), "
                + (f"not even with {become}" if become else "and ssh.become is missing"),
                'Log in as root, or set ssh.become = "sudo"; docs/least-privilege.md shows the rule for it.',
            )
        self._were_root.add(host)


def sudo_users(target: Target) -> list[str]:
    """Return the login users of a target's hosts that become root with sudo, sorted.

    Raises:
        UsageError: A key file, known_hosts file or ssh_config is named that cannot be used.
    """
    ssh = target.table(Ssh)
    addressed = [host for host in _hosts(target) if host.part(SshHost).address]
    users = {_Ways(ssh).lead_to(host)[-1].user for host in addressed} if ssh.become == "sudo" else set()
    return sorted(users - {ROOT})


def _hosts(target: Target) -> list[Builder]:
    """Return the hosts of a run, with the one that builds."""
    return [*target.hosts, *(builder for builder in target.builders if isinstance(builder, Host))]


class _Ways:
    """Finds the way to a host from a target file and its ssh_config."""

    def __init__(self, ssh: Ssh) -> None:
        self._ssh = ssh

    def lead_to(self, host: Builder) -> list[Hop]:
        """Return the machines on the way to a host or builder, which is the last."""
        own = host.part(SshHost)
        assert own.address is not None  # the rules of target files require it
        config = self._read(own.address, own.user, own.port)
        way: list[Hop] = []
        if jump := self._ssh.jump:
            there = self._read(jump.address, jump.user, jump.port)
            if there.jumps:
                way.extend(self._configured(host.name, there.jumps, there.jumps_at, ()))
            way.append(self._hop(host.name, there, jump.host_keys, "ssh.jump.host_keys of the target file"))
        elif config.jumps:
            way.extend(self._configured(host.name, config.jumps, config.jumps_at, ()))
        config = replace(config, port=config.port or self._ssh.port)
        kind = "host" if isinstance(host, Host) else "builder"
        where = f"{kind}s.host_keys of {kind} {host.name!r} in the target file"
        way.append(self._hop(host.name, config, own.host_keys, where))
        return way

    def _read(self, host: str, user: str | None, port: int | None) -> HostConfig:
        if self._ssh.config is None:
            return HostConfig(host, port=port, user=user)
        path = Path(self._ssh.config).expanduser()
        return read_host(path, host, user=user, port=port, default_user=self._ssh.user)

    def _configured(
        self, host: str, jumps: tuple[JumpHost, ...], where: str, before: tuple[JumpHost, ...]
    ) -> Iterator[Hop]:
        """Follow a ProxyJump; as with ssh, only its nearest host may have a ProxyJump of its own."""
        for index, jump in enumerate(jumps):
            if jump in before:
                raise UsageError(f"{where}: ProxyJump: the jump hosts form a loop through {jump.host}")
            config = self._read(jump.host, jump.user, jump.port)
            if index == 0 and config.jumps:
                yield from self._configured(host, config.jumps, config.jumps_at, (*before, jump))
            yield self._hop(host, config, (), "the known_hosts file")

    def _hop(self, host: str, config: HostConfig, keys: tuple[str, ...], pinned_in: str) -> Hop:
        agent = os.environ.get("SSH_AUTH_SOCK", "") if self._ssh.agent else ""
        agent = agent if config.identity_agent is None else config.identity_agent
        port = config.port or paramiko.config.SSH_PORT
        return Hop(
            host=host,
            address=config.hostname,
            port=port,
            user=config.user or self._ssh.user,
            pins=self._pins(keys, config.hostname, port, config, pinned_in),
            pinned_in=pinned_in,
            identity_files=self._identities(config, has_agent=bool(agent)),
            certificate_files=config.certificate_files,
            identities_only=config.identities_only,
            agent=agent,
            family=config.family,
            algorithms={name: _algorithms(name, setting) for name, setting in config.algorithms.items()},
        )

    def _identities(self, config: HostConfig, *, has_agent: bool) -> tuple[Path, ...]:
        named = [Path(name).expanduser() for name in self._ssh.identity_files]
        for path in named:
            if not path.is_file() and not has_agent:
                lacks = "no SSH agent runs here" if self._ssh.agent else "ssh.agent is not set"
                raise UsageError(
                    f"ssh.identity_files: {path} does not exist, and {lacks}; name an existing key, or use an agent"
                )
        return tuple(
            path
            for path in dict.fromkeys([*named, *config.identity_files])
            if path.is_file() or (has_agent and path.with_name(f"{path.name}.pub").is_file())
        )

    def _pins(self, keys: tuple[str, ...], address: str, port: int, config: HostConfig, pinned_in: str) -> Pins:
        own = []
        for text in keys:
            key = read_key(text)
            if isinstance(key, str):
                raise UsageError(
                    f"{pinned_in}: {key} (found {text[:60]!r}); copy the whole line of the host's "
                    "/etc/ssh/ssh_host_ed25519_key.pub"
                )
            own.append(key)
        files = [Path(self._ssh.known_hosts).expanduser()] if self._ssh.known_hosts else []
        files += [path for path in config.known_hosts if path.exists()]
        pins = find_pins(files, config.host_key_alias or host_name(address, port))
        return Pins((*own, *pins.good), pins.revoked, pins.authorities, pins.unusable)


def _algorithms(directive: str, setting: Setting) -> tuple[str, ...]:
    names = algorithms(directive, setting.text)
    if not names:
        raise UsageError(f"{setting.where}: {HONOURED[directive]}: none of {setting.text!r} is supported")
    return names


def _facts(way: list[Hop], transports: list[Transport], elevation: Elevation | None) -> ConnectionFacts:
    """Return the properties of a connection: each machine's key, and the algorithms of the last one."""
    shown = [describe(transport.get_remote_server_key()) for transport in transports]
    host, transport = way[-1], transports[-1]
    return ConnectionFacts(
        kind="ssh",
        address=host.address,
        port=host.port,
        user=host.user,
        become=elevation.how if elevation else "",
        host_key=shown[-1],
        kex=transport.kex,
        cipher=transport.local_cipher,
        mac=transport.local_mac or "",
        strict_kex=getattr(transport, "agreed_on_strict_kex", None),
        jumps=tuple(f"{hop.user}@{hop.address}:{hop.port} {key}" for hop, key in zip(way[:-1], shown, strict=False)),
    )
