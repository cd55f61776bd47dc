"""The machines that build and hold systems: the runner, or a builder over SSH. Both run the same programs."""

from __future__ import annotations

import os
import secrets
import select
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from switchproof.deploy.connection import (
    SHELL,
    Completed,
    Connection,
    ConnectionLost,
    ConnectionProblem,
    Drawing,
    Feeding,
    Output,
    Provider,
)
from switchproof.deploy.errors import BuildFailed, UsageError
from switchproof.deploy.host import limits
from switchproof.deploy.source import OF_A_HOOK, Source

ASK_S = 300.0
"""Seconds for a question that neither builds nor copies."""

KILLED = range(129, 256)
"""Exit statuses of a shell whose program was ended by a signal."""

_START_S, _STALL_S, _LONGEST_S = 60.0, 60.0, 86400.0
_EXIT_S = 10.0
_CHUNK, _LAST = 2**17, 2**16
_FOLDER = '"${XDG_CACHE_HOME:-${HOME:?}/.cache}"/switchproof/builds'
"""Where builders keep a run's clone and roots, in shell."""


class Site(Protocol):
    """A machine that builds."""

    name: str
    """Its name in the record."""
    label: str
    """Its name in sentences."""
    way: str
    """How it was reached, for readers; empty for the runner."""

    def reach(self) -> None:
        """Check that the machine can be reached, before anything begins.

        Raises:
            ConnectionProblem: It cannot; the message says what was seen and what to try.
            UsageError: It is not the expected machine, or nothing can be built there.
        """
        ...

    def open(self) -> str:
        """Make a folder for the run, and return its absolute path.

        Raises:
            ConnectionProblem: The machine was lost.
            BuildFailed: There is no such folder.
        """
        ...

    def start(self, text: str, *, limit_s: float) -> Output:
        """Start a program, as a text for `/bin/sh` that reads no input. Several can run at the same time.

        Args:
            text: The text.
            limit_s: Seconds after which the machine ends the program, whatever becomes of this process.

        Raises:
            ConnectionProblem: The machine was lost.
            OSError: The program could not be started.
        """
        ...

    def provide(self, source: Source) -> str:
        """Return the URL from which git there fetches a commit of a clone on the runner.

        Raises:
            ConnectionProblem: The machine was lost.
            BuildFailed: The commit did not arrive there.
        """
        ...

    def break_off(self) -> None:
        """End all programs; nothing is started any more."""
        ...

    def close(self) -> None:
        """Remove the folder. Never raises."""
        ...


class Runner:
    """This machine."""

    name, label, way = "runner", "the runner", ""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._running: set[_Process] = set()
        self._is_over = False

    def reach(self) -> None:
        """Do nothing; see `Site.reach`."""

    def open(self) -> str:
        """Make a folder; see `Site.open`."""
        self._folder = tempfile.TemporaryDirectory(prefix="switchproof-build-", ignore_cleanup_errors=True)
        return self._folder.name

    def start(self, text: str, *, limit_s: float) -> Output:
        """Start a program; see `Site.start`."""
        del limit_s  # the caller's own deadline ends it
        process = _Process(text, self._running)
        if self._is_over:  # the signal came before the program was started
            process.kill()
        return process

    def provide(self, source: Source) -> str:
        """Make a repository with the commit, which no branch of the clone may contain; see `Site.provide`."""
        assert self._folder is not None  # opened before
        try:
            return str(source.repository(Path(self._folder.name)))
        except (UsageError, OSError) as error:
            raise BuildFailed(f"{source.commit} cannot be read from {source.clone}: {error}") from error

    def break_off(self) -> None:
        """End all programs; see `Site.break_off`."""
        self._is_over = True
        for process in list(self._running):
            process.kill()

    def close(self) -> None:
        """Remove the folder; see `Site.close`."""
        if self._folder is not None:
            self._folder.cleanup()


