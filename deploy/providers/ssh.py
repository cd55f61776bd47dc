"""Hosts over SSH: one connection each, host keys pinned, a deadline for every step."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

from deploy.connection import (
    SHELL,
    AuthenticationFailed,
    Completed,
    ConnectionLost,
    DeadlineExceeded,
    HostKeyChanged,
    HostKeyUnknown,
    Program,
    Unreachable,
    text_of,
)
from deploy.errors import UsageError
from deploy.facts import ConnectionFacts
from deploy.target import Host, Ssh, Target

MAX_OUTPUT = 128 * 2**20
"""Bytes of output read of one command, twice what a frame may hold when packed."""

HELD_S = 1.0
"""Seconds without output after which a program that has ended is not waited for any longer."""

_WEAK = {
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"],
    "macs": ["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"],
}


@dataclass(frozen=True)
class _Pins:
    """Which host keys a machine may show, and which must not be believed from anyone."""

    good: tuple[paramiko.PKey, ...] = ()
    revoked: tuple[paramiko.PKey, ...] = ()


@dataclass(frozen=True)
class _Hop:
    """A machine to connect to, with everything that its connection needs."""

    host: str
    address: str
    port: int
    user: str
    pins: _Pins
    pinned_in: str
    identity_files: tuple[Path, ...]


class SshProvider:
    """Reaches the hosts of a target file over SSH.

    Args:
        target: Hosts with addresses.

    Raises:
        UsageError: A key file, known_hosts file or ssh_config is named that cannot be used.
    """

    def __init__(self, target: Target) -> None:
        self._ssh = target.ssh
        self._config = _read_config(target.ssh)
        self._hops = {host.name: self._way_to(host) for host in target.hosts}

    def connect(self, host: str) -> SshConnection:
        """Open a new connection; see `Provider.connect`."""
        way = self._hops[host]
        transports: list[_Transport] = []
        try:
            sock: socket.socket | paramiko.Channel | None = None
            for hop, after in pairwise(way):
                transport = _open(hop, self._ssh, sock)
                transports.append(transport)
                sock = _forward(hop, transport, after, self._ssh.connect_timeout_s)
            transports.append(_open(way[-1], self._ssh, sock))
        except BaseException:
            for transport in reversed(transports):
                transport.close()
            raise
        return SshConnection(host, transports, _facts(way, transports))

    def close(self) -> None:
        """Nothing but the connections is held open."""

    def _way_to(self, host: Host) -> list[_Hop]:
        assert host.address is not None  # the target file is checked for it
        config = self._config.lookup(host.address) if self._config else paramiko.SSHConfigDict()
        way = []
        if jump := self._ssh.jump:
            pins = self._pins(jump.host_keys, jump.address, jump.port, config)
            where = "ssh.jump.host_keys of the target file"
            way.append(_Hop(host.name, jump.address, jump.port, jump.user, pins, where, self._identities(config)))
        elif "proxyjump" in config and config["proxyjump"] != "none":
            way.extend(self._configured_jumps(host.name, config["proxyjump"]))
        address = config.get("hostname", host.address)
        port = host.port or int(config.get("port", self._ssh.port))
        pins = self._pins(host.host_keys, address, port, config)
        user = host.user or config.get("user", self._ssh.user)
        where = f"hosts.host_keys of host {host.name!r} in the target file"
        way.append(_Hop(host.name, address, port, user, pins, where, self._identities(config)))
        return way

    def _configured_jumps(self, host: str, value: str) -> Iterator[_Hop]:
        assert self._config is not None  # the value comes from it
        for jump in value.split(","):
            user, _, place = jump.strip().rpartition("@")
            alias, _, port = place.partition(":")
            config = self._config.lookup(alias)
            address = config.get("hostname", alias)
            number = int(port or config.get("port", "22"))
            pins = self._pins((), address, number, config)
            yield _Hop(
                host,
                address,
                number,
                user or config.get("user", self._ssh.user),
                pins,
                "the known_hosts file",
                self._identities(config),
            )

    def _identities(self, config: paramiko.SSHConfigDict) -> tuple[Path, ...]:
        named = [Path(name).expanduser() for name in self._ssh.identity_files]
        for path in named:
            if not path.is_file() and not self._ssh.agent:
                raise UsageError(f"ssh.identity_files: {path} does not exist; name an existing key or set ssh.agent")
        configured = [Path(name).expanduser() for name in config.get("identityfile", [])]
        return tuple(path for path in dict.fromkeys(named + configured) if path.is_file())

    def _pins(self, keys: tuple[str, ...], address: str, port: int, config: paramiko.SSHConfigDict) -> _Pins:
        good, revoked = [_parse_key(key) for key in keys], []
        files = [Path(self._ssh.known_hosts).expanduser()] if self._ssh.known_hosts else []
        configured = (Path(name).expanduser() for name in str(config.get("userknownhostsfile", "")).split())
        files += [path for path in configured if path.exists()]
        name = address if port == paramiko.config.SSH_PORT else f"[{address}]:{port}"
        for file in files:
            for marker, entry in _known_hosts(file):
                if marker == "@revoked":  # whoever it is revoked for
                    revoked += [key for names in entry.values() for key in names.values()]
                elif not marker:
                    good += (entry.lookup(name) or {}).values()
        return _Pins(tuple(good), tuple(revoked))


class SshConnection:
    """One SSH connection to one host, reused for every command.

    Args:
        host: The host's name.
        transports: Authenticated transports, the last of them to the host itself, those before on the way.
        facts: What they are.
    """

    def __init__(self, host: str, transports: list[_Transport], facts: ConnectionFacts) -> None:
        self.host = host
        self.facts = facts
        self._transports = transports

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        """Run a program; see `Connection.run`. When the time is over the connection ends too."""
        began = time.monotonic()
        transport = self._transports[-1]
        expired = threading.Event()
        # Not every wait below knows of a deadline, but all of them end with the connection.
        watch = threading.Timer(timeout_s, self._expire, (expired,))
        watch.daemon = True
        watch.start()
        output, errors = bytearray(), bytearray()
        channel, whole, why = None, False, "the host closed it before the answer ended"
        try:
            channel = transport.open_session(timeout=timeout_s)
            channel.exec_command(SHELL)
            drain = threading.Thread(target=_drain_stderr, args=(channel, errors), daemon=True)
            drain.start()
            with suppress(OSError):  # a shell that refuses, such as nologin, does not read to the end
                channel.sendall(text_of(program))
                channel.shutdown_write()
            whole = self._read(channel, output)
            channel.status_event.wait()
            if whole and channel.exit_status < 0:  # ended by a signal, unless the connection was lost right now
                whole = self._answers()
            channel.close()
            drain.join()
        except (paramiko.SSHException, OSError, EOFError) as error:
            why = str(error) or type(error).__name__
            whole = False
        finally:
            watch.cancel()
            if channel is not None and not expired.is_set():
                with suppress(paramiko.SSHException, OSError, EOFError):  # saying so is lost with the connection
                    channel.close()
        if channel is None or not whole:
            if expired.is_set():
                raise DeadlineExceeded(
                    self.host,
                    f"no whole answer within {timeout_s:g} s",
                    "The command may still run there; look at the host before trying again.",
                )
            raise self._lost(why)
        status = channel.exit_status if channel.exit_status >= 0 else None
        return Completed(bytes(output), bytes(errors), status, time.monotonic() - began)

    def close(self) -> None:
        """End the connection and those it leads through."""
        for transport in reversed(self._transports):
            with suppress(Exception):
                transport.close()

    def _expire(self, expired: threading.Event) -> None:
        expired.set()
        self.close()

    def _read(self, channel: paramiko.Channel, output: bytearray) -> bool:
        """Read standard output, and say whether that was all of it."""
        channel.settimeout(HELD_S)
        while True:
            try:
                chunk = channel.recv(2**17)
            except TimeoutError:
                # A program that has ended may have left something behind that holds the output open.
                if channel.exit_status >= 0 and self._answers() and not channel.recv_ready():
                    return True
                continue
            if not chunk:
                return bool(channel.eof_received)
            output += chunk
            if len(output) > MAX_OUTPUT:
                raise self._lost(f"more than {MAX_OUTPUT} bytes came")

    def _answers(self) -> bool:
        """Ask the host for a sign of life; what it sent before that has arrived then."""
        transport = self._transports[-1]
        transport.global_request("keepalive@openssh.com", wait=True)
        return transport.is_active()

    def _lost(self, why: str) -> ConnectionLost:
        return ConnectionLost(
            self.host, f"the connection was lost: {why}", "What was begun there may go on; look before trying again."
        )


class _Transport(paramiko.Transport):
    """Remembers which key exchange was agreed on, which paramiko forgets as soon as that is over."""

    kex = ""
    _engine: object = None

    @property  # type: ignore[override] # there it is an attribute
    def kex_engine(self) -> object:
        """What exchanges keys at this moment."""
        return self._engine

    @kex_engine.setter
    def kex_engine(self, engine: object) -> None:
        self._engine = engine
        kinds: dict[str, type] = getattr(self, "_kex_info", {})
        self.kex = next((name for name, kind in kinds.items() if type(engine) is kind), self.kex)


def _facts(way: list[_Hop], transports: list[_Transport]) -> ConnectionFacts:
    """Say how a host was reached: what each machine showed, and what was agreed on with the last."""
    shown = [_describe(transport.get_remote_server_key()) for transport in transports]
    host, transport = way[-1], transports[-1]
    return ConnectionFacts(
        kind="ssh",
        address=host.address,
        port=host.port,
        user=host.user,
        host_key=shown[-1],
        kex=transport.kex,
        cipher=transport.local_cipher,
        mac=transport.local_mac or "",
        strict_kex=getattr(transport, "agreed_on_strict_kex", None),
        jumps=tuple(f"{hop.user}@{hop.address}:{hop.port} {key}" for hop, key in zip(way[:-1], shown, strict=False)),
    )


def _drain_stderr(channel: paramiko.Channel, into: bytearray) -> None:
    """Read standard error to its end, so that the host never waits for us; keep the first mebibyte."""
    with suppress(paramiko.SSHException, OSError, EOFError):
        while True:
            try:
                chunk = channel.recv_stderr(2**16)
            except TimeoutError:
                continue
            if not chunk:
                return
            into += chunk[: max(0, 2**20 - len(into))]


def _open(hop: _Hop, ssh: Ssh, sock: socket.socket | paramiko.Channel | None) -> _Transport:
    """Connect, check the host key, only then authenticate."""
    step_s = ssh.connect_timeout_s
    if sock is None:
        sock = _dial(hop, step_s, ssh.keepalive_s)
    transport = _Transport(sock, disabled_algorithms=_WEAK)
    transport.daemon = True
    transport.banner_timeout = transport.auth_timeout = step_s
    try:
        _prefer_pinned(transport, hop.pins)
        try:
            transport.start_client(timeout=step_s)
            shown = (
                transport.get_remote_server_key()
            )  # fails when the time was over, of which the line above is silent
        except Exception as error:  # paramiko hands on whatever a stranger's bytes lead it to
            raise Unreachable(
                hop.host,
                f"{hop.address} port {hop.port} answers, but not as an SSH server within {step_s:g} s: {error}",
                "See whether sshd runs there and accepts connections.",
            ) from error
        _check_host_key(hop, shown)
        _authenticate(hop, transport, agent=ssh.agent)
        transport.set_keepalive(max(1, round(ssh.keepalive_s)))
    except BaseException:
        transport.close()
        raise
    return transport


def _dial(hop: _Hop, timeout_s: float, keepalive_s: float) -> socket.socket:
    try:
        sock = socket.create_connection((hop.address, hop.port), timeout=timeout_s)
    except OSError as error:
        raise Unreachable(
            hop.host,
            f"no connection to {hop.address} port {hop.port} within {timeout_s:g} s: {error}",
            "See whether the address is right, the host is up and the firewall lets you in.",
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(3000 * keepalive_s))
    return sock


def _forward(hop: _Hop, transport: paramiko.Transport, after: _Hop, timeout_s: float) -> paramiko.Channel:
    try:
        return transport.open_channel(
            "direct-tcpip", (after.address, after.port), ("127.0.0.1", 0), timeout=timeout_s
        )
    except paramiko.SSHException as error:
        raise Unreachable(
            hop.host,
            f"no way through {hop.address} to {after.address} port {after.port}: {error}",
            "See whether the jump host may forward and reaches the host.",
        ) from error


def _prefer_pinned(transport: paramiko.Transport, pins: _Pins) -> None:
    """Ask first for the kinds of host key that are pinned, or a server with several keys shows another one."""
    kinds = {pin.get_name() for pin in pins.good}
    options = transport.get_security_options()
    pinned = [
        name for name in options.key_types if name in kinds or ("ssh-rsa" in kinds and name.startswith("rsa-sha2-"))
    ]
    options.key_types = (*pinned, *(name for name in options.key_types if name not in pinned))


def _check_host_key(hop: _Hop, shown: paramiko.PKey) -> None:
    revoked = shown.asbytes() in {key.asbytes() for key in hop.pins.revoked}
    if not revoked and shown.asbytes() in {pin.asbytes() for pin in hop.pins.good}:
        return
    seen = f"{hop.address} port {hop.port} shows the host key {_describe(shown)}"
    if revoked:
        raise HostKeyChanged(
            hop.host,
            f"{seen}, which a known_hosts file has revoked",
            "Whoever has the old key may be in between. Give the host a new key and pin that one.",
        )
    if not hop.pins.good:
        raise HostKeyUnknown(
            hop.host,
            f"{seen}; no key is pinned for it",
            f"If that fingerprint is the host's (ask its console, not the network), pin the key in {hop.pinned_in}.",
        )
    raise HostKeyChanged(
        hop.host,
        f"{seen}; pinned is {', '.join(_describe(pin) for pin in hop.pins.good)}",
        "Someone may be in between. If the host was reinstalled, get the new fingerprint from its console and "
        f"replace the key in {hop.pinned_in}.",
    )


def _authenticate(hop: _Hop, transport: paramiko.Transport, *, agent: bool) -> None:
    offered: list[str] = []
    for origin, key in _keys(hop, agent=agent, offered=offered):
        offered.append(f"{origin} ({_describe(key)})")
        try:
            if not transport.auth_publickey(hop.user, key):
                return
        except paramiko.AuthenticationException:
            if not transport.is_active():
                break
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(
                hop.host, f"lost during authentication: {error}", "Try again; see the host's sshd log."
            ) from error
    raise AuthenticationFailed(
        hop.host,
        f"{hop.user}@{hop.address} accepts none of: {'; '.join(offered) or 'no key, as none was found'}",
        "Name the right key in ssh.identity_files or load it into the agent, and see that the host authorises it.",
    )


def _keys(hop: _Hop, *, agent: bool, offered: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    for path in hop.identity_files:
        try:
            key = paramiko.PKey.from_path(path)
        except (paramiko.SSHException, UnknownKeyType, ValueError, TypeError, OSError) as error:
            needs = isinstance(error, paramiko.PasswordRequiredException | TypeError)
            offered.append(f"{path} (not usable: {'it needs a passphrase, use the agent' if needs else error})")
            continue
        certificate = path.with_name(path.name + "-cert.pub")
        if certificate.is_file():
            key.load_certificate(str(certificate))
        yield str(path), key
    if agent:
        for number, agent_key in enumerate(paramiko.Agent().get_keys(), 1):
            yield f"key {number} of the agent", agent_key


def _describe(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"


def _parse_key(text: str) -> paramiko.PKey:
    entry = paramiko.hostkeys.HostKeyEntry.from_line(f"host {text}")
    if entry is None or entry.key is None:
        raise UsageError(f"host_keys: not a public key that can be read (found {text[:60]!r})")
    return entry.key


def _known_hosts(path: Path) -> Iterator[tuple[str, paramiko.HostKeys]]:
    """Read a known_hosts file line by line, each with its marker if it has one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the known_hosts file cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        marker, entry = "", line.strip()
        if entry.startswith("@"):
            marker, _, entry = entry.partition(" ")
        if not entry or entry.startswith("#"):
            continue
        try:
            parsed = paramiko.hostkeys.HostKeyEntry.from_line(entry, number)
        except (paramiko.SSHException, paramiko.hostkeys.InvalidHostKey) as error:
            raise UsageError(f"{path}:{number}: not a line of a known_hosts file: {error}") from error
        if parsed is None or parsed.key is None or parsed.hostnames is None:
            continue
        keys = paramiko.HostKeys()
        for name in parsed.hostnames:
            keys.add(name, parsed.key.get_name(), parsed.key)
        yield marker, keys


def _read_config(ssh: Ssh) -> paramiko.SSHConfig | None:
    if ssh.config is None:
        return None
    path = Path(ssh.config).expanduser()
    try:
        return paramiko.SSHConfig.from_path(os.fspath(path))
    except (OSError, paramiko.SSHException) as error:
        raise UsageError(f"{path}: the ssh_config that ssh.config names cannot be read: {error}") from error
