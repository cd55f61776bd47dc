"""Encodes a program for a host into commands of SSM, and decodes the answers (pure).

`host/ssm-carrier.sh` is the other half. Everything besides fixed text travels as base64, so that no shell, JSON
parser or `{{…}}` on the way interprets it.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import re
import shlex
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import msgspec

from switchproof.deploy.connection import Program, Question
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host import limits

CARRIER = Path(__file__).parents[2] / "host" / "ssm-carrier.sh"

USER = "SWITCHPROOF_USER"
"""The variable that names the user as whom the host's half runs a program, if it is not root at once."""

PASSED_ON = 24_000
"""Characters of standard output that GetCommandInvocation returns; the rest is lost (AWS's API model)."""

PIECE = 15_900
"""Bytes of packed output in one answer; as base64 with the frame, less than `PASSED_ON`."""

UNLIMITED = 2**40
"""Bytes of packed output in one answer that goes to a bucket."""

Outcome: TypeAlias = Literal["answered", "running", "lost", "unknown", "needs", "corrupt"]

_OPENING = re.compile(
    r"^SWITCHPROOF-SSM/1 (?P<question>[0-9a-f]{16}) (?P<outcome>[a-z]{1,20}) (?P<status>[0-9a-z-]{1,10}) "
    r"(?P<size>[0-9]{1,12}) (?P<sum>[0-9a-f]{64}|-) (?P<offset>[0-9]{1,12})\r?$",
    re.MULTILINE,
)


class Mangled(Inconclusive):
    """The output from SSM is not one complete answer."""


class TooLong(Inconclusive):
    """The host's answer exceeds the limits of a run; it would do so again."""


class Answer(msgspec.Struct, frozen=True):
    """The answer of the host's half to one question.

    Attributes:
        outcome: `answered` has the output; `running` has begun and not ended; `lost` has begun and will never end;
            `unknown` was never begun; `needs` lacks the program; `corrupt` has another one.
        status: The program's exit status, `signal` after a signal; the process id while `running`.
        size: Bytes of the packed output.
        sha256: The packed output's digest.
        offset: The offset of `piece` in it.
        stderr: The last bytes of standard error.
        piece: Bytes of the packed output.
    """

    outcome: Outcome
    status: str = "-"
    size: int = 0
    sha256: str = "-"
    offset: int = 0
    stderr: bytes = b""
    piece: bytes = b""


class Load(msgspec.Struct, frozen=True):
    """A program for the carrier: a file, its interpreter, and its variables."""

    file: bytes
    interpreter: str
    argument: str
    values: Mapping[str, str]

    @classmethod
    def of(cls, program: Program, user: str | None = None) -> Load:
        """Split a question, so that its script is not sent each time; a text stays whole.

        Args:
            program: What is to be run as root.
            user: The user who becomes root for it; None if the agent runs it at once.
        """
        values = {USER: user} if user else {}
        if isinstance(program, Question):
            return cls(program.script.encode(), "bash", program.verb, {**program.values, **values})
        return cls(program, "sh", "", values)

    @property
    def digest(self) -> str:
        """The SHA-256 that identifies the file on the host."""
        return hashlib.sha256(self.file).hexdigest()


class Errand(msgspec.Struct, frozen=True):
    """A task for the host's half.

    Attributes:
        assignments: Its variables; values contain only letters, digits, `-` and `_`.
        load: The program to run; None without one.
        whole: Whether to send the program's file, which the host must have otherwise.
    """

    assignments: Mapping[str, str]
    load: Load | None = None
    whole: bool = False

    @property
    def question(self) -> str:
        """The name of the errand on the host and in the command's comment."""
        return self.assignments["question"]

    def text(self) -> str:
        """Return the errand as one shell text."""
        carried = {"packed": "", "values": ""}
        if self.load:
            exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.load.values.items())
            carried["values"] = pack(exports.encode())
            carried["packed"] = pack(self.load.file) if self.whole else ""
        head = "".join(f"{name}='{value}'\n" for name, value in {**self.assignments, **carried}.items())
        return head + CARRIER.read_text(encoding="utf-8")


