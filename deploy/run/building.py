"""Builds systems on one machine, once per configuration, from the commit that the hosts resolved."""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import quote

import msgspec

from switchproof.deploy.connection import ConnectionProblem, Output
from switchproof.deploy.errors import BuildFailed
from switchproof.deploy.host import limits
from switchproof.deploy.record.events import LogLine, Noted, SystemBuilt
from switchproof.deploy.record.facts import Build
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.run.nixlog import NixLog
from switchproof.deploy.run.sites import KILLED, Site
from switchproof.deploy.source import OF_A_HOOK, Source
from switchproof.deploy.target.types import Target

TRIES = 3
"""Attempts at a step on a builder that is lost; what it has built by then stays there."""

STORE_PATH = re.compile(r"/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,200}")
SAY_S = 10.0
"""Seconds between two messages about a program that prints nothing."""

_NIX = "nix --extra-experimental-features 'nix-command flakes'"
_CLOSED_NIX = f"NIX_PATH=none=/none {_NIX}"
"""nix that finds no channel of the machine by accident."""

_LINES, _LAST_LINES, _LONGEST_LINE = 20_000, 12, 2**16
_LATER_S = 15.0
"""Seconds by which a builder ends a program later than this machine does, which names the key."""

_FOREIGN = re.compile(
    r"a '(?P<needs>[\w-]+)' with features \{[^}]*\} is required to build .*?, but I am a '(?P<has>[\w-]+)'"
    r"|Required system: '(?P<needs_now>[\w-]+)'.*?Current system: '(?P<has_now>[\w-]+)'",
    re.DOTALL,
)
"""The words of nix 2.26 and of 2.34 about a derivation for another kind of machine."""

_NO_DAEMON = re.compile(
    r"^\s*error: (Nix daemon disconnected unexpectedly|cannot connect to (socket|daemon) at"
    r"|cannot open connection to remote store 'daemon'|opening lock file '/nix/var/nix/db/)",
    re.MULTILINE,
)
"""The words of nix, also where a user who is not root has no daemon. What builds print comes behind their names."""


class System(msgspec.Struct, frozen=True):
    """The built system of one configuration.

    Attributes:
        toplevel: Its store path.
        paths: The store paths of its closure, each after the paths that it needs.
        forecast: What nix said before the build that it will build and fetch.
    """

    toplevel: str
    paths: tuple[str, ...]
    forecast: str = ""


class _Archived(msgspec.Struct, frozen=True):
    """A flake that nix archived, with its inputs."""

    path: str | None = None
    inputs: dict[str, _Archived] = {}

    def of_inputs(self) -> list[str]:
        """Return the store paths of all inputs. One that is a folder of another one has that one's path."""
        paths = []
        for each in self.inputs.values():
            paths += ["/".join(each.path.split("/")[:4])] if each.path else []
            paths += each.of_inputs()
        return paths


class Log:
    """The log of nix.

    Attributes:
        lines: Its last lines.
        forecast: What nix said first that it will build and fetch.
    """

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.forecast = ""


class _Ended(BuildFailed):
    """A program ended by itself with a failure."""


