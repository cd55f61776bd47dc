"""Connects to hosts while the rest of a run still loads, before its journal can take anything, and may ask them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

import msgspec

from switchproof.deploy.connection import Connection, Provider
from switchproof.deploy.host.first import First, Sent

Say: TypeAlias = Callable[[str], None]


class _Attempt(msgspec.Struct):
    """The first connection to one host.

    Attributes:
        ended: Set when there is a connection or a problem.
        connection: The connection; None before there is one, and once it was handed out or closed.
        problem: The reason why there is none.
    """

    ended: threading.Event = msgspec.field(default_factory=threading.Event)
    connection: Connection | None = None
    problem: Exception | None = None


class Ahead:
    """A provider that has begun to connect to hosts when the run opens it.

    The first connection to a host is the one that was begun, or its error; later ones are new. A connection that
    nobody takes is closed.

    Args:
        hosts: The hosts to connect to at once, by name.
        make: Makes the provider; it gets what receives the lines that tell what a connection waits for.
        first: The questions that are sent over these connections at once, by host.
    """

    def __init__(
        self, hosts: Sequence[str], make: Callable[[Say], Provider], first: Mapping[str, First] | None = None
    ) -> None:
        self._first, self._sent = first or {}, dict[str, Sent]()
        self._lock = threading.Lock()
        self._show: Say | None = None
        self._held: list[str] = []
        self._closed = False
        self._provider: Provider | None = None
        self._refusal: Exception | None = None
        self._attempts = {host: _Attempt() for host in hosts}
        try:
            self._provider = make(self._say)  # here, as two threads that import at once hold each other up
        except Exception as error:  # noqa: BLE001 - it is raised where the provider is opened
            self._refusal = error
            return
        for host, attempt in list(self._attempts.items()):
            threading.Thread(target=self._attempt, args=(self._provider, host, attempt), daemon=True).start()

    def open(self, say: Say) -> Provider:
        """Return this provider, if it could be opened.

        Args:
            say: Receives the lines that were held until now, and all later ones.

        Raises:
            UsageError: The provider cannot work on this machine, or with this target.
        """
        with self._lock:
            self._show, held, self._held = say, self._held, []
        for line in held:
            say(line)
        if self._refusal is not None:
            raise self._refusal
        return self

    def connect(self, host: str) -> Connection:
        """Take the connection that was begun, or open a new one; see `Provider.connect`."""
        with self._lock:
            attempt = self._attempts.pop(host, None)
        if attempt is None:
            assert self._provider is not None  # open() raises without one
            return self._provider.connect(host)
        attempt.ended.wait()
        if attempt.problem is not None:
            raise attempt.problem
        assert attempt.connection is not None  # without a problem
        return attempt.connection

    def asked_ahead(self, host: str, verb: str, values: Mapping[str, str]) -> Sent | None:
        """Return the question that was sent ahead; see `AskingAhead.asked_ahead`."""
        with self._lock:
            sent = self._sent.pop(host, None)
        if sent is None or (sent.first.verb, sent.first.values) == (verb, values):
            return sent
        with suppress(Exception):  # another question needs the connection
            sent.answer(None)
        return None

    def close(self) -> None:
        """Close the connections that nobody took, and the provider. Waits for nothing."""
        with self._lock:
            self._closed = True
            untaken = [attempt.connection for attempt in self._attempts.values() if attempt.connection]
            self._attempts.clear()
        for connection in untaken:
            connection.close()
        if self._provider is not None:
            self._provider.close()

    def _attempt(self, provider: Provider, host: str, attempt: _Attempt) -> None:
        sent: Sent | None = None
        try:
            connection = provider.connect(host)
        except Exception as error:  # noqa: BLE001 - it is raised where the connection is needed
            attempt.problem = error
        else:
            with self._lock:
                attempt.connection = connection
                unwanted = self._closed
                if host in self._first and not unwanted:
                    sent = self._sent[host] = Sent(self._first[host], connection)
            if unwanted:
                connection.close()
        finally:
            attempt.ended.set()
        if sent is not None:
            sent.send()

    def _say(self, line: str) -> None:
        with self._lock:
            show = self._show
            if show is None:
                self._held.append(line)
        if show is not None:
            show(line)
