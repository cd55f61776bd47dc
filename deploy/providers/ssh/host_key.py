"""Checks the form of a pinned host key without an SSH library (pure)."""

from __future__ import annotations

import base64
import binascii

_FIELDS = {"ssh-ed25519": 2, "ssh-rsa": 3}
"""The number of length-prefixed fields of a key by its type (RFC 4253, RFC 8709); ECDSA has 3 (RFC 5656)."""

_ED25519_BYTES = 32


def host_key_problem(text: str) -> str | None:
    """Return why `KIND BASE64 [COMMENT]` is not a public host key; None if it is."""
    kind, encoded, *_ = [*text.split(), "", ""]
    try:
        blob = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        return "not in base64"
    fields = list[bytes]()
    while blob:
        size = int.from_bytes(blob[:4], "big")
        field, rest = blob[4 : 4 + size], blob[4 + size :]
        if len(field) != size or len(blob) < len(b"size"):
            return "not a complete key: a part is missing"
        fields.append(field)
        blob = rest
    if not fields or fields[0] != kind.encode("ascii", "replace"):
        return f"not a key of the kind {kind}"
    if len(fields) != _FIELDS.get(kind, 3) or (kind == "ssh-ed25519" and len(fields[1]) != _ED25519_BYTES):
        return f"not a complete key of the kind {kind}"
    return None
