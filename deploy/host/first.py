"""A host's first question, which is sent before the run needs its answer."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from switchproof.deploy.connection import Completed, Connection
from switchproof.deploy.host.program import question


class First(msgspec.Struct, frozen=True):
    """The first question to a host, which changes nothing there.

    Attributes:
        verb: A verb of the host's script.
        values: All of its variables.
        timeout_s: Seconds for the whole answer.
    """

    verb: str
    values: Mapping[str, str]
    timeout_s: float


class Sent:
    """A first question that is under way.

    Args:
        first: The question.
        connection: It is sent over this connection, which nothing else uses until the answer is there.

    Attributes:
        nonce: Identifies its answer.
        sent: The time at which it was sent, in seconds since 1970; 0 before.
        received: The time at which the answer was complete, in seconds since 1970; 0 before.
    """

    def __init__(self, first: First, connection: Connection) -> None:
        self.first, self.nonce = first, secrets.token_hex(8)
        self.sent = self.received = 0.0
        self._connection = connection
        self._over = threading.Event()
        self._done: Completed | Exception | None = None
        self._hear: Callable[[bytes], None] | None = None
        self._unheard: list[bytes] = []
        self._hearing = threading.Lock()

    def send(self) -> None:
        """Send the question, and wait for the answer. Never raises."""
        try:
            asked = question(self.first.verb, self.nonce, self.first.values, self._take)
            self.sent = time.time()
            self._done = self._connection.run(asked, timeout_s=self.first.timeout_s)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is needed
            self._done = error
        finally:
            self.received = time.time()
            self._over.set()

    def answer(self, hear: Callable[[bytes], None] | None) -> Completed:
        """Wait for the answer; `hear` receives the output, also what has already arrived.

        Raises:
            ConnectionLost: The connection ended first.
            DeadlineExceeded: The time was over first.
            AnswerTooLong: The host printed more than `limits.OUTPUT`.
        """
        with self._hearing:
            unheard, self._unheard = self._unheard, []
            self._hear = hear
            if hear:
                hear(b"".join(unheard))
        self._over.wait()  # no longer than the question's own time
        assert self._done is not None  # set before
        if isinstance(self._done, Exception):
            raise self._done
        return self._done

    def _take(self, piece: bytes) -> None:
        with self._hearing:
            if self._hear:
                self._hear(piece)
            else:
                self._unheard.append(piece)


@runtime_checkable
class AskingAhead(Protocol):
    """A provider that may have asked a host its first question when the connection is taken."""

    def asked_ahead(self, host: str, verb: str, values: Mapping[str, str]) -> Sent | None:
        """Return the question that was sent ahead if it is this one, and only once; None otherwise."""
        ...