class Workshop:
    """Builds on one machine, and protects the results from the garbage collector until its context ends.

    Args:
        target: The repository and the hosts.
        journal: Receives events and nix's log.
        site: The machine.
        source: The commit that the runner sends; None if git on the machine fetches.
        stop: Set when the run is to end.
    """

    def __init__(
        self, target: Target, journal: Journal, site: Site, source: Source | None, stop: threading.Event
    ) -> None:
        self._target, self._journal, self._site, self._source = target, journal, site, source
        self._stop = stop
        self._host = target.hosts[0].name
        self._deadline = 0.0
        self._is_broken_off = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._site.close()

    def build(self, sha: str, configurations: Mapping[str, str]) -> Iterator[tuple[str, System]]:
        """Build each configuration once, one after the other.

        Args:
            sha: The full commit.
            configurations: The configuration of each host.

        Yields:
            Each configuration and its system, as soon as that is built.

        Raises:
            BuildFailed: The machine was lost, or git or nix failed; the message ends with their last lines.
        """
        self._deadline = time.monotonic() + self._target.build.timeout_s
        began, label = time.monotonic(), self._site.label
        folder = self._fetch(sha)
        nix = self._run(f"{_NIX} --version </dev/null\n", f"nix on {label} did not report its version").strip()
        if self._site.way:
            self._note(f"{label} was reached as {self._site.way}.")
        firsts = {name: host for host, name in reversed(list(configurations.items()))}
        for number, name in enumerate(dict.fromkeys(configurations.values())):
            self._host = firsts[name]
            asked = self._asked(name, folder, sha)
            system = self._build(name, asked, f"{folder}/system-{number}")
            seconds = round(time.monotonic() - began, 3)
            fact = Build(
                configuration=name,
                toplevel=system.toplevel,
                on=self._site.name,
                nix=nix,
                paths=len(system.paths),
                seconds=seconds,
            )
            self._journal.emit(SystemBuilt(build=fact))
            hosts = ", ".join(each for each, own in configurations.items() if own == name)
            text = f"{label} built {name} with {nix} for {hosts}: {fact.toplevel} ({fact.paths} store paths"
            self._note(f"{text}, {seconds:.1f} s).")
            yield name, system
            began = time.monotonic()

    def evaluate(self, revision: str, configurations: Iterable[str]) -> dict[str, str]:
        """Evaluate each configuration once; nothing is built, except what the evaluation itself imports.

        Args:
            revision: The commit, of which a part suffices.
            configurations: The configurations.

        Returns:
            The store paths of their systems.

        Raises:
            BuildFailed: The machine was lost, or git or nix failed; the message ends with their last lines.
        """
        self._deadline = time.monotonic() + self._target.build.timeout_s
        label = self._site.label
        folder = self._fetch(revision)
        named = f"git -C {shlex.quote(folder)}/source rev-parse {shlex.quote(revision)}'^{{commit}}' </dev/null\n"
        sha = self._run(named, f"git on {label} could not name the commit {revision}").strip()
        found: dict[str, str] = {}
        for name in dict.fromkeys(configurations):
            self._say(f"nix evaluates {name} on {label}")
            *options, attribute = self._asked(name, folder, sha)
            wanted = shlex.join([*options, f"{attribute}.outPath"])
            problem = f"nix could not evaluate {name} on {label}"
            found[name] = self._run(f"{_CLOSED_NIX} eval --raw {wanted} </dev/null\n", problem).strip()
            if not STORE_PATH.fullmatch(found[name]):
                raise BuildFailed(f"{problem}: it printed no store path, but {found[name][:200]!r}")
            self._note(f"{label} evaluated {name} of {sha}: {found[name]}.")
        return found

    def archive(self, source: Source) -> tuple[str, ...]:
        """Fetch the locked inputs of a flake into the store of this machine, and return their store paths.

        Raises:
            BuildFailed: nix failed; the message ends with its last lines.
        """
        self._deadline = time.monotonic() + self._target.build.timeout_s
        label = self._site.label
        self._say(f"nix fetches the flake's inputs on {label}")
        flake = shlex.quote(f"git+file://{quote(str(source.clone))}?rev={source.commit}")
        problem = f"nix could not fetch the inputs of the flake on {label}"
        printed = self._run(f"{_CLOSED_NIX} flake archive --json --no-write-lock-file {flake} </dev/null\n", problem)
        try:
            paths = msgspec.json.decode(printed, type=_Archived).of_inputs()
        except msgspec.MsgspecError as error:
            raise BuildFailed(f"{problem}: it listed none ({error})") from error
        if strange := next((path for path in paths if not STORE_PATH.fullmatch(path)), None):
            raise BuildFailed(f"{problem}: it listed something else than store paths: {strange[:200]!r}")
        return tuple(dict.fromkeys(paths))

    def break_off(self) -> None:
        """End the running programs; no other one is started."""
        self._is_broken_off = True
        self._site.break_off()

    def _fetch(self, sha: str) -> str:
        """Fetch every branch and tag, as hosts do, and check that the commit is among them; return the folder."""
        label = self._site.label
        folder = self._again("there is no folder for the build", self._site.open)
        if (source := self._source) is not None:
            url = self._again("the source did not arrive", lambda: self._site.provide(source))
        else:
            url = self._target.build.repository or self._target.repository.url or ""
        clone = shlex.quote(f"{folder}/source")
        self._say(f"git fetches the repository on {label}")
        self._run(f"git init --quiet {clone} </dev/null\n", f"git could not make a clone on {label}")
        refs = "'+refs/heads/*:refs/switchproof/heads/*' '+refs/tags/*:refs/switchproof/tags/*'"
        options = "--quiet --no-tags --no-recurse-submodules"
        self._run(
            # A token in the URL must not reach an argument list.
            f"GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0={shlex.quote(url)}\n"
            "export GIT_CONFIG_COUNT GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0\n"
            f"git -C {clone} fetch {options} origin {refs} </dev/null\n",
            f"git could not fetch the repository on {label}",
        )
        self._run(
            f"git -C {clone} cat-file -e {shlex.quote(sha)}'^{{commit}}' </dev/null\n",
            f"the repository from which {label} fetches (build.repository) has no commit {sha}",
        )
        return folder

    def _asked(self, name: str, folder: str, sha: str) -> list[str]:
        """Return what nix is asked to build: an attribute of the flake, or of a file of the commit."""
        file, url = self._target.repository.file, f"file://{quote(folder)}/source"
        if file is None:
            return [f'git+{url}?rev={sha}#nixosConfigurations."{name}".config.system.build.toplevel']
        fetched = shlex.quote(f'(builtins.fetchGit {{ url = "{url}"; rev = "{sha}"; }}).outPath')
        problem = f"nix on {self._site.label} could not read the files of {sha}"
        tree = self._run(f"{_NIX} eval --raw --expr {fetched} </dev/null\n", problem).strip()
        attribute = "" if name == file else f"{name}."
        return ["--file", f"{tree}/{file}", f"{attribute}config.system.build.toplevel"]

    def _build(self, name: str, asked: list[str], link: str) -> System:
        log = Log()
        label = self._site.label
        self._say(f"nix builds {name} on {label}")
        built = shlex.join(["--out-link", link, *asked])
        problem = f"nix could not build {name} on {label}"
        try:
            self._run(f"{_CLOSED_NIX} build --log-format internal-json {built} </dev/null 2>&1\n", problem, log)
        except _Ended as error:
            path, text = self._keep(name, log.lines)
            if other := self._other_cause(name, problem, text):
                raise other from error
            raise BuildFailed(str(error), configuration=name, log=text, log_path=path) from error
        except BuildFailed:
            self._keep(name, log.lines)
            raise
        self._keep(name, log.lines)
        listed = f"readlink {shlex.quote(link)} && nix-store --query --requisites {shlex.quote(link)} </dev/null\n"
        toplevel, *needed = self._run(listed, f"nix could not list the closure of {name} on {label}").split("\n")
        if not STORE_PATH.fullmatch(toplevel):
            raise BuildFailed(f"nix built {name} on {label}, but made no store path: {toplevel[:200]!r}")
        paths = tuple(path for path in needed if path)
        if strange := next((path for path in paths if not STORE_PATH.fullmatch(path)), None):
            raise BuildFailed(f"nix on {label} listed something else than store paths: {strange[:200]!r}")
        return System(toplevel, paths, log.forecast)

    def _other_cause(self, name: str, problem: str, log: str) -> BuildFailed | None:
        """Return the error for a build that failed because of the machine, not because of the commit."""
        last = "".join(log.splitlines(keepends=True)[-_LAST_LINES:])
        if _NO_DAEMON.search(last):
            return BuildFailed(
                f"{problem}, because its Nix daemon does not run, ended, or does not let the user in "
                f"(allowed-users); no host was touched:\n{last.strip()}"
            )
        if foreign := _FOREIGN.search(last):
            needs, has = foreign["needs"] or foreign["needs_now"], foreign["has"] or foreign["has_now"]
            return BuildFailed(
                f"{problem}: {name} is built on {needs}, and {self._site.label} is {has}; choose a builder of that "
                "kind with --build, or let the hosts build (--build=host); no host was touched"
            )
        return None

    def _keep(self, name: str, log: Iterable[str]) -> tuple[str, str]:
        """Keep nix's log as evidence, and return its path and text."""
        text = self._journal.redact("".join(log))
        file = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        what = f"log of the build of {name} on {self._site.label}"
        return self._journal.keep(None, f"build-{file}.log", what, text), text

    def _again(self, problem: str, step: Callable[[], str]) -> str:
        """Take a step, again if the machine is lost."""
        for left in reversed(range(TRIES)):
            if self._is_broken_off:
                raise BuildFailed(f"{problem}: the run was interrupted")
            try:
                return step()
            except ConnectionProblem as error:
                if self._is_broken_off:
                    raise BuildFailed(f"{problem}: the run was interrupted") from error
                if not left or self._stop.wait(1):
                    lost = f"{problem}, because {self._site.label} was lost; no host was touched: {error}"
                    raise BuildFailed(lost) from error
                self._note(f"{self._site.label} was lost and is asked again: {error}")
        raise AssertionError  # the last attempt returns or raises

    def _run(self, text: str, problem: str, log: Log | None = None) -> str:
        """Run a program within the deadline; return its standard output, or take it as a log."""
        own = f"unset {' '.join(OF_A_HOOK)}\nGIT_TERMINAL_PROMPT=0; export GIT_TERMINAL_PROMPT\n"
        return self._again(problem, lambda: self._attempt(f"{own}{text}", problem, log))

    def _attempt(self, text: str, problem: str, log: Log | None) -> str:
        printed = Printed(log, self._say)
        try:
            output = self._site.start(text, limit_s=max(1.0, self._deadline - time.monotonic() + _LATER_S))
        except OSError as error:
            raise BuildFailed(f"{problem}: {error}") from error
        try:
            in_time = printed.take_all(output, self._deadline, f"{self._site.label} is at work")
        finally:
            done = output.end()
        if self._is_broken_off:
            raise BuildFailed(f"{problem}: the run was interrupted")
        if not in_time:
            raise BuildFailed(f"{problem} within build.timeout_s = {self._target.build.timeout_s:g} s")
        if done.exit_status == 0:
            return printed.text
        words = done.stderr.decode("utf-8", "replace") if log is None else "".join(log.lines)
        last = "".join(words.splitlines(keepends=True)[-_LAST_LINES:]).strip()
        if done.exit_status is None or done.exit_status in KILLED:
            raise BuildFailed(f"{problem}, because it was killed there; no host was touched:\n{last}")
        raise _Ended(f"{problem} (exit status {done.exit_status}); no host was touched:\n{last}")

    def _note(self, sentence: str) -> None:
        self._journal.emit(Noted(host=None, text=f"{sentence[0].upper()}{sentence[1:]}"))

    def _say(self, text: str) -> None:
        self._journal.emit(LogLine(host=self._host, text=text))


