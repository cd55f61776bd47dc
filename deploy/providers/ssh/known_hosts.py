"""Host keys that known_hosts files pin or revoke, found as OpenSSH finds them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import paramiko
from paramiko.pkey import UnknownKeyType

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.ssh.lines import matches_host, split_lines
from switchproof.deploy.providers.ssh.values import shown

MAX_BYTES = 64 * 2**20
"""Bytes of one file: half a million hosts."""

_Marker: TypeAlias = Literal["", "@cert-authority", "@revoked"]
_BLANKS = " \t"


@dataclass(frozen=True)
class Pins:
    """Which host keys a machine may show.

    Attributes:
        good: Keys that are pinned for it.
        revoked: Keys that must not be believed from anyone.
        authorities: File and line of authorities whose certificates ssh would believe.
        unusable: File and line of lines for the host that cannot be read, with the reason.

    """

    good: tuple[paramiko.PKey, ...] = ()
    revoked: frozenset[bytes] = frozenset()
    authorities: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Entry:
    """One line: whose key it is, and the key as it stands there."""

    marker: _Marker
    hosts: str
    key: str
    where: str


def find_pins(files: list[Path], name: str) -> Pins:
    """Find what known_hosts files say about a host.

    Args:
        files: The files; each must be there.
        name: The host's name as known_hosts has it, `[name]:port` for another port than 22.

    Raises:
        UsageError: A file cannot be read.
    """
    good: list[paramiko.PKey] = []
    revoked: set[bytes] = set()
    authorities: list[str] = []
    unusable: list[str] = []
    for file in files:
        for entry in _entries(file):
            if entry.marker == "@revoked":  # a key that leaked from one host is no proof for another
                revoked.add(_blob(entry.key))
                continue
            if not _is_for(entry.hosts, name):
                continue
            if entry.marker == "@cert-authority":
                authorities.append(entry.where)
                continue
            key = read_key(entry.key)
            if isinstance(key, str):
                unusable.append(f"{entry.where}: {key}")
            else:
                good.append(key)
    return Pins(tuple(good), frozenset(revoked - {b""}), tuple(authorities), tuple(unusable))


def host_name(address: str, port: int) -> str:
    """Return the name that known_hosts has for a host."""
    return address.lower() if port == paramiko.config.SSH_PORT else f"[{address.lower()}]:{port}"


def read_key(text: str) -> paramiko.PKey | str:
    """Read a public key as `type base64`; return what is wrong with it if it cannot be read."""
    kind, _, _rest = text.replace("\t", " ").strip().partition(" ")
    blob = _blob(text)
    if not blob:
        return "not a public key of the form 'type base64'"
    if blob[4 : 4 + len(kind)] != kind.encode("utf-8", "replace"):
        return f"the key is not of the kind {kind!r}"
    try:
        key: paramiko.PKey = paramiko.PKey.from_type_string(kind, blob)
    except UnknownKeyType:
        return f"keys of the kind {kind!r} are not supported"
    except Exception as error:  # noqa: BLE001 - a library's many ways to refuse a stranger's bytes
        return f"not a {kind} key: {str(error) or type(error).__name__}"
    return key if key.asbytes() == blob else f"not a {kind} key: it is cut off, or has extra data at its end"


def _blob(text: str) -> bytes:
    """Return the bytes of a key that is written as `type base64 comment`; none if it is not one."""
    words = text.split()
    if len(words) < 2:  # noqa: PLR2004
        return b""
    try:
        return base64.b64decode(words[1].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        return b""


def _entries(path: Path) -> Iterator[_Entry]:
    """Yield the lines of a file; ssh skips what is not of their form, and so does this."""
    for number, line in split_lines(_content(path)):
        rest = line.strip(_BLANKS + "\r")
        marker: _Marker = ""
        if rest.startswith("@"):
            word, rest = _first(rest)
            if word == "@revoked":
                marker = "@revoked"
            elif word == "@cert-authority":
                marker = "@cert-authority"
            else:
                continue
        if not rest or rest.startswith("#"):
            continue
        hosts, key = _first(rest)
        yield _Entry(marker, hosts, key, f"{shown(path)}:{number}")


def _first(text: str) -> tuple[str, str]:
    """Split off the first word."""
    words = text.replace("\t", " ").split(" ", 1)
    return words[0], words[1].strip() if len(words) > 1 else ""


def _is_for(hosts: str, name: str) -> bool:
    """Whether the first field of a line is for a host: patterns, or a hashed name."""
    if not hosts.startswith("|"):
        return matches_host(name, hosts)
    parts = hosts.split("|")
    if len(parts) != 4 or parts[1] != "1":  # noqa: PLR2004 - |1|salt|hash
        return False
    try:
        salt, digest = (base64.b64decode(part.encode("ascii"), validate=True) for part in parts[2:])
    except (binascii.Error, UnicodeError):
        return False
    return hmac.compare_digest(hmac.new(salt, os.fsencode(name), hashlib.sha1).digest(), digest)


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file() and path != Path(os.devnull):
            raise UsageError(f"{shown(path)}: the known_hosts file is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{shown(path)}: the known_hosts file cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"{shown(path)}: the known_hosts file is larger than {MAX_BYTES} bytes")
    return content
