"""Sends a stream to a command on an instance in pieces, because Run Command passes on no input (pure)."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable

from switchproof.deploy.errors import Inconclusive

MOST = 2**20
"""Bytes of a packed stream that are sent."""

PIECE = 24_000
"""Bytes of a packed stream in one command, which is then as large as one that carries the host's script."""

_SHELF = "/run/switchproof/ssm/sent"
"""Where pieces lie until the last one has come; the carrier deletes what is left there."""


def pack(host: str, chunks: Iterable[bytes]) -> bytes:
    """Read a stream, and pack it.

    Raises:
        Inconclusive: It is longer than what is sent.
    """
    deflater, packed = zlib.compressobj(wbits=31), bytearray()
    for chunk in chunks:
        packed += deflater.compress(chunk)
        if len(packed) > MOST:
            break
    packed += deflater.flush()
    if len(packed) > MOST:
        raise Inconclusive(
            f"{host}: more than {MOST / 1e6:.1f} MB, packed, would have to be sent through SSM, which is not done",
            "Let the host fetch: a commit that is pushed, without --source, or a system from a cache that "
            "build.substituter names. Only what the host lacks is sent.",
        )
    return bytes(packed)


def pieces(name: str, content: bytes) -> list[bytes]:
    """Make the programs that put a stream on the host, in any order.

    Args:
        name: A name of letters and digits that no other stream has.
        content: The packed stream.
    """
    parts = [content[first : first + PIECE] for first in range(0, len(content), PIECE)] or [b""]
    return [
        f"umask 077; mkdir -p {_SHELF}/{name} && base64 -d >{_SHELF}/{name}/{number:04d} <<'END'\n"
        f"{base64.encodebytes(part).decode()}END\n".encode()
        for number, part in enumerate(parts)
    ]


def last(name: str, content: bytes, command: str) -> bytes:
    """Make the program that checks a packed stream by its digest, and gives what was packed to a command."""
    digest = hashlib.sha256(content).hexdigest()
    return (
        f"cd {_SHELF}/{name} || exit 1\n"
        f"[ \"$(cat ./* | sha256sum)\" = '{digest}  -' ] || {{ echo 'the pieces did not come whole' >&2; exit 1; }}\n"
        f"cat ./* | gzip -dc | {command}\nstatus=$?\nrm -r {_SHELF}/{name}\nexit $status\n"
    ).encode()
