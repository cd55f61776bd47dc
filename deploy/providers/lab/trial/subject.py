"""Runs the deploy path under test as a process with a time limit, and finds its leftovers."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import msgspec

from switchproof.deploy.providers.lab.errors import CommandFailedError
from switchproof.deploy.providers.lab.state import start_ticks
from switchproof.deploy.providers.lab.trial.seen import Ended, Process

HEAD_KEPT, TAIL_KEPT = 2 * 2**20, 6 * 2**20
"""Bytes that are kept of its output: the first ones and the last ones."""
ARTIFACT_KEPT, ARTIFACTS_KEPT = 2 * 2**20, 16 * 2**20
"""Bytes that are read of one artifact, and of all together."""
GRACE_S = 10.0
"""Seconds between the request to end and the kill."""
REST_S = 2.0
"""Seconds for its children to end after it."""
POLL_S = 0.05
STARTED = "started"
"""The file in its folder that exists once it has been started."""
MARK = "SWITCHPROOF_TRIAL"
"""The environment variable that marks its processes."""

SETTING = """
[ ! -e /etc/ssh/ssh_config ] || mount --bind "$1" /etc/ssh/ssh_config || exit
cd "$2" && : >"$4" && exec /bin/sh -c "$3"
"""
"""Its own mount of the configuration for every `ssh`, which describes the host."""

_NOT_PASSED_ON = ("AWS_", "CI_", "GITHUB_", "GITLAB_", "GIT_", "OVH_", "PYTEST_", "RUNNER_", "SSH_", "SWITCHPROOF_")
_NOT_PASSED_ON_NAMES = frozenset({"CI", "FLAKE_ATTR", "DEPLOY_INSTANCE_ID", "DEPLOY_REPO_URL", "EC2_INSTANCE_ID"})


class Command(msgspec.Struct, frozen=True):
    """The command on trial.

    Attributes:
        text: A command for /bin/sh.
        folder: Its working directory.
        limit_s: Seconds after which it is killed.
    """

    text: str
    folder: Path
    limit_s: float


def environment(given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the path's whole environment: that of a pipeline's job that knows one host.

    Args:
        given: The trial's variables.
        own: The environment of the session, without variables about other hosts, clouds and CI services.
    """
    kept = {
        name: value
        for name, value in own.items()
        if not name.startswith(_NOT_PASSED_ON) and name not in _NOT_PASSED_ON_NAMES
    }
    return kept | dict(given)