def ask(question: str, load: Load, *, whole: bool, limit: int, patience_s: int) -> Errand:
    """Make the errand that runs a program, only once even if it arrives twice, and returns its output.

    Args:
        question: 16 hexadecimal digits that identify it.
        load: The program.
        whole: Whether to send the file, which the host must have otherwise.
        limit: Bytes of packed output in the answer.
        patience_s: Seconds for which a second arrival waits for the first one's answer.
    """
    program = {"digest": load.digest, "interpreter": load.interpreter, "argument": load.argument}
    answer = {"offset": "0", "limit": str(limit), "patience": str(max(1, patience_s))}
    return Errand({"question": question, "action": "ask", **program, **answer}, load, whole)


def look(question: str, *, offset: int = 0, limit: int = PIECE) -> Errand:
    """Make the errand that reports on a question, with output from an offset on; it runs nothing."""
    return _without_program(question, "look", offset, limit)


def withdraw(question: str) -> Errand:
    """Make the errand that reports on a question, and prevents a later run of one that never arrived."""
    return _without_program(question, "withdraw", 0, PIECE)


def _without_program(question: str, action: str, offset: int, limit: int) -> Errand:
    program = {"digest": "", "interpreter": "", "argument": ""}
    answer = {"offset": str(offset), "limit": str(limit), "patience": "1"}
    return Errand({"question": question, "action": action, **program, **answer})


def parse(output: str, question: str) -> Answer:
    """Find the answer to a question in SSM's output.

    Raises:
        Mangled: There is none, or it is truncated or altered.
        TooLong: It announces more than a run accepts.
    """
    openings = [match for match in _OPENING.finditer(output) if match["question"] == question]
    if not openings:
        raise Mangled(f"SSM's output does not contain the host's answer: {output[-200:].strip() or 'nothing at all'}")
    opening = openings[-1]
    outcome = opening["outcome"]
    body, end, _ = output[opening.end() + 1 :].partition(f"\nSWITCHPROOF-SSM/1 {question} end")
    if not end:
        raise Mangled(f"the host's answer is cut off after {len(output)} characters")
    lines = body.split("\n") if outcome == "answered" else ["", ""]
    try:
        stderr, piece = (base64.b64decode(line.strip(), validate=True) for line in lines)
    except (ValueError, binascii.Error) as error:
        raise Mangled(f"the host's answer was changed on the way: {error}") from error
    if outcome not in get_args(Outcome):
        raise Mangled(f"the host's answer has the unknown outcome {outcome!r}")
    if int(opening["size"]) > limits.PACKED:
        raise TooLong(f"the host announces {opening['size']} bytes of output; at most {limits.PACKED} are fetched")
    return Answer(
        outcome,  # type: ignore[arg-type] # it is one of them
        opening["status"],
        int(opening["size"]),
        opening["sum"],
        int(opening["offset"]),
        stderr,
        piece,
    )


def whole_output(answer: Answer, packed: bytes) -> bytes:
    """Check the packed output from all pieces, and unpack it.

    Raises:
        Mangled: It differs from the host's output.
        TooLong: It is more than a run accepts.
    """
    if len(packed) != answer.size or hashlib.sha256(packed).hexdigest() != answer.sha256:
        raise Mangled(
            f"the output was changed on the way: {len(packed)} bytes instead of {answer.size}, or other bytes"
        )
    inflater = zlib.decompressobj(wbits=31)
    try:
        output = inflater.decompress(packed, limits.OUTPUT + 1)
    except zlib.error as error:
        raise Mangled(f"the output cannot be unpacked: {error}") from error
    if len(output) > limits.OUTPUT:
        raise TooLong(f"the unpacked output has more than {limits.OUTPUT} bytes")
    if not inflater.eof:
        raise Mangled("the output cannot be unpacked: its end is missing")
    return output


def pack(content: bytes) -> str:
    """Return bytes as gzip in base64, packed fast because nobody compares them."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
