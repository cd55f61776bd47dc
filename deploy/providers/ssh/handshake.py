"""Opens one transport: connects, negotiates algorithms, checks the host key, and only then logs in."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeAlias

import paramiko

from switchproof.deploy.connection import HostKeyChanged, HostKeyUnknown, Unreachable
from switchproof.deploy.providers.ssh.auth.authentication import authenticate
from switchproof.deploy.providers.ssh.auth.identities import fingerprint
from switchproof.deploy.providers.ssh.hop import Hop
from switchproof.deploy.providers.ssh.table import Ssh
from switchproof.deploy.providers.ssh.transport import Transport, disagreement

Sock: TypeAlias = socket.socket | paramiko.Channel

FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 4.0
"""Seconds before the next attempt at a server that refused the connection; doubled each time."""


class _TurnedAway(Exception):
    """The server ended the connection before it sent its SSH version; it may be busy."""


def open_transport(hop: Hop, ssh: Ssh, dial: Callable[[], Sock], say: Callable[[str], None]) -> Transport:
    """Open an authenticated transport to one machine.

    Args:
        hop: The machine.
        ssh: Deadlines.
        dial: Makes a new connection to it.
        say: Receives a line that says what the run waits for.

    Raises:
        ConnectionProblem: The machine cannot be reached; the message says what was seen and what to try.
    """
    deadline = time.monotonic() + ssh.connect_timeout_s
    delay_s, is_told = FIRST_RETRY_S, False
    while True:
        try:
            transport = _greet(hop, ssh, dial())
            break
        except _TurnedAway as error:
            if time.monotonic() + delay_s > deadline:
                raise _busy(hop, str(error), ssh.connect_timeout_s) from error
            if not is_told:
                say(f"{hop.host}: {hop.address} port {hop.port} turned the connection away ({error}); trying again.")
            is_told = True
            time.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_RETRY_S)
    try:
        _check_host_key(hop, transport.get_remote_server_key())
        authenticate(hop, transport, ssh.connect_timeout_s, say)
        transport.set_keepalive(max(1, round(ssh.keepalive_s)))
    except BaseException:
        transport.close()
        raise
    return transport


def dial(hop: Hop, timeout_s: float, keepalive_s: float) -> socket.socket:
    """Connect to a machine by TCP: to each of its addresses in turn, within one deadline.

    Raises:
        Unreachable: None of them answered.
    """
    deadline = time.monotonic() + timeout_s
    seen: OSError
    try:
        addresses = socket.getaddrinfo(hop.address, hop.port, hop.family, socket.SOCK_STREAM)
        for index, (family, kind, protocol, _, place) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max(0.1, (deadline - time.monotonic()) / (len(addresses) - index)))
                sock.connect(place)
            except OSError as error:
                sock.close()
                seen = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # missing on macOS, where the run's own deadlines apply
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(3000 * keepalive_s))
            return sock
    except (socket.gaierror, UnicodeError) as error:
        raise Unreachable(
            hop.host,
            f"no address is known for {hop.address}: {getattr(error, 'strerror', None) or error}",
            "Correct the address in the target file, or the name resolution of this machine.",
        ) from error
    except OSError as error:
        seen = error
    waited = f" within {timeout_s:g} s" if isinstance(seen, TimeoutError) else ""
    raise Unreachable(
        hop.host,
        f"no connection to {hop.address} port {hop.port}{waited}: {seen.strerror or seen}",
        "Check that the address is right, the host is up and the firewall allows the connection.",
    ) from seen


def forward(hop: Hop, transport: paramiko.Transport, after: Hop, timeout_s: float) -> paramiko.Channel:
    """Connect to the next machine through this one.

    Raises:
        Unreachable: The machine does not forward, or does not reach the next one.
    """
    try:
        return transport.open_channel(
            "direct-tcpip", (after.address, after.port), ("127.0.0.1", 0), timeout=timeout_s
        )
    except paramiko.SSHException as error:
        raise Unreachable(
            hop.host,
            f"no connection through {hop.address} to {after.address} port {after.port}: {error}",
            "Check that the jump host allows TCP forwarding and can reach the host.",
        ) from error


def _greet(hop: Hop, ssh: Ssh, sock: Sock) -> Transport:
    """Exchange versions and keys with the server."""
    transport = Transport(sock)
    transport.banner_timeout = transport.handshake_timeout = ssh.connect_timeout_s
    began = time.monotonic()
    try:
        transport.offer(hop.algorithms)
        _prefer_pinned(transport, hop)
        transport.start_client(timeout=ssh.connect_timeout_s)
        transport.get_remote_server_key()  # fails if the time is over, which the line above does not report
    except Exception as error:  # paramiko raises many types for malformed input
        transport.close()
        in_time = time.monotonic() - began < ssh.connect_timeout_s
        raise _explain(hop, transport, error, ssh.connect_timeout_s, in_time=in_time) from error
    return transport


def _explain(hop: Hop, transport: Transport, error: Exception, timeout_s: float, *, in_time: bool) -> Exception:
    """Return why the key exchange failed."""
    place = f"{hop.address} port {hop.port}"
    shown = " / ".join(repr(line) for line in transport.before_version[:3])
    if offer := disagreement(transport):
        what, directive = offer
        return Unreachable(
            hop.host,
            f"{place} is an SSH server, but {what}",
            f"Allow one of the offered algorithms in {directive} of its sshd_config.",
        )
    polite = any(line.startswith(_REFUSALS) for line in transport.before_version)
    if in_time and not transport.offered and (polite or not transport.before_version):
        return _TurnedAway(shown or transport.farewell or "it ended the connection before its key exchange")
    return Unreachable(
        hop.host,
        f"{place} answers, but not as an SSH server within {timeout_s:g} s: {shown or transport.farewell or error}",
        "Check that sshd runs there and accepts connections.",
    )


_REFUSALS = ("Exceeded MaxStartups", "Not allowed at this time")
"""The line that sshd sends in place of its version when it is too busy or penalises an address."""


def _busy(hop: Hop, reason: str, timeout_s: float) -> Unreachable:
    remedy = "Read sshd's log there: tcpd, fail2ban or a full MaxStartups may refuse this address."
    if "MaxStartups" in reason:
        remedy = (
            "Too many connections there are not logged in yet: raise MaxStartups, or see in its log who makes them."
        )
    if "Not allowed" in reason:
        remedy = (
            "Its sshd punishes this address for earlier failures (PerSourcePenalties), or has too many connections "
            "that are not logged in yet (MaxStartups); its log says which. Wait, or name this address in "
            "PerSourcePenaltyExemptList."
        )
    return Unreachable(
        hop.host,
        f"{hop.address} port {hop.port} turned every connection away for {timeout_s:g} s: {reason}",
        f"{remedy} ssh.connect_timeout_s in the target file sets how long a run retries.",
    )


def _prefer_pinned(transport: Transport, hop: Hop) -> None:
    """Prefer the pinned types of host key, because a server with several keys may present another one."""
    kinds = {pin.get_name() for pin in hop.pins.good}
    options = transport.get_security_options()
    pinned = [
        name for name in options.key_types if name in kinds or ("ssh-rsa" in kinds and name.startswith("rsa-sha2-"))
    ]
    options.key_types = (*pinned, *(name for name in options.key_types if name not in pinned))


def describe(key: paramiko.PKey) -> str:
    """Return a host key's type and fingerprint."""
    return f"{key.get_name()} {fingerprint(key.asbytes())}"