class Subject:
    """One run of the path under test; see `start`."""

    def __init__(self, process: subprocess.Popen[bytes], asked: str, mark: str, folder: Path) -> None:
        self._began = dt.datetime.now(dt.UTC)
        self._process = process
        self._asked = asked
        self._mark = mark
        self._folder = folder
        self._ended = self._began
        self._waiter = threading.Thread(target=self._note_end, daemon=True)
        self._waiter.start()
        self._output = _Output()
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._output.read, args=(process.stdout,), daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, command: Command, *, asked: str, given: Mapping[str, str], folder: Path) -> Subject:
        """Start it in a process group of its own.

        Args:
            command: The command.
            asked: The commit.
            given: Its environment.
            folder: Its own folder, with `artifacts` and with `ssh_config`, which replaces /etc/ssh/ssh_config for it.
        """
        # Slave mounts, so that a leftover process does not keep a removed host's disk mounted.
        alone = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "slave", "--")
        words = (folder / "ssh_config", command.folder, command.text, folder / STARTED)
        shell = ["/bin/sh", "-c", SETTING, "sh", *map(str, words)]
        process = subprocess.Popen(
            [*alone, *shell],
            env=dict(given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return cls(process, asked, given[MARK], folder)

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._waiter.is_alive()

    def wait(self, until: float, *, given_up: Callable[[], bool]) -> bool:
        """Wait until it has ended, at most to a moment of the monotonic clock; return whether it has."""
        while self.running and time.monotonic() < until and not given_up():
            time.sleep(POLL_S)
        return not self.running

    def end(self) -> Ended:
        """End it if it still runs, and return its result.

        Raises:
            CommandFailedError: It was never started, because its environment could not be prepared.
        """
        late = self.running
        if late:
            self._signal(signal.SIGTERM)
            self.wait(time.monotonic() + GRACE_S, given_up=lambda: False)
            self._signal(signal.SIGKILL)
            self._waiter.join(GRACE_S)
        # A leftover process may keep its output open for ever.
        self._reader.join(REST_S if late else REST_S / 2)
        output, cut = self._output.text()
        if not (self._folder / STARTED).exists():
            raise CommandFailedError(f"the surroundings of the path could not be set up here: {output.strip()}")
        left, more = _read_all(self._folder / "artifacts")
        return Ended(
            asked=self._asked,
            began=self._began,
            ended=self._ended,
            exit_code=None if late else self._process.returncode,
            output="\n".join((output, *left)),
            cut=cut or more,
        )

    def leftovers(self) -> list[Process]:
        """Return its processes that still run a moment after its end, and kill them."""
        deadline = time.monotonic() + REST_S
        while (left := list(self._started())) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for process, ticks in left:
            if start_ticks(process.pid) == ticks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        return [process for process, _ in left]

    def kill(self) -> None:
        """Kill it and all its processes at once."""
        self._signal(signal.SIGKILL)
        for process, _ in list(self._started()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def _note_end(self) -> None:
        self._process.wait()
        self._ended = dt.datetime.now(dt.UTC)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _started(self) -> Iterator[tuple[Process, int | None]]:
        """Yield every process of its group or with its mark, with its start time."""
        mark = f"\0{MARK}={self._mark}\0".encode()
        for pid in process_numbers():
            if pid == os.getpid() or (ticks := start_ticks(pid)) is None:
                continue
            if mark in b"\0" + read_file(f"/proc/{pid}/environ") + b"\0" or _group(pid) == self._process.pid:
                yield Process(where="runner", pid=pid, command=command_line(pid)), ticks


class _Output:
    """Reads the path's output at once, so that it never waits; cuts the middle of a very long text."""

    def __init__(self) -> None:
        self._head, self._tail = bytearray(), bytearray()
        self._dropped = 0
        self._lock = threading.Lock()

    def read(self, stream: IO[bytes]) -> None:
        for chunk in iter(lambda: stream.read1(2**16), b""):  # type: ignore[attr-defined] # a buffered pipe
            with self._lock:
                room = max(0, HEAD_KEPT - len(self._head))
                self._head += chunk[:room]
                self._tail += chunk[room:]
                if (over := len(self._tail) - TAIL_KEPT) > 0:
                    del self._tail[:over]
                    self._dropped += over

    def text(self) -> tuple[str, bool]:
        with self._lock:
            head, tail = (bytes(part).decode("utf-8", "replace") for part in (self._head, self._tail))
            missing = f"\n[{self._dropped} bytes are left out here]\n" if self._dropped else ""
            return head + missing + tail, bool(self._dropped)


def _read_all(folder: Path) -> tuple[list[str], bool]:
    """Return the text of all files below a folder, and whether a part is missing; links are not followed."""
    texts: list[str] = []
    room, cut = ARTIFACTS_KEPT, False
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            data = file.read(min(ARTIFACT_KEPT, room) + 1)
        kept = data[: min(ARTIFACT_KEPT, room)]
        cut |= len(kept) < len(data)
        room -= len(kept)
        if b"\0" not in kept:
            texts.append(f"==> {path.relative_to(folder)} <==\n{kept.decode('utf-8', 'replace')}")
    return texts, cut


def process_numbers() -> list[int]:
    """Return the ids of all processes of this machine, including those on lab hosts."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - twenty times a second


def read_file(path: str) -> bytes:
    """Return the content of a file in /proc; empty if its process has ended."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - twenty times a second
            return file.read()
    except OSError:
        return b""


def command_line(pid: int) -> str:
    """Return a process's command line for people."""
    return read_file(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
