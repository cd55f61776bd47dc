r"""Bytes from a host → one checked frame, or why not.

A frame is what a verb of `host-switch.sh` prints:

    SWITCHPROOF/1 <nonce> <verb> <length> <sha256>
    <base64 of the gzipped payload, in lines>
    SWITCHPROOF/1 <nonce> end

Length (bytes) and digest are of the payload. The nonce is the caller's, so an answer to another question, or one
that is given twice with different content, is no answer. The payload is a row of sections,
`<name> <length>\n<that many bytes>\n`, so nothing that a host says is ever interpreted on the way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host import limits

_MARK = rb"^SWITCHPROOF/1 %s (?:(?P<verb>[a-z]+) (?P<length>\d{1,9}) (?P<digest>[0-9a-f]{64})|end)\r?$"
_SECTION = re.compile(rb"([a-z](?!\S*/\.\.?/)[A-Za-z0-9_.@:/\\-]{0,600}) (\d{1,9})\n")
"""A name of parts may become a path, so none of them leads elsewhere. Units have backslashes in their names."""


class FrameError(Inconclusive):
    """The host's answer is not one whole frame; what it said cannot be relied on."""


@dataclass(frozen=True)
class Frame:
    """A checked answer of a host.

    Attributes:
        verb: The verb that answered.
        sections: What it said, by name, in order.
    """

    verb: str
    sections: dict[str, bytes]

    def text(self, name: str) -> str:
        """Return a section as text; what is not UTF-8 becomes replacement characters.

        Raises:
            FrameError: The host did not say it.
        """
        if name not in self.sections:
            raise FrameError(f"the host's answer to {self.verb!r} lacks the part {name!r}")
        return self.sections[name].decode("utf-8", "replace")

    def get(self, name: str, default: str = "") -> str:
        """Return a section as text, or `default` if the host did not say it."""
        return self.text(name) if name in self.sections else default


def parse(output: bytes, *, nonce: str, verb: str) -> Frame:
    """Find the frame in what a host printed, and check it.

    Args:
        output: Everything that the host printed.
        nonce: The caller's, as sent with the question.
        verb: The verb that was asked.

    Raises:
        FrameError: There is no such frame, or it is cut short, altered, doubled or of another verb.
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
    """Yield the first and the last line of each frame; none begins within another."""
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
    """Read a row of sections.

    Args:
        verb: The verb that answered, for the message.
        payload: The sections, one after the other.

    Raises:
        FrameError: It is no row of sections, or a name stands twice.
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
    """Say what a host printed in place of a frame: its last lines tell why."""
    tail = output[-2000:].decode("utf-8", "replace").strip().splitlines()[-3:]
    return f"; it said: {' / '.join(line.strip()[:200] for line in tail)}" if tail else " with anything at all"
