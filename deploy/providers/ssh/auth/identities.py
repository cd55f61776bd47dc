"""Collects the keys and certificates to offer to a host, from files and from the agent, in order."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import io
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import paramiko

from switchproof.deploy.providers.ssh.auth.agent import Agent, AgentKey
from switchproof.deploy.providers.ssh.openssh.values import shown

CERTIFICATE = "-cert-v01@openssh.com"
_KEY_FIELDS = {"ssh-ed25519": 1, "sk-ecdsa-sha2-nistp256@openssh.com": 3}
"""The number of values of a public key, if it is not two."""
_USER_CERTIFICATE = 1


class Offer(msgspec.Struct, frozen=True):
    """A key or certificate to offer.

    Attributes:
        name: Its origin, for messages.
        kind: Its type, `…-cert-v01@openssh.com` for a certificate.
        blob: Its public bytes.
        sign: Signs data with an algorithm.
        note: A remark for messages, such as that it has expired.
    """

    name: str
    kind: str
    blob: bytes
    sign: Callable[[bytes, str], bytes]
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.kind} {fingerprint(self.blob)}{self.note})"


class _Public(msgspec.Struct, frozen=True):
    """A public key or certificate from a file."""

    kind: str
    blob: bytes


def fingerprint(blob: bytes) -> str:
    """Return a key's fingerprint as OpenSSH writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def offers(
    files: tuple[Path, ...],
    certificates: tuple[Path, ...],
    agent: Agent | None,
    *,
    only_files: bool,
    notes: list[str],
) -> Iterator[Offer]:
    """Yield the identities to offer: those that files name first, then the others of the agent.

    Args:
        files: Private keys, or public ones whose private half is in the agent.
        certificates: The certificates of CertificateFile.
        agent: The agent; None without one.
        only_files: Whether the agent may offer only keys that files name.
        notes: Receives identities that cannot be offered, with the reason.
    """
    held = {key.blob: key for key in agent.keys} if agent else {}
    seen: set[bytes] = set()
    for offer in _all(files, certificates, agent, held, only_files=only_files, notes=notes):
        if offer.blob not in seen:
            seen.add(offer.blob)
            yield offer


def _all(
    files: tuple[Path, ...],
    certificates: tuple[Path, ...],
    agent: Agent | None,
    held: dict[bytes, AgentKey],
    *,
    only_files: bool,
    notes: list[str],
) -> Iterator[Offer]:
    in_agent = [(path, public) for path in files if (public := _public_half(path)) and public.blob in held]
    by_agent: dict[Path, Offer] = {}
    if agent:
        for path, public in in_agent:
            by_agent[path] = _from_agent(agent, held[public.blob], f"{shown(path)} in the agent")
    own: dict[Path, Offer] = {}
    for path in files:
        if offer := by_agent.get(path) or _from_file(path, notes):
            own[path] = offer
            yield offer
            beside = path.with_name(path.name + "-cert.pub")
            if beside.exists():
                yield from _certified(beside, [offer], notes)
    for path in certificates:
        yield from _certified(path, list(own.values()), notes, named=True)
    if agent and not only_files:
        for number, key in enumerate(agent.keys, 1):
            yield _from_agent(agent, key, f"key {number} of the agent{f', {key.comment}' if key.comment else ''}")


def _from_agent(agent: Agent, key: AgentKey, name: str) -> Offer:
    return Offer(name, key.kind, key.blob, lambda data, algorithm: agent.sign(key, data, algorithm), _note(key.blob))


def _from_file(path: Path, notes: list[str]) -> Offer | None:
    """Load a private key; note why it cannot be used."""
    name = shown(path)
    try:
        status = path.stat()
        if status.st_uid == os.getuid() and status.st_mode & 0o077:
            # The rule and the wording of OpenSSH's authfile.c.
            notes.append(
                f"{name} (ignored: unprotected private key file, permissions {status.st_mode & 0o7777:04o} are too "
                "open; it must not be accessible by others: chmod 600)"
            )
            return None
        key = _load(path)
    except paramiko.PasswordRequiredException:
        notes.append(f"{name} (not usable: it needs a passphrase, use the agent)")
        return None
    except OSError as error:
        notes.append(f"{name} (not usable: {error.strerror})")
        return None
    if key is None:
        is_public = _read_public(path) is not None
        reason = (
            "a public key, and the agent does not hold its private key"
            if is_public
            else "no ed25519, ecdsa or rsa private key"
        )
        notes.append(f"{name} (not usable: it holds {reason})")
        return None
    return Offer(name, key.get_name(), key.asbytes(), _signer(key))


