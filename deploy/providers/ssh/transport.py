"""An SSH transport that remembers both sides' offers, the negotiated algorithms and the server's last message."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import paramiko
from paramiko.kex_curve25519 import KexCurve25519

from switchproof.deploy.providers.ssh.openssh.lines import matches_list

WEAK = {"aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc", "hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"}
"""Ciphers and MACs that are offered only if the ssh_config names them."""

_LONGEST_LINE = 256


class Transport(paramiko.Transport):
    """Remembers values that paramiko drops: the negotiated key exchange, the server's offer and its last message."""

    _kex_info: ClassVar[dict[str, type]] = {
        "curve25519-sha256": KexCurve25519,
        **paramiko.Transport._kex_info,  # type: ignore[attr-defined] # noqa: SLF001
    }
    kex = ""
    _engine: object = None

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.daemon = True
        self.before_version: list[str] = []
        """Lines of the server in place of its version, or before it."""
        self.offered: dict[str, list[str]] = {}
        """The server's offered algorithms, by paramiko's names; empty until they arrive."""
        self.farewell = ""
        """The server's reason for a disconnect."""
        options = self.get_security_options()
        options.ciphers = tuple(name for name in options.ciphers if name not in WEAK)
        options.digests = tuple(name for name in options.digests if name not in WEAK)
        options.kex = ("curve25519-sha256", *options.kex)
        self._handler_table: dict[int, Callable[[paramiko.Message], None]] = {
            **self._handler_table,
            paramiko.common.MSG_SERVICE_ACCEPT: lambda _: None,  # the answer to the login request follows it
        }

    @property  # type: ignore[override] # paramiko has an attribute
    def kex_engine(self) -> object:
        """The current key exchange."""
        return self._engine

    @kex_engine.setter
    def kex_engine(self, engine: object) -> None:
        self._engine = engine
        self.kex = next((name for name, kind in self._kex_info.items() if type(engine) is kind), self.kex)

    def offer(self, algorithms: Mapping[str, tuple[str, ...]]) -> None:
        """Offer other algorithms than the default, by directive."""
        options = self.get_security_options()
        for directive, names in algorithms.items():
            setattr(options, _OPTIONS[directive], names)

    def send(self, message: paramiko.Message) -> None:
        """Send one message."""
        self._send_message(message)  # type: ignore[attr-defined]

    @property
    def signature_algorithms(self) -> list[str]:
        """The server's accepted signature algorithms; empty if it did not send them."""
        extensions: dict[str, bytes] = getattr(self, "server_extensions", {})
        listed = extensions.get("server-sig-algs", b"").decode("ascii", "replace")
        return listed.split(",") if listed else []

    def _check_banner(self) -> None:
        read = self.packetizer.readline

        def readline(timeout: float) -> str:
            line: str = read(timeout)
            if not line.startswith("SSH-"):
                self.before_version.append(line[:_LONGEST_LINE])
            return line

        self.packetizer.readline = readline  # type: ignore[method-assign]
        super()._check_banner()  # type: ignore[misc]

    def _really_parse_kex_init(self, m: paramiko.Message, ignore_first_byte: bool = False) -> dict[str, Any]:
        parsed: dict[str, Any] = super()._really_parse_kex_init(m, ignore_first_byte)  # type: ignore[misc]
        if not ignore_first_byte:
            self.offered = {name: list(names) for name, names in parsed.items() if isinstance(names, list)}
        return parsed

    def _parse_disconnect(self, m: paramiko.Message) -> None:
        m.get_int()
        self.farewell = m.get_string().decode("utf-8", "replace")[:_LONGEST_LINE]


_OPTIONS = {"ciphers": "ciphers", "macs": "digests", "kexalgorithms": "kex", "hostkeyalgorithms": "key_types"}
_KNOWN = {"ciphers": "_cipher_info", "macs": "_mac_info", "kexalgorithms": "_kex_info"}


def algorithms(directive: str, value: str) -> tuple[str, ...]:
    """Return the supported algorithms that a directive of an ssh_config selects."""
    pair = socket.socketpair()
    try:
        transport = Transport(pair[0])
        ours: tuple[str, ...] = getattr(transport.get_security_options(), _OPTIONS[directive])
        known = tuple(getattr(transport, _KNOWN[directive])) if directive in _KNOWN else ours
    finally:
        for end in pair:
            end.close()
    return choose(value, ours, known)


def choose(value: str, ours: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Apply an ssh_config list of algorithms: a complete one, or `+`, `-` or `^` to change the default.

    Args:
        value: The list, with patterns.
        ours: The default offer.
        known: All supported algorithms.
    """
    if value[:1] == "-":
        return tuple(name for name in ours if not matches_list(name, value[1:]))
    if value[:1] in {"+", "^"}:
        named = tuple(name for name in known if matches_list(name, value[1:]))
        parts = (*ours, *named) if value[0] == "+" else (*named, *ours)
        return tuple(dict.fromkeys(parts))
    return tuple(dict.fromkeys(name for pattern in value.split(",") for name in known if matches_list(name, pattern)))


_NEGOTIATED = {
    "kex_algo_list": ("key exchange", "kex", "KexAlgorithms"),
    "server_key_algo_list": ("host key algorithm", "key_types", "HostKeyAlgorithms"),
    "client_encrypt_algo_list": ("cipher", "ciphers", "Ciphers"),
    "server_encrypt_algo_list": ("cipher", "ciphers", "Ciphers"),
    "client_mac_algo_list": ("MAC", "digests", "MACs"),
    "server_mac_algo_list": ("MAC", "digests", "MACs"),
    "client_compress_algo_list": ("compression", "compression", "Compression"),
}


def disagreement(transport: Transport) -> tuple[str, str] | None:
    """Describe both sides' offers if they share none, with the directive of sshd_config that decides."""
    options = transport.get_security_options()
    for name, (what, attribute, directive) in _NEGOTIATED.items():
        offered = transport.offered.get(name, [])
        theirs = [item for item in offered if not item.startswith(("kex-strict-", "ext-info-"))]
        ours = getattr(options, attribute)
        if theirs and not set(theirs) & set(ours):
            return (
                f"no common {what}: the server offers {', '.join(theirs)}; this run offers {', '.join(ours)}",
                directive,
            )
    return None