def _check_host_key(hop: Hop, shown: paramiko.PKey) -> None:
    is_revoked = shown.asbytes() in hop.pins.revoked
    if not is_revoked and shown.asbytes() in {pin.asbytes() for pin in hop.pins.good}:
        return
    seen = f"{hop.address} port {hop.port} shows the host key {describe(shown)}"
    if is_revoked:
        raise HostKeyChanged(
            hop.host,
            f"{seen}, but a known_hosts file revokes that key",
            "Someone with the old key may intercept the connection. Give the host a new key, and pin the new key.",
        )
    if not hop.pins.good:
        reasons = [f"{line}; this line is skipped" for line in hop.pins.unusable]
        reasons += [
            f"{where} trusts a certificate authority, but host certificates are not supported"
            for where in hop.pins.authorities
        ]
        raise HostKeyUnknown(
            hop.host,
            "; ".join([f"{seen}; no key is pinned for it", *reasons]),
            f"If that fingerprint is the host's (ask its console, not the network), pin the key in {hop.pinned_in}.",
        )
    raise HostKeyChanged(
        hop.host,
        f"{seen}; pinned is {', '.join(describe(pin) for pin in hop.pins.good)}",
        "Someone may intercept the connection. If the host was reinstalled, get the new fingerprint from its "
        f"console and replace the key in {hop.pinned_in}.",
    )
