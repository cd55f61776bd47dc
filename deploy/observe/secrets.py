"""The age recipient of a host's SSH key (pure).

Each file of sops lists the recipients that it is encrypted for. For a host that decrypts with its SSH key, its
recipient is that Ed25519 key as a point of Curve25519.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

_KEY = re.compile(r"ssh-ed25519 ([A-Za-z0-9+/]{68})(?:\s|$)")
_BLOB = bytes.fromhex("0000000b") + b"ssh-ed25519" + bytes.fromhex("00000020")
"""The bytes before the key's 32 own ones (RFC 8709, section 4)."""

_PRIME = 2**255 - 19
_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
"""Alphabet and generator of Bech32 (BIP 173)."""

_PREFIX = "age"


def recipient_of(public_key: str) -> str:
    """Return the age recipient of an SSH key, such as `age1…`; empty if it is no Ed25519 key.

    Args:
        public_key: A line as in /etc/ssh/ssh_host_ed25519_key.pub.
    """
    found = _KEY.match(public_key)
    if found is None:
        return ""
    try:
        blob = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return ""
    key = blob.removeprefix(_BLOB)
    height = int.from_bytes(key, "little") & (2**255 - 1)
    if len(key) != len(blob) - len(_BLOB) or height in {0, 1} or height >= _PRIME:
        return ""
    # The birational map from Edwards to Montgomery coordinates (RFC 7748, section 4.1).
    along = (1 + height) * pow(1 - height, -1, _PRIME) % _PRIME
    return _bech32(along.to_bytes(32, "little"))


def _bech32(content: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in content)
    values = [int(bits[at : at + 5].ljust(5, "0"), 2) for at in range(0, len(bits), 5)]
    prefix = [*(ord(letter) >> 5 for letter in _PREFIX), 0, *(ord(letter) & 31 for letter in _PREFIX)]
    checksum = _checksum([*prefix, *values, *[0] * 6]) ^ 1
    values += [(checksum >> 5 * (5 - at)) & 31 for at in range(6)]
    return f"{_PREFIX}1{''.join(_LETTERS[value] for value in values)}"


def _checksum(values: Iterable[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for at, generator in enumerate(_GENERATOR):
            state ^= generator if (top >> at) & 1 else 0
    return state
