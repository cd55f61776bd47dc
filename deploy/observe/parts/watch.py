"""The watch of endpoints and units over the soak: every answer, and every change of a unit (pure)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.answers import Answer, read_answer, seconds
from switchproof.deploy.observe.parts.text import lines_of


class Presence(msgspec.Struct, frozen=True):
    """The state of a unit at one moment of the watch; another pid, invocation or restart count is another process."""

    active: str
    sub: str
    pid: str
    invocation: str
    restarts: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """The values that must stay the same over the soak."""
        return (self.pid, self.invocation, self.restarts)

    def __str__(self) -> str:
        return f"{self.active} ({self.sub}), pid {self.pid}, {self.restarts} restarts"


class Streak(msgspec.Struct, frozen=True):
    """The consecutive good answers at the end of an endpoint's watch.

    Attributes:
        answers: How many.
        seconds: From the first of them to the end of the watch.
        identity_kept: Whether its units were active and the same processes since the first good answer of all.
    """

    answers: int
    seconds: float
    identity_kept: bool


def read_series(frame: Frame, began: float) -> dict[str, tuple[Answer, ...]]:
    """Read every answer with its body, by endpoint, in order.

    Args:
        frame: The answer to `observe`.
        began: When the watch began, as the host's clock counts.

    Raises:
        FrameError: A part is missing.
        ValueError: A line or a body is malformed.
    """
    bodies = _bodies(frame)
    answers: dict[str, list[Answer]] = {}
    for line in lines_of(frame.text("watch.series")):
        name = line.split(" ", 2)[1]
        answer, number = read_answer(line)
        answer = replace(answer, at=answer.at - began, body=bodies.get((name, number)))
        answers.setdefault(name, []).append(answer)
    return {name: tuple(row) for name, row in answers.items()}


def _bodies(frame: Frame) -> dict[tuple[str, str], bytes]:
    """Read the bodies that answers refer to, by endpoint and number."""
    try:
        rest = base64.b64decode(frame.text("watch.body-bytes"), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the bodies are damaged: {error}") from error
    bodies = {}
    for line in lines_of(frame.text("watch.bodies")):
        name, number, size = line.split(" ")
        if not size.isdecimal() or int(size) > len(rest):
            raise ValueError(f"body {number} of {name} is not there")
        bodies[name, number], rest = rest[: int(size)], rest[int(size) :]
    if rest:
        raise ValueError(f"{len(rest)} bytes of bodies belong to no answer")
    return bodies


def read_presences(frame: Frame, began: float) -> tuple[tuple[float, Mapping[str, Presence]], ...]:
    """Read the state of all units at each change, by seconds since the watch began.

    Args:
        frame: The answer to `observe`.
        began: When the watch began, as the host's clock counts.

    Raises:
        FrameError: The part is missing.
        ValueError: A line is malformed.
    """
    presences: list[tuple[float, dict[str, Presence]]] = []
    for line in lines_of(frame.text("watch.units")):
        head, *rest = line.split(" ")
        if head == "at":
            presences.append((seconds(rest[0]) - began, {}))
        else:
            active, *sub, pid, invocation, restarts = rest
            presences[-1][1][head] = Presence(active, " ".join(sub), pid, invocation, restarts)
    return tuple(presences)
