"""The provider `local`: this machine is the host, and a shell runs the same program text."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile

from switchproof.deploy.connection import (
    SHELL,
    AnswerTooLong,
    Completed,
    ConnectionFacts,
    DeadlineExceeded,
    Program,
    text_of,
)
from switchproof.deploy.errors import UsageError
from switchproof.deploy.host import limits
from switchproof.deploy.providers.kind import Kind
from switchproof.deploy.target.types import Target


class LocalConnection:
    """Runs programs on this machine.

    Args:
        host: The name that the target file gives this machine.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.facts = ConnectionFacts(kind="local", user=getpass.getuser())
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        """Run a program; see `Connection.run`."""
        began = time.monotonic()
        # Files need no reader as pipes do, and processes that outlive the program cannot keep them open.
        with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
            stdin.write(text_of(program))
            stdin.seek(0)
            self._process = process = subprocess.Popen(
                SHELL.split(), stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
            )
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise DeadlineExceeded(
                    self.host, f"no complete answer within {timeout_s:g} s", "Check what keeps this machine busy."
                ) from None
            finally:
                self.close()
            stdout.seek(0)
            stderr.seek(0)
            status = process.returncode if process.returncode >= 0 else None
            output = stdout.read(limits.OUTPUT + 1)
            if len(output) > limits.OUTPUT:
                raise AnswerTooLong(self.host, f"more than {limits.OUTPUT} bytes came in one answer")
            return Completed(output, stderr.read(limits.OUTPUT), status, time.monotonic() - began)

    def close(self) -> None:
        """Kill the running program, if any."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class LocalProvider:
    """The provider `local`.

    Raises:
        UsageError: This process does not run as root.
    """

    def __init__(self, target: Target) -> None:
        if os.geteuid() != 0:
            raise UsageError("provider 'local' switches this machine and so needs root; run it as root")
        self._host = target.hosts[0].name

    def connect(self, host: str) -> LocalConnection:
        """Return a connection to this machine."""
        assert host == self._host  # the target has this one host
        return LocalConnection(host)

    def close(self) -> None:
        """Nothing is held open."""


def _find_problems(target: Target, is_own: bool) -> Iterator[str]:
    if is_own and len(target.hosts) != 1:
        yield f"hosts: provider 'local' has one host, this machine (found {len(target.hosts)})"


LOCAL = Kind(
    name="local",
    providers=("local",),
    find_problems=_find_problems,
    open=lambda target, _: LocalProvider(target),
    label="this machine",
    vouched_by="nothing in between",
)
