"""Finds the host keys that known_hosts files pin or revoke, as OpenSSH does."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import paramiko
from paramiko.pkey import UnknownKeyType

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.ssh.openssh.lines import matches_host, split_lines
from switchproof.deploy.providers.ssh.openssh.values import shown

MAX_BYTES = 64 * 2**20
"""Bytes of one file: half a million hosts."""

_Marker: TypeAlias = Literal["", "@cert-authority", "@revoked"]
_BLANKS = " \t"


class Pins(msgspec.Struct, frozen=True):
    """The host keys that a machine may present.

    Attributes:
        good: Its pinned keys.
        revoked: Keys that no host may present.
        authorities: File and line of authorities whose certificates ssh would accept.
        unusable: File and line of malformed lines for the host, with the reason.

    """

    good: tuple[paramiko.PKey, ...] = ()
    revoked: frozenset[bytes] = frozenset()
    authorities: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()


class _Entry(msgspec.Struct, frozen=True):
    """One line: its hosts, and the key as written."""

    marker: _Marker
    hosts: str
    key: str
    where: str


def find_pins(files: list[Path], name: str) -> Pins:
    """Find the keys for a host in known_hosts files.

    Args:
        files: The files; each must exist.
        name: The host's name in known_hosts: `[name]:port` for another port than 22.

    Raises:
        UsageError: A file cannot be read.
    """
    good: list[paramiko.PKey] = []
    revoked: set[bytes] = set()
    authorities: list[str] = []
    unusable: list[str] = []
    for file in files:
        for entry in _entries(file):
            if entry.marker == "@revoked":  # a leaked key proves no host's identity
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
    """Return a host's name in known_hosts."""
    return address.lower() if port == paramiko.config.SSH_PORT else f"[{address.lower()}]:{port}"


def read_key(text: str) -> paramiko.PKey | str:
    """Read a public key from `type base64`; return the problem if it is malformed."""
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
    except Exception as error:  # noqa: BLE001 - the library raises many types for malformed bytes
        return f"not a {kind} key: {str(error) or type(error).__name__}"
    return key if key.asbytes() == blob else f"not a {kind} key: it is cut off, or has extra data at its end"


def _blob(text: str) -> bytes:
    """Return the bytes of a key in `type base64 comment`; empty if it is malformed."""
    parts = text.split()
    if len(parts) < 2:  # noqa: PLR2004
        return b""
    try:
        return base64.b64decode(parts[1].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        return b""


def _entries(path: Path) -> Iterator[_Entry]:
    """Yield the entries of a file; skip malformed lines, as ssh does."""
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
    parts = text.replace("\t", " ").split(" ", 1)
    return parts[0], parts[1].strip() if len(parts) > 1 else ""


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
