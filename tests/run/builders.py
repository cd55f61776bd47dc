"""A builder that is this machine: its connections run real shells, and can be lost."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from switchproof.deploy.connection import SHELL, Completed, ConnectionFacts, ConnectionLost, Program, Unreachable


class Builder:
    """A provider with one builder.

    Attributes:
        connections: All connections so far.
        away: How many attempts to connect find nobody.
        on_start: What happens when a program begins, with the number of those that began before.
    """

    def __init__(self) -> None:
        self.connections: list[Shell] = []
        self.away = 0
        self.begun = 0
        self.on_start: Callable[[Shell, int], None] = lambda *_: None

    def connect(self, host: str) -> Shell:
        if self.away:
            self.away -= 1
            raise Unreachable(host, "no answer at its address", "Look.")
        self.connections.append(Shell(host, self))
        return self.connections[-1]

    def close(self) -> None:
        pass


class Shell:
    """One connection to it."""

    def __init__(self, host: str, builder: Builder) -> None:
        self.host, self.builder = host, builder
        self.facts = ConnectionFacts(
            kind="ssh", address="192.0.2.9", port=22, user="nix", host_key="ssh-ed25519 SHA256:x"
        )
        self.is_lost = self.is_closed = False
        self.running: list[Shown] = []

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        raise NotImplementedError

    def draw(self, program: bytes, *, timeout_s: float) -> Shown:
        assert timeout_s > 0
        self.builder.on_start(self, self.builder.begun)
        self.builder.begun += 1
        if self.is_lost:
            raise ConnectionLost(self.host, "gone", "Look.")
        self.running.append(Shown(self, program))
        return self.running[-1]

    def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
        assert stall_s > 0
        done = subprocess.run(
            ["/bin/sh", "-c", command], input=b"".join(chunks), capture_output=True, timeout=60, check=False
        )
        return Completed(done.stdout, done.stderr, done.returncode, 0.0)

    def lose(self) -> None:
        """The network is gone; sshd ends what the connection runs."""
        self.is_lost = True
        self.close()

    def close(self) -> None:
        self.is_closed = True
        for shown in self.running:
            shown.hang_up()


class Shown:
    """The output of a program on it."""

    def __init__(self, shell: Shell, program: bytes) -> None:
        self.shell = shell
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed at its end
        self.process = subprocess.Popen(
            SHELL.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr
        )
        assert self.process.stdin is not None
        self.process.stdin.write(program)
        self.process.stdin.flush()
        self.is_read = False

    def read(self, timeout_s: float) -> bytes:
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while not select.select([self.process.stdout], [], [], 0.05)[0]:
            if self.shell.is_lost or self.shell.is_closed:
                break
            if time.monotonic() > deadline:
                raise TimeoutError
        if self.shell.is_lost or self.shell.is_closed:
            raise ConnectionLost(self.shell.host, "gone", "Look.")
        chunk = os.read(self.process.stdout.fileno(), 2**16)
        self.is_read = not chunk
        return chunk

    def end(self) -> Completed:
        self.hang_up()
        status = self.process.wait(30)
        with self.stderr as stderr:
            stderr.seek(0)
            return Completed(b"", stderr.read(), status if self.is_read else None, 0.0)

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            self.process.stdin.close()