class _Process:
    """A program on this machine, with what it began; see `Output`.

    Args:
        text: The program.
        running: Contains it for as long as it runs.
    """

    def __init__(self, text: str, running: set[_Process]) -> None:
        self._began, self._running = time.monotonic(), running
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed at its end
        with tempfile.TemporaryFile() as stdin:
            stdin.write(text.encode())
            stdin.seek(0)
            self._process = subprocess.Popen(
                SHELL.split(),
                env={name: value for name, value in os.environ.items() if name not in OF_A_HOOK},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,
            )
        assert self._process.stdout is not None  # it is a pipe
        self._stdout: IO[bytes] = self._process.stdout
        self._is_read = False
        running.add(self)

    def read(self, timeout_s: float) -> bytes:
        """Return the next piece; see `Output.read`."""
        if not select.select([self._stdout], [], [], timeout_s)[0]:
            raise TimeoutError
        chunk = os.read(self._stdout.fileno(), _CHUNK)
        self._is_read = not chunk
        return chunk

    def end(self) -> Completed:
        """End it; see `Output.end`."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_S if self._is_read else 0)
        self.kill()
        self._process.wait()
        self._running.discard(self)
        self._stdout.close()
        with self._stderr as stderr:
            stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _LAST))
            words = stderr.read()
        status = self._process.returncode
        status = status if status >= 0 else 128 - status
        return Completed(b"", words, status if self._is_read else None, time.monotonic() - self._began)

    def kill(self) -> None:
        """Kill it, and what it began, unless it has ended."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


@runtime_checkable
class _Building(Connection, Drawing, Feeding, Protocol):
    """A connection over which systems are built."""


class Remote:
    """A builder over SSH, which may be a host of the run.

    Args:
        name: Its name.
        provider: Connects to it, with a checked host key.
        run: The run's id.
    """

    def __init__(self, name: str, provider: Provider, run: str) -> None:
        self.name, self.label, self.way = name, f"the builder {name}", ""
        self._provider, self._run, self._folder = provider, run, ""
        self._lock = threading.Lock()
        self._idle: list[_Building] = []
        self._busy: list[_Building] = []
        self._is_over = False

    def reach(self) -> None:
        """Connect; see `Site.reach`."""
        connection = self._connect()
        with self._lock:
            self._idle.append(connection)

    def open(self) -> str:
        """Make a folder; see `Site.open`. Those of runs that were lost are removed after a day."""
        made = f"mkdir -p {_FOLDER}/{self._run} && cd {_FOLDER} && chmod 700 ."
        old = "find . -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} +"
        text = f"{made} && {old} && cd {self._run} && pwd -P\n"
        printed, done = read_all(self.start(text, limit_s=ASK_S), ASK_S)
        folder = printed.removesuffix("\n")
        if done.exit_status != 0 or not folder.startswith("/") or not folder.isprintable():
            raise BuildFailed(f"there is no folder for the build on {self.label}: {last_lines(done.stderr)}")
        self._folder = folder
        return folder

    def start(self, text: str, *, limit_s: float) -> Output:
        """Start a program over a connection of its own; see `Site.start`. It ends with the connection."""
        connection = self._take()
        try:
            return _Held(connection.draw(guarded(text, limit_s), timeout_s=_START_S), connection, self)
        except BaseException:
            self.give_back(connection, is_usable=False)
            raise

    def provide(self, source: Source) -> str:
        """Send the commit with all that it needs; see `Site.provide`."""
        connection = self._take()
        is_sent = False
        try:
            with source.bundle(()) as bundle, bundle.open("rb") as stream:
                done = connection.feed(
                    f"/bin/sh -c 'umask 077; exec cat >{_FOLDER}/{self._run}/bundle'",
                    iter(lambda: stream.read(_CHUNK), b""),
                    stall_s=_STALL_S,
                )
            is_sent = True
        finally:
            self.give_back(connection, is_usable=is_sent)
        if done.exit_status != 0:
            raise BuildFailed(f"the source did not arrive on {self.label}: {last_lines(done.stderr)}")
        return f"{self._folder}/bundle"

    def break_off(self) -> None:
        """End all programs; see `Site.break_off`."""
        self._is_over = True
        with self._lock:
            connections = [*self._idle, *self._busy]
        for connection in connections:
            connection.close()

    def close(self) -> None:
        """Remove the folder; see `Site.close`."""
        with self._lock:
            has_idle = bool(self._idle)
        if has_idle and not self._is_over:
            with suppress(ConnectionProblem, TimeoutError):
                read_all(self.start(f"rm -rf {_FOLDER}/{self._run}\n", limit_s=_START_S), _START_S)
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def give_back(self, connection: _Building, *, is_usable: bool) -> None:
        """Take a connection back from a program that has ended."""
        with self._lock:
            self._busy.remove(connection)
            if is_usable and not self._is_over:
                self._idle.append(connection)
                return
        connection.close()

    def _take(self) -> _Building:
        """Return a connection that no program uses."""
        with self._lock:
            if self._idle:
                self._busy.append(self._idle[-1])
                return self._idle.pop()
        if self._is_over:
            raise ConnectionLost(self.name, "the run was interrupted", "Start it again.")
        try:
            connection = self._connect()
        except UsageError as error:  # another host key does not become the right one by waiting
            raise BuildFailed(str(error)) from error
        with self._lock:
            self._busy.append(connection)
        return connection

    def _connect(self) -> _Building:
        connection = self._provider.connect(self.name)
        if not isinstance(connection, _Building):
            connection.close()
            raise UsageError(f"{self.name}: nothing can be built over such a connection; choose another builder")
        facts = connection.facts
        self.way = f"{facts.user}@{facts.address}:{facts.port}, with the pinned key {facts.host_key}"
        return connection