def _load(path: Path) -> paramiko.PKey | None:
    """Load a private key without the certificate beside it."""
    with path.open("rb") as file:
        text = file.read(2**16).decode("utf-8", "replace")
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise
        except Exception:  # noqa: BLE001, S112 - the library raises many types for a key of another type
            continue
    if "ENCRYPTED" in text:
        raise paramiko.PasswordRequiredException
    return None


def _signer(key: paramiko.PKey) -> Callable[[bytes, str], bytes]:
    def sign(data: bytes, algorithm: str) -> bytes:
        signature: bytes = key.sign_ssh_data(data, algorithm).asbytes()
        return signature

    return sign


def _certified(path: Path, keys: list[Offer], notes: list[str], *, named: bool = False) -> Iterator[Offer]:
    """Yield a certificate with its key; note a certificate without one."""
    public = _read_public(path)
    if public is None or not public.kind.endswith(CERTIFICATE):
        notes.append(f"{shown(path)} (not usable: it holds no certificate)")
        return
    if (inner := _certified_key(public)) is None:
        notes.append(f"{shown(path)} (not usable: the certificate cannot be read)")
        return
    for key in keys:
        if key.blob == inner:
            yield Offer(shown(path), public.kind, public.blob, key.sign, _note(public.blob))
            return
    whose = "none of the keys" if named else keys[0].name
    notes.append(f"{shown(path)} (not usable: the certificate is for the key {fingerprint(inner)}, not for {whose})")


def _public_half(path: Path) -> _Public | None:
    """Return the public half of an identity file: the file's own, or that of the `.pub` file beside it."""
    return _read_public(path.with_name(path.name + ".pub")) or _read_public(path)


def _read_public(path: Path) -> _Public | None:
    try:
        if not path.is_file() or path.stat().st_size > 2**16:
            return None
        parts = path.read_bytes().split(b"\n", 1)[0].split()
        blob = base64.b64decode(parts[1], validate=True)
        kind = parts[0].decode("ascii")
    except (OSError, IndexError, binascii.Error, UnicodeDecodeError):
        return None
    return _Public(kind, blob) if blob[4 : 4 + len(kind)] == parts[0] else None


def _fields(blob: bytes, count: int) -> tuple[list[bytes], bytes]:
    """Split off length-prefixed strings."""
    parts = []
    for _ in range(count):
        (size,) = struct.unpack_from(">I", blob)
        if len(blob) < 4 + size:
            raise struct.error
        parts.append(blob[: 4 + size])
        blob = blob[4 + size :]
    return parts, blob


def _certified_key(certificate: _Public) -> bytes | None:
    """Return the public key inside a certificate."""
    kind = certificate.kind.removesuffix(CERTIFICATE)
    kind += "@openssh.com" if kind.startswith("sk-") else ""
    try:
        parts, _ = _fields(certificate.blob, 2 + _KEY_FIELDS.get(kind, 2))
    except struct.error:
        return None
    name = kind.encode()
    return struct.pack(">I", len(name)) + name + b"".join(parts[2:])


def _note(blob: bytes) -> str:
    """Return why a host will not accept a certificate, as far as its own bytes show."""
    try:
        (first,), _ = _fields(blob, 1)
        kind = first[4:].decode("ascii")
        if not kind.endswith(CERTIFICATE):
            return ""
        plain = kind.removesuffix(CERTIFICATE)
        plain += "@openssh.com" if plain.startswith("sk-") else ""
        _, rest = _fields(blob, 2 + _KEY_FIELDS.get(plain, 2))
        _, usage = struct.unpack_from(">QI", rest)
        _, rest = _fields(rest[12:], 2)
        after, before = struct.unpack_from(">QQ", rest)
    except (struct.error, UnicodeDecodeError, ValueError):
        return ""
    now = dt.datetime.now(dt.UTC).timestamp()
    if usage != _USER_CERTIFICATE:
        return ", a certificate for hosts, not for users"
    if now >= before:
        return f", expired {_time(before)}"
    return f", not valid before {_time(after)}" if now < after else ""


def _time(seconds: int) -> str:
    try:
        return f"on {dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"at second {seconds}"
