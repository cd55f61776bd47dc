r"""Parses the output of a host into one checked frame.

A frame is what a verb of `host-switch.sh` prints:

    SWITCHPROOF/1 <nonce> <verb> <length> <sha256>
    <base64 of the gzipped payload, in lines>
    SWITCHPROOF/1 <nonce> end

Length (in bytes) and digest are of the payload. The nonce is the caller's, so that an answer to another question does
not count; nor do two answers with different content. The payload is a sequence of sections,
`<name> <length>\n<that many bytes>\n`, so no content of a host is ever interpreted on the way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator

import msgspec

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host import limits

_MARK = rb"^SWITCHPROOF/1 %s (?:(?P<verb>[a-z]+) (?P<length>\d{1,9}) (?P<digest>[0-9a-f]{64})|end)\r?$"
_SECTION = re.compile(rb"([a-z](?!\S*/\.\.?/)[A-Za-z0-9_.@:/\\-]{0,600}) (\d{1,9})\n")
"""Pattern of a section. A name may become a path, so none leads elsewhere; names of units contain backslashes."""


class FrameError(Inconclusive):
    """The host's answer is not one complete frame, so nothing may be concluded from it."""


class Frame(msgspec.Struct, frozen=True):
    """A checked answer of a host.

    Attributes:
        verb: The verb that answered.
        sections: Its sections, by name, in order.
    """

    verb: str
    sections: dict[str, bytes]

    def text(self, name: str) -> str:
        """Return a section as text; bytes that are not UTF-8 become replacement characters.

        Raises:
            FrameError: The section is missing.
        """
        if name not in self.sections:
            raise FrameError(f"the host's answer to {self.verb!r} lacks the part {name!r}")
        return self.sections[name].decode("utf-8", "replace")

    def get(self, name: str, default: str = "") -> str:
        """Return a section as text, or `default` if it is missing."""
        return self.text(name) if name in self.sections else default


def parse(output: bytes, *, nonce: str, verb: str) -> Frame:
    """Find the frame in a host's output, and check it.

    Args:
        output: The whole output.
        nonce: The question's nonce.
        verb: The verb that was asked.

    Raises:
        FrameError: There is no such frame, or it is truncated, altered, duplicated with other content, or of another
            verb.
    """
    first: Frame | None = None
    for number, (opening, closing) in enumerate(_frames(output, nonce, verb), 1):
        if number > limits.ANSWERS:
            raise FrameError(f"the host answered {verb!r} more than {limits.ANSWERS} times")
        frame = _parse_one(output, opening, closing)
        first = first or frame
        if frame.sections != first.sections:
            raise FrameError(f"the host answered {verb!r} {number} times, with different answers")
    if first is None:
        raise FrameError(f"the host did not answer {verb!r}{_instead(output)}")
    if first.verb != verb:
        raise FrameError(f"the host answered {first.verb!r} when asked {verb!r}")
    return first


def _frames(output: bytes, nonce: str, verb: str) -> Iterator[tuple[re.Match[bytes], re.Match[bytes]]]:
    """Yield the first and last line of each frame; no frame begins within another."""
    opening: re.Match[bytes] | None = None
    for mark in re.finditer(_MARK % re.escape(nonce.encode()), output, re.MULTILINE):
        if mark["verb"] is None and opening is not None:
            yield opening, mark
            opening = None
        elif mark["verb"] is not None and opening is not None:
            raise FrameError(f"the host's answer to {verb!r} is cut short by another one")
        elif mark["verb"] is not None:
            opening = mark
    if opening is not None:
        raise FrameError(f"the host's answer to {opening['verb'].decode()!r} is cut short")


def _parse_one(output: bytes, opening: re.Match[bytes], closing: re.Match[bytes]) -> Frame:
    verb, length, digest = opening["verb"].decode(), int(opening["length"]), opening["digest"].decode()
    if length > limits.PAYLOAD:
        raise FrameError(f"the host's answer to {verb!r} announces {length} bytes; at most {limits.PAYLOAD} are read")
    try:
        body = output[opening.end() : closing.start()].translate(None, b" \t\r\n")
        packed = base64.b64decode(body, validate=True)
        inflater = zlib.decompressobj(wbits=31)
        payload = inflater.decompress(packed, length + 1)
    except (binascii.Error, zlib.error) as error:
        raise FrameError(f"the host's answer to {verb!r} is damaged: {error}") from error
    if len(payload) != length or hashlib.sha256(payload).hexdigest() != digest:
        raise FrameError(f"the host's answer to {verb!r} is damaged: length or digest differ from what it announced")
    return Frame(verb, read_sections(verb, payload))


def read_sections(verb: str, payload: bytes) -> dict[str, bytes]:
    """Read a sequence of sections.

    Args:
        verb: The verb that answered, for the message.
        payload: The sections, one after the other.

    Raises:
        FrameError: The text is malformed, or a name occurs twice.
    """
    sections: dict[str, bytes] = {}
    at = 0
    while at < len(payload):
        head = _SECTION.match(payload, at)
        if head is None:
            raise FrameError(f"the host's answer to {verb!r} cannot be read after {at} bytes")
        name, end = head[1].decode(), head.end() + int(head[2])
        if payload[end : end + 1] != b"\n":
            raise FrameError(f"part {name!r} of the host's answer to {verb!r} does not have the announced length")
        if len(sections) >= limits.PARTS:
            raise FrameError(f"the host's answer to {verb!r} has more than {limits.PARTS} parts")
        if name in sections:
            raise FrameError(f"part {name!r} occurs twice in the host's answer to {verb!r}")
        sections[name] = payload[head.end() : end]
        at = end + 1
    return sections


def _instead(output: bytes) -> str:
    """Return the last lines of an output without a frame, as the end of a message."""
    tail = output[-2000:].decode("utf-8", "replace").strip().splitlines()[-3:]
    return f"; it said: {' / '.join(line.strip()[:200] for line in tail)}" if tail else " with anything at all"
