"""Simulates a distant network: TCP on loopback that delays each byte by half a round trip and loses none.

It runs as a process of its own, so that it shares no interpreter with what is measured:

    python -m bench.proxy SEEN ADDRESS:PORT=ROUND_TRIP_S …

It prints the port of each route, in order, as one line of JSON, and ends when its standard input does. In the file
SEEN it notes when clients connect and when they get bytes of a host.

A connection on loopback is established at once. To add the time of a real handshake (SYN, SYN and ACK, ACK), the
proxy connects to the host three half trips after it accepted the client. Buffers have no limit, so latency is added
and throughput is not limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CHUNK = 2**17
"""Bytes read at once."""

END_S = 5.0
"""Seconds within which the process must end by itself."""


@dataclass(frozen=True)
class Route:
    """A route to an address and port with a round trip of `round_trip_s` seconds."""

    address: str
    port: int
    round_trip_s: float

    @classmethod
    def from_arg(cls, text: str) -> Route:
        """Read `ADDRESS:PORT=ROUND_TRIP_S`."""
        where, _, seconds = text.partition("=")
        address, _, port = where.rpartition(":")
        return cls(address, int(port), float(seconds))

    def to_arg(self) -> str:
        """Write what `from_arg` reads."""
        return f"{self.address}:{self.port}={self.round_trip_s!r}"


Moment = Literal["connected", "answered"]
"""What the proxy notes: a client connected, or a client got bytes of a host."""


def seen(file: Path, moment: Moment) -> list[float]:
    """Return the times of all moments of a kind that the proxy noted in a file, in seconds since 1970, in order."""
    lines = (line.split() for line in file.read_text("utf-8").splitlines())
    return [float(at) for at, what in lines if what == moment]


@contextlib.contextmanager
def running(routes: Sequence[Route], notes: Path) -> Iterator[list[int]]:
    """Run the proxy as a process for as long as the context lasts.

    Args:
        routes: The routes.
        notes: The file for the moments that `seen` reads.

    Yields:
        The local port of each route, in order.
    """
    command = [sys.executable, "-m", "bench.proxy", str(notes), *(route.to_arg() for route in routes)]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def serve(routes: Sequence[Route], note: Callable[[Moment], None]) -> None:
    """Serve every route until standard input ends, and note moments."""
    servers = [await _listen(route, note) for route in routes]
    sys.stdout.write(json.dumps([server.sockets[0].getsockname()[1] for server in servers]) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


async def _listen(route: Route, note: Callable[[Moment], None]) -> asyncio.Server:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        note("connected")
        # The end of the process cancels open connections, which is not an error.
        with contextlib.suppress(asyncio.CancelledError):
            await _carry(route, reader, writer, lambda: note("answered"))

    return await asyncio.start_server(accepted, "127.0.0.1", 0, limit=CHUNK)


async def _carry(
    route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: Callable[[], None]
) -> None:
    """Carry one connection in both directions until both have ended."""
    half_s = route.round_trip_s / 2
    stands = asyncio.get_running_loop().create_future()
    there = asyncio.create_task(_pump(reader, stands, half_s, lambda: None))
    try:
        await asyncio.sleep(3 * half_s)
        host_reader, host_writer = await asyncio.open_connection(route.address, route.port, limit=CHUNK)
    except OSError:
        there.cancel()
        writer.close()
        return
    stands.set_result(host_writer)
    back: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    back.set_result(writer)
    await asyncio.gather(there, _pump(host_reader, back, half_s, answered), return_exceptions=True)
    for end in (writer, host_writer):
        end.close()


async def _pump(
    reader: asyncio.StreamReader,
    to: asyncio.Future[asyncio.StreamWriter],
    late_s: float,
    passed: Callable[[], None],
) -> None:
    """Pass on what comes, each chunk `late_s` after it came, and then the end; call `passed` after each chunk."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        while True:
            try:
                chunk = await reader.read(CHUNK)
            except OSError:
                chunk = b""
            waiting.put_nowait((loop.time() + late_s, chunk))
            if not chunk:
                return

    reading = asyncio.create_task(read())
    writer = await to
    try:
        while True:
            due, chunk = await waiting.get()
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            if not chunk:
                break
            writer.write(chunk)
            passed()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        pass
    finally:
        reading.cancel()


if __name__ == "__main__":
    with Path(sys.argv[1]).open("a", encoding="utf-8", buffering=1) as file:
        asyncio.run(
            serve(
                [Route.from_arg(argument) for argument in sys.argv[2:]],
                lambda moment: print(f"{time.time():.6f} {moment}", file=file),
            )
        )
