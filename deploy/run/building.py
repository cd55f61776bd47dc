"""Builds systems on the runner, once per configuration, from the commit that the hosts resolved."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from switchproof.deploy.errors import BuildFailed
from switchproof.deploy.record.events import LogLine, Noted, SystemBuilt
from switchproof.deploy.record.facts import Build
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.source import OF_A_HOOK
from switchproof.deploy.target.types import Target

NIX = ("nix", "--extra-experimental-features", "nix-command flakes")
STORE_PATH = re.compile(r"/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,200}")
_LINES, _LAST_LINES = 20_000, 12
SAY_S = 10.0
"""Seconds between two messages about a program that prints nothing."""


@dataclass(frozen=True)
class System:
    """The built system of one configuration.

    Attributes:
        toplevel: Its store path.
        paths: The store paths of its closure, each after the paths that it needs.
    """

    toplevel: str
    paths: tuple[str, ...]


class _Ended(BuildFailed):
    """A program ended by itself with a failure."""


class Workshop:
    """Builds on this machine, and protects the results from the garbage collector until its context ends.

    Args:
        target: The repository and the hosts.
        journal: Receives events and nix's log.
    """

    def __init__(self, target: Target, journal: Journal) -> None:
        self._target, self._journal = target, journal
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._host = target.hosts[0].name
        self._deadline = 0.0
        self._is_broken_off = False

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="switchproof-build-", ignore_cleanup_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._folder is not None  # made when it was entered
        self._folder.cleanup()

    def build(self, sha: str, configurations: Mapping[str, str]) -> dict[str, System]:
        """Build each configuration once.

        Args:
            sha: The full commit.
            configurations: The configuration of each host.

        Returns:
            The systems, by configuration.

        Raises:
            BuildFailed: git or nix failed; the message ends with their last lines.
        """
        self._deadline = time.monotonic() + self._target.build.timeout_s
        began = time.monotonic()
        source = self._fetch(sha)
        nix = self._run([*NIX, "--version"], "nix did not report its version").strip()
        built: dict[str, System] = {}
        for host, name in configurations.items():
            if name in built:
                continue
            self._host = host
            built[name] = self._build(name, self._asked(name, source, sha), f"{source.parent}/system-{len(built)}")
            seconds = round(time.monotonic() - began, 3)
            fact = Build(
                configuration=name,
                toplevel=built[name].toplevel,
                nix=nix,
                paths=len(built[name].paths),
                seconds=seconds,
            )
            self._journal.emit(SystemBuilt(build=fact))
            hosts = ", ".join(each for each, own in configurations.items() if own == name)
            text = f"The runner built {name} with {nix} for {hosts}: {fact.toplevel} ({fact.paths} store paths"
            self._journal.emit(Noted(host=None, text=f"{text}, {seconds:.1f} s)."))
            began = time.monotonic()
        return built

    def break_off(self) -> None:
        """Kill the running program; no other one is started."""
        self._is_broken_off = True
        if (process := self._process) is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _fetch(self, sha: str) -> Path:
        """Fetch every branch and tag, as hosts do, and check that the commit is among them."""
        assert self._folder is not None  # made when it was entered
        source = Path(self._folder.name) / "source"
        url = self._target.build.repository or self._target.repository.url or ""
        self._say("git fetches the repository")
        self._run(["git", "init", "--quiet", str(source)], "git could not make a clone")
        refs = ["+refs/heads/*:refs/switchproof/heads/*", "+refs/tags/*:refs/switchproof/tags/*"]
        self._run(
            ["git", "-C", str(source), "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "origin", *refs],
            "git could not fetch the repository on the runner",
            # A token in the URL must not reach an argument list.
            {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "remote.origin.url", "GIT_CONFIG_VALUE_0": url},
        )
        self._run(
            ["git", "-C", str(source), "cat-file", "-e", f"{sha}^{{commit}}"],
            f"the repository that the runner fetches from (build.repository) has no commit {sha}",
        )
        return source

    def _asked(self, name: str, source: Path, sha: str) -> list[str]:
        """Return what nix is asked to build: an attribute of the flake, or of a file of the commit."""
        file = self._target.repository.file
        if file is None:
            return [f'git+file://{source}?rev={sha}#nixosConfigurations."{name}".config.system.build.toplevel']
        fetched = f'(builtins.fetchGit {{ url = "file://{source}"; rev = "{sha}"; }}).outPath'
        tree = self._run([*NIX, "eval", "--raw", "--expr", fetched], f"nix could not read the files of {sha}")
        attribute = "" if name == file else f"{name}."
        return ["--file", f"{tree.strip()}/{file}", f"{attribute}config.system.build.toplevel"]

    def _build(self, name: str, asked: Sequence[str], link: str) -> System:
        log: deque[str] = deque(maxlen=_LINES)
        self._say(f"nix builds {name} on the runner")
        options = ["--print-build-logs", "--print-out-paths", "--out-link", link]
        problem = f"nix could not build {name} on the runner"
        try:
            # No channel of this machine is found by accident.
            printed = self._run([*NIX, "build", *options, *asked], problem, {"NIX_PATH": "none=/none"}, log)
        except _Ended as error:
            path, text = self._keep(name, log)
            raise BuildFailed(str(error), configuration=name, log=text, log_path=path) from error
        except BuildFailed:
            self._keep(name, log)
            raise
        self._keep(name, log)
        toplevel = printed.strip()
        if not STORE_PATH.fullmatch(toplevel):
            raise BuildFailed(f"nix built {name} on the runner, but printed no store path: {toplevel[:200]!r}")
        needed = self._run(
            ["nix-store", "--query", "--requisites", toplevel], f"nix could not list the closure of {toplevel}"
        )
        return System(toplevel, tuple(needed.split()))

    def _keep(self, name: str, log: Iterable[str]) -> tuple[str, str]:
        """Keep nix's log as evidence, and return its path and text."""
        text = self._journal.redact("".join(log))
        file = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        return self._journal.keep(None, f"build-{file}.log", f"log of the build of {name} on the runner", text), text

    def _run(
        self,
        command: Sequence[str],
        problem: str,
        environment: Mapping[str, str] | None = None,
        log: deque[str] | None = None,
    ) -> str:
        """Run a program within the deadline, and return its standard output."""
        if self._is_broken_off:
            raise BuildFailed(f"{problem}: the run was interrupted")
        stderr = deque[str](maxlen=_LAST_LINES) if log is None else log
        given = {name: value for name, value in os.environ.items() if name not in OF_A_HOOK}
        given["GIT_TERMINAL_PROMPT"] = "0"
        try:
            process = subprocess.Popen(
                command,
                env={**given, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise BuildFailed(f"{problem}: {error}") from error
        assert process.stdout is not None  # they are pipes
        assert process.stderr is not None
        self._process = process
        if self._is_broken_off:  # the signal came before the program was started
            self.break_off()
        report = self._say if log is not None else None
        printed: deque[str] = deque()
        readers = [
            threading.Thread(target=_take, args=(process.stdout, printed, None), daemon=True),
            threading.Thread(target=_take, args=(process.stderr, stderr, report), daemon=True),
        ]
        for reader in readers:
            reader.start()
        in_time = self._await(process, command[0])
        for reader in readers:
            reader.join(5)
        self._process = None
        if not in_time:
            raise BuildFailed(f"{problem} within build.timeout_s = {self._target.build.timeout_s:g} s")
        if process.returncode != 0:
            last = "".join(list(stderr)[-_LAST_LINES:]).strip()
            raise _Ended(f"{problem} (exit status {process.returncode}); no host was touched:\n{last}")
        return "".join(printed)

    def _await(self, process: subprocess.Popen[str], name: str) -> bool:
        """Wait until a program has ended, and report the wait; False if it had to be killed."""
        began = time.monotonic()
        while (left_s := self._deadline - time.monotonic()) > 0:
            try:
                process.wait(min(SAY_S, left_s))
            except subprocess.TimeoutExpired:
                self._say(f"{name} is at work on the runner, {time.monotonic() - began:.0f} s")
            else:
                return True
        self.break_off()
        process.wait()
        return False

    def _say(self, text: str) -> None:
        self._journal.emit(LogLine(host=self._host, text=text))


def _take(stream: Iterable[str], into: deque[str], report: Callable[[str], None] | None) -> None:
    """Read one output of a program to its end."""
    with suppress(OSError, ValueError):
        for line in stream:
            into.append(line)
            if report:
                report(line.rstrip())