class Printed:
    """The standard output of a program: kept as a whole, or as the last lines of nix's log.

    Args:
        log: Receives lines and the forecast; None if the output is kept as a whole.
        report: Receives each line of the log without its end, after how far nix is; that alone if lines are rare.
    """

    def __init__(self, log: Log | None, report: Callable[[str], None]) -> None:
        self._log, self._report, self._kept = log, report, bytearray()
        self._nix = NixLog()
        self._reported = time.monotonic()

    @property
    def text(self) -> str:
        """The output that is kept as a whole."""
        return self._kept.decode("utf-8", "replace")

    @property
    def so_far(self) -> str:
        """How far nix is, after a colon; empty if it has not told."""
        return f": {self._nix.progress}" if self._nix.progress else ""

    def take_all(self, output: Output, deadline: float, doing: str) -> bool:
        """Take every piece as it comes, and report what is done while none comes.

        Args:
            output: The output.
            deadline: When to stop, by the monotonic clock.
            doing: What is done, for the report.

        Returns:
            Whether the output ended in time.

        Raises:
            BuildFailed: An output that is kept as a whole is too long.
            ConnectionLost: The connection was lost.
        """
        began = time.monotonic()
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                chunk = output.read(min(SAY_S, left_s))
            except TimeoutError:
                self._report(f"{doing}, {time.monotonic() - began:.0f} s{self.so_far}")
                continue
            self.take(chunk)
            if not chunk:
                return True
        return False

    def take(self, chunk: bytes) -> None:
        """Take the next piece; an empty one is the end.

        Raises:
            BuildFailed: An output that is kept as a whole is too long.
        """
        self._kept += chunk
        if self._log is None:
            if len(self._kept) > limits.OUTPUT:
                raise BuildFailed(f"more than {limits.OUTPUT} bytes came in one answer")
            return
        *lines, rest = bytes(self._kept).split(b"\n")
        if rest and (not chunk or len(rest) > _LONGEST_LINE):
            lines, rest = [*lines, rest], b""
        self._kept = bytearray(rest)
        for line in lines:
            for shown in self._nix.read(line.decode("utf-8", "replace").rstrip()):
                self._log.lines.append(f"{shown}\n")
                self._say(f"{self._nix.progress}: {shown}" if self._nix.progress else shown)
        if self._nix.progress and time.monotonic() - self._reported >= SAY_S:  # one big path has no lines
            self._say(self._nix.progress)
        if not chunk:  # a second attempt foresees less
            self._log.forecast = self._log.forecast or "\n".join(self._nix.forecast)

    def _say(self, text: str) -> None:
        self._reported = time.monotonic()
        self._report(text)
