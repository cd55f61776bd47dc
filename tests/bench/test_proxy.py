"""The distance in front of the lab adds latency and nothing else."""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bench.proxy import Route, running, seen

ROUND_TRIP_S = 0.05
MANY = 2**22


@pytest.fixture
def port() -> int:
    """A port that sends back whatever it is sent, until that ends."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connected, _ = server.accept()
        with connected:
            while chunk := connected.recv(2**16):
                connected.sendall(chunk)
        server.close()

    threading.Thread(target=serve, daemon=True).start()
    number: int = server.getsockname()[1]
    return number


def _ask(port: int, question: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connected:

        def say() -> None:
            with suppress(OSError):  # the other end may have closed first
                connected.sendall(question)
                connected.shutdown(socket.SHUT_WR)

        threading.Thread(target=say, daemon=True).start()
        answer = bytearray()
        while chunk := connected.recv(2**16):
            answer += chunk
        return bytes(answer)


def test_everything_arrives_in_order_and_never_early(port: int, tmp_path: Path) -> None:
    """What goes through comes whole and in order, no sooner than a handshake and a round trip take."""
    question = os.urandom(MANY)
    with running([Route("127.0.0.1", port, ROUND_TRIP_S)], tmp_path / "notes") as (near,):
        began = time.monotonic()
        answer = _ask(near, question)
        seconds = time.monotonic() - began
    assert answer == question
    assert seconds >= 2 * ROUND_TRIP_S


def test_packets_that_a_client_sees_are_noted(port: int, tmp_path: Path) -> None:
    """The notes have the time of the connection, and a round trip later that of the answer."""
    notes = tmp_path / "notes"
    with running([Route("127.0.0.1", port, ROUND_TRIP_S)], notes) as (near,):
        before = time.time()
        _ask(near, b"anybody?")
        after = time.time()
    (connected,), (answered,) = seen(notes, "connected"), seen(notes, "answered")
    assert before <= connected <= answered - ROUND_TRIP_S <= after


def test_nobody_there_ends_the_connection(tmp_path: Path) -> None:
    """Where nobody listens, the client is told by the end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    with running([Route("127.0.0.1", free, 0.0)], tmp_path / "notes") as (near,):
        assert _ask(near, b"") == b""


def test_a_route_is_written_as_it_is_read() -> None:
    """A route survives its way through the command line."""
    route = Route("10.213.0.2", 22, 0.04)
    assert Route.from_arg(route.to_arg()) == route