class _Held:
    """The output of a program on a builder, which has a connection of its own; see `Output`."""

    def __init__(self, output: Output, connection: _Building, site: Remote) -> None:
        self._output, self._connection, self._site = output, connection, site

    def read(self, timeout_s: float) -> bytes:
        """Return the next piece; see `Output.read`."""
        return self._output.read(timeout_s)

    def end(self) -> Completed:
        """End it; see `Output.end`. A program that still runs ends with its connection."""
        done = self._output.end()
        self._site.give_back(self._connection, is_usable=done.exit_status is not None)
        return done


def guarded(text: str, limit_s: float) -> bytes:
    """Return a program to draw from, which ends when its time is over, or when its standard input is closed."""
    end = f"END-{secrets.token_hex(8)}"
    path = "/run/current-system/sw/bin:$PATH:/nix/var/nix/profiles/default/bin:/usr/local/bin:/usr/bin:/bin"
    return (
        f'work() {{\nPATH="{path}"; export PATH\nexec 3<&0\n'
        f"timeout --kill-after=10 {limit_s:.0f} /bin/sh -s 3<&- <<'{end}' &\n{text}\n{end}\n"
        "program=$!\n"
        # Also its whole group: a signal ends `timeout` alone while that has not yet learnt whom it started.
        '{ cat <&3; kill -s TERM -- "-$program" "$program"; } >/dev/null 2>&1 &\n'
        'watch=$!\nexec 3<&-\nwait "$program"; status=$?\n'
        'kill "$watch" 2>/dev/null\nexit "$status"\n}\nwork\n'
    ).encode()


def read_all(output: Output, timeout_s: float) -> tuple[str, Completed]:
    """Read the output of a program to its end.

    Args:
        output: The output.
        timeout_s: Seconds within which the program must have ended.

    Returns:
        Standard output, and the result.

    Raises:
        TimeoutError: The time was over first.
        ConnectionLost: The connection was lost first.
        BuildFailed: It was too long.
    """
    deadline, printed = time.monotonic() + timeout_s, bytearray()
    try:
        while chunk := output.read(max(0.0, deadline - time.monotonic())):
            printed += chunk
            if len(printed) > limits.OUTPUT:
                raise BuildFailed(f"more than {limits.OUTPUT} bytes came in one answer")
    finally:
        done = output.end()
    return printed.decode("utf-8", "replace"), done


class Stock:
    """Store paths on the machine that built them.

    Args:
        site: The machine.
    """

    def __init__(self, site: Site) -> None:
        self._site, self.label = site, site.label

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Return the bytes that each store path takes when it is unpacked.

        Raises:
            ConnectionProblem: The machine was lost.
            BuildFailed: It did not report them.
        """
        problem = f"nix-store on {self.label} did not report sizes of paths"
        try:
            printed, done = read_all(self._start("--query --size", paths, ASK_S), ASK_S)
        except TimeoutError as error:
            raise BuildFailed(f"{problem} within {ASK_S:g} s") from error
        sizes = printed.split()
        if done.exit_status != 0 or len(sizes) != len(paths):
            raise BuildFailed(f"{problem}: {last_lines(done.stderr)}")
        return dict(zip(paths, map(int, sizes), strict=True))

    def export(self, paths: Sequence[str]) -> Output:
        """Write store paths, for an import elsewhere.

        Raises:
            ConnectionProblem: The machine was lost.
        """
        return self._start("--export", paths, _LONGEST_S)

    def _start(self, options: str, paths: Sequence[str], limit_s: float) -> Output:
        return self._site.start(f"exec nix-store {options} {shlex.join(paths)} </dev/null\n", limit_s=limit_s)


def last_lines(stderr: bytes) -> str:
    """Return the last lines of an error output, as one."""
    lines = [line for line in stderr[-4000:].decode("utf-8", "replace").splitlines() if line.strip()]
    return " ".join(lines[-3:])
