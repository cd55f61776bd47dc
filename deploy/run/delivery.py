"""Copies a system from the machine that built it to one host, over a connection with a checked host key."""

from __future__ import annotations

import math
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from switchproof.deploy.connection import (
    Connection,
    ConnectionProblem,
    Drawing,
    Feeding,
    Output,
    Provider,
)
from switchproof.deploy.errors import BuildFailed, Inconclusive, UsageError
from switchproof.deploy.record.events import Happened, LogLine, Noted
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.run.building import STORE_PATH, Log, Printed, System
from switchproof.deploy.run.sites import ASK_S, KILLED, Stock, guarded, last_lines
from switchproof.deploy.run.variables import SOURCES, source_file
from switchproof.deploy.source import Source

TRIES = 3
"""Attempts to copy over a connection that is lost; paths that have arrived are not sent again."""

FETCH_S = 3600.0
"""Seconds for fetching from a substituter; a download that stands still ends sooner."""

_PATH = 'PATH="/run/current-system/sw/bin:$PATH:/usr/local/bin:/usr/bin:/bin"; export PATH\n'
_IMPORT = "/bin/sh -c 'PATH=/run/current-system/sw/bin:$PATH:/usr/local/bin:/usr/bin:/bin exec nix-store --import'"
_CHUNK, _SAY_S, _LONGEST = 2**17, 5.0, 300

_FULL = re.compile("No space left on device|disk is full", re.IGNORECASE)
"""The words of the kernel and of nix's database; they also come where inodes or a quota are used up."""


class Sending(Connection, Feeding, Protocol):
    """A connection that asks and sends."""


_PATH_ENDS = re.compile(rb"NIXE\0{4}[\x2c-\xff]\0{7}/nix/store/")
"""What follows the contents of a store path in an export: a mark, the length of the path, and the path."""
_SPLIT = 26
"""Bytes of it that may have come with the piece before."""


class _Sent:
    """How much of an export was read.

    Args:
        sizes: The bytes of each store path.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.size = self._paths = 0
        self.is_whole = False
        self._all, self._expected, self._last = len(sizes), sum(sizes.values()), b""

    def take(self, chunk: bytes) -> None:
        """Count the next piece."""
        self.size += len(chunk)
        self._paths += len(_PATH_ENDS.findall(self._last + chunk))
        self._last = (self._last + chunk)[-_SPLIT:]

    @property
    def progress(self) -> str:
        """The bytes and paths of all, for people; the few bytes of an export around each path are not counted."""
        size, paths = min(self.size, self._expected), min(self._paths, self._all)
        return f"{size / 1e6:.1f} of {self._expected / 1e6:.1f} MB, {paths} of {self._all} store paths"


UNSIGNED = "Root imported them over the run's own connection, where nobody checks signatures."
"""What the note of a copy says of signatures: nix takes an import by root whatever `require-sigs` says."""


class Delivery:
    """The copy to one host.

    Args:
        host: The host's name.
        run: The run's id; a link in its folder on the host protects the system from the garbage collector.
        provider: How the host is reached.
        journal: Receives progress and lost connections.
        stop: Set when the run is to end.
        stall_s: Seconds without progress after which a copy ends.
        reserve_mib: MiB that must stay free for /nix/store after a copy.
        substituter: The URL from which the host fetches what it can; empty if everything is copied.
    """

    def __init__(
        self,
        host: str,
        run: str,
        provider: Provider,
        journal: Journal,
        *,
        stop: threading.Event,
        stall_s: float,
        reserve_mib: int = 0,
        substituter: str = "",
    ) -> None:
        self._host, self._run, self._provider, self._journal = host, run, provider, journal
        self._stop, self._stall_s, self._reserve = stop, stall_s, reserve_mib * 2**20
        self._substituter = substituter
        self._connection: Connection | None = None
        self._broken_off = False
        self._lacks: tuple[int, int] | None = None

    def break_off(self) -> None:
        """End the copy. Complete paths stay on the host, unused."""
        self._broken_off = True
        if (connection := self._connection) is not None:
            connection.close()

    def bring(self, system: System, stock: Stock) -> tuple[int, int]:
        """Copy a system to the host, and try again if a connection is lost; only missing paths are sent.

        Args:
            system: The system.
            stock: The store that has it; what is copied passes through this machine and is not kept here.

        Returns:
            The number of store paths that the host lacked, and their bytes.

        Raises:
            Inconclusive: It could not be copied; the host is unchanged.
            BuildFailed: The copy in that store is damaged, or it could not be read.
        """
        failed = f"{system.toplevel} was only partly copied"
        self._try(lambda connection: self._bring(connection, system, stock), failed)
        assert self._lacks is not None  # noted at the first look
        return self._lacks

    def bring_inputs(self, paths: Sequence[str], stock: Stock) -> None:
        """Copy the locked inputs of a flake to the host, whose nix then fetches none of them.

        Args:
            paths: Their store paths.
            stock: The store that has them.

        Raises:
            Inconclusive: They could not be copied; the host is unchanged.
            BuildFailed: The copy in that store is damaged, or it could not be read.
        """
        failed = "the flake's inputs were only partly copied"
        self._try(lambda connection: self._bring_inputs(connection, paths, stock), failed)

    def bring_source(self, source: Source, checkout: str) -> None:
        """Send a commit to the host, as a file from which git there fetches it; only what its clone lacks is sent.

        Args:
            source: The commit.
            checkout: The host's clone.

        Raises:
            Inconclusive: It could not be sent; the host is unchanged.
        """
        self._try(lambda connection: self._send_source(connection, source, checkout), "the source did not arrive")

    def _try(self, step: Callable[[Sending], None], failed: str) -> None:
        """Do a step over a connection of its own, again if the connection is lost."""
        for left in reversed(range(TRIES)):
            try:
                connection = self._connection = self._provider.connect(self._host)
                try:
                    if not isinstance(connection, Feeding):
                        raise UsageError(
                            f"{self._host}: nothing can be sent over such a connection; let hosts fetch and build"
                        )
                    step(connection)
                finally:
                    self._connection = None
                    connection.close()
            except ConnectionProblem as error:
                if isinstance(error, UsageError):  # another host key does not become the right one by waiting
                    raise
                self._journal.emit(Happened(host=self._host, kind="lost", text=str(error)))
                if not left or self._broken_off or self._stop.wait(1):
                    lost = "" if error.host == self._host else f", because the builder {error.host} was lost"
                    raise Inconclusive(
                        f"{self._host}: {failed}, so nothing was switched{lost}: {error}", error.remedy
                    ) from error
                self._note(f"Sending was interrupted; what is missing is sent again: {error}")
            else:
                return

    def _bring(self, connection: Sending, system: System, stock: Stock) -> None:
        missing, free = self._missing(connection, system.paths)
        sizes = self._require_room(stock, missing, free) if missing else {}
        if self._lacks is None:  # later attempts find less
            self._lacks = (len(sizes), sum(sizes.values()))
        if missing and self._substituter:
            missing = self._fetch(connection, missing)
        if missing:
            left = {path: sizes[path] for path in missing}
            self._copy(connection, stock, left, f"{len(missing)} of {len(system.paths)} store paths")
        elif not sizes:
            self._note(f"All {len(system.paths)} store paths of the system were on the host already.")
        self._hold(connection, [system.toplevel], "built")

    def _bring_inputs(self, connection: Sending, paths: Sequence[str], stock: Stock) -> None:
        missing, free = self._missing(connection, paths)
        if missing:
            sizes = self._require_room(stock, missing, free)
            self._copy(connection, stock, sizes, f"The flake's inputs: {len(missing)} of {len(paths)} store paths")
        else:
            self._note("All inputs of the flake were on the host already.")
        self._hold(connection, paths, "input")

    def _copy(self, connection: Sending, stock: Stock, sizes: Mapping[str, int], what: str) -> None:
        began, size = time.monotonic(), self._send(connection, stock, sizes)
        took = f"{size / 1e6:.1f} MB, {time.monotonic() - began:.1f} s"
        self._note(f"{what} were copied from {stock.label} ({took}). {UNSIGNED}")

    def _fetch(self, connection: Sending, missing: Sequence[str]) -> list[str]:
        """Let the host fetch paths from the substituter, and return those that it still lacks.

        The host checks signatures as its own configuration says, and builds nothing.
        """
        url, began = self._substituter, time.monotonic()
        self._say(f"fetches {len(missing)} store paths from {url}")
        settings = {
            "substitute": "true",
            "substituters": url,  # a token in it must not reach an argument list
            "max-jobs": "0",
            "builders": "",
            "connect-timeout": "10",
            "stalled-download-timeout": f"{math.ceil(self._stall_s)}",
        }
        config = "\n".join(f"{key} = {value}" for key, value in settings.items())
        listed = "\n".join(missing)
        # Over a connection whose output comes only at the end, a log for programs would be too long.
        options = "--log-format internal-json 2>&1 " if isinstance(connection, Drawing) else ""
        text = (
            f"{_PATH}NIX_CONFIG={shlex.quote(config)}; export NIX_CONFIG\n"
            f"xargs nix-store --realise --keep-going {options}>/dev/null <<'END'\n{listed}\nEND\n"
        )
        if isinstance(connection, Drawing):
            log = self._watch(connection, text)
        else:
            log = connection.run(text.encode(), timeout_s=FETCH_S).stderr.decode("utf-8", "replace")
        left, _ = self._missing(connection, missing)
        seconds = time.monotonic() - began
        note = f"{len(missing) - len(left)} of {len(missing)} missing store paths came from {url} ({seconds:.1f} s)"
        words = [line for line in log.splitlines() if line.startswith("warning: ")]
        why = words[0][:_LONGEST] if words else last_lines(log.encode())[:_LONGEST]
        self._note(f"{note}, the others did not: {why}" if left else f"{note}.")
        return left

    def _watch(self, connection: Drawing, text: str) -> str:
        """Run a program that prints nix's log, show it as it comes, and return what a person would have seen.

        A program whose time is over is ended; what it did by then stays.
        """
        log = Log()
        printed = Printed(log, self._say)
        output = connection.draw(guarded(text, FETCH_S), timeout_s=ASK_S)
        try:
            printed.take_all(output, time.monotonic() + FETCH_S, "fetches")
        finally:
            output.end()
        return "".join(log.lines)

    def _send_source(self, connection: Sending, source: Source, checkout: str) -> None:
        tips = f"{_PATH}git -C {shlex.quote(checkout)} for-each-ref --format='%(objectname)' 2>/dev/null | sort -u\n"
        known = connection.run(tips.encode(), timeout_s=ASK_S).stdout.decode("utf-8", "replace").split()
        old = f"find {SOURCES} -type f -mmin +1440 -delete"
        with source.bundle(known) as bundle, bundle.open("rb") as stream:
            done = connection.feed(
                f"/bin/sh -c 'umask 077; mkdir -p {SOURCES} && {old}; exec cat >{source_file(self._run)}'",
                iter(lambda: stream.read(_CHUNK), b""),
                stall_s=self._stall_s,
            )
            size = stream.tell()
        if done.exit_status != 0:
            raise Inconclusive(
                f"{self._host}: the source did not arrive, so nothing was switched: {last_lines(done.stderr)}",
                "Make sure that /var/lib on the host has free space.",
            )
        self._note(f"The commit was sent from {source.clone} on the runner ({size / 1e6:.1f} MB).")

    def _missing(self, connection: Sending, paths: Sequence[str]) -> tuple[list[str], int]:
        """Return the paths that the host lacks, in an order in which they can be sent, and the free bytes there."""
        listed = "\n".join(paths)
        asked = "nix-store --check-validity --print-invalid"
        text = f"{_PATH}df -B1 --output=avail /nix/store && xargs {asked} <<'END'\n{listed}\nEND\n"
        done = connection.run(text.encode(), timeout_s=ASK_S)
        # Below df's heading are its number and the paths.
        free, *absent = done.stdout.decode("utf-8", "replace").split()[1:] or [""]
        if done.exit_status != 0 or not free.isdecimal():
            raise Inconclusive(
                f"{self._host}: the host did not report its free space and which store paths are missing: "
                f"{last_lines(done.stderr)}"
            )
        lacking = set(absent)
        return [path for path in paths if path in lacking], int(free)

    def _require_room(self, stock: Stock, missing: Sequence[str], free: int) -> dict[str, int]:
        """Check before a copy that it fits: a full store cannot even be cleaned, as nix's database has no room.

        Returns:
            The bytes of each missing path.
        """
        sizes = stock.sizes(missing)
        size = sum(sizes.values())
        if size + self._reserve > free:
            needed = f"the missing store paths have {_mib(size)} MiB, and {_mib(self._reserve)} MiB must stay free"
            seen = f"/nix/store on the host has {_mib(free)} MiB"
            raise Inconclusive(
                f"{self._host}: {needed}, but {seen}; nothing was copied or switched",
                "Free space there, for example with nix-collect-garbage, or change preflight.store_mib in the target "
                "file.",
            )
        return sizes

    def _send(self, connection: Sending, stock: Stock, sizes: Mapping[str, int]) -> int:
        """Send paths, and return the number of bytes."""
        exported, sent = stock.export(list(sizes)), _Sent(sizes)
        try:
            done = connection.feed(_IMPORT, self._chunks(exported, sent), stall_s=self._stall_s)
        finally:
            ended = exported.end()
        if sent.is_whole and ended.exit_status != 0:
            words = last_lines(ended.stderr)
            if ended.exit_status in KILLED:
                raise BuildFailed(
                    f"nix-store on {stock.label} was killed during the copy, so nothing was switched: {words}"
                )
            raise BuildFailed(f"{stock.label}'s copy of a store path is damaged, so nothing was switched: {words}")
        if done.exit_status != 0:
            how = "a signal" if done.exit_status is None else f"exit status {done.exit_status}"
            problem = last_lines(done.stderr) or f"nix-store on the host ended with {how} and no message"
            self._refuse_full(connection, problem)
            raise Inconclusive(
                f"{self._host}: the system was only partly copied, so nothing was switched: {problem}",
                "Make sure that /nix/store on the host has free space, and that nix works there.",
            )
        return sent.size

    def _refuse_full(self, connection: Sending, problem: str) -> None:
        """End the copy with a sentence of its own if a problem is that of a full store.

        Raises:
            Inconclusive: It is; the sentence has what is free now, if the host says so.
        """
        if not _FULL.search(problem):
            return
        done = connection.run(f"{_PATH}df -B1 --output=avail /nix/store\n".encode(), timeout_s=ASK_S)
        free = done.stdout.split()[-1:]
        now = f", and has {_mib(int(free[0]))} MiB now" if free and free[0].isdigit() else ""
        raise Inconclusive(
            f"{self._host}: /nix/store on the host became full during the copy{now}; nothing was switched: {problem}",
            "Free space there outside of the store first, as nix-collect-garbage needs some itself; it then removes "
            "what was copied.",
        )

    def _chunks(self, exported: Output, sent: _Sent) -> Iterator[bytes]:
        reported = time.monotonic()
        while chunk := exported.read(self._stall_s):
            sent.take(chunk)
            if time.monotonic() - reported >= _SAY_S:
                reported = time.monotonic()
                self._say(f"copied {sent.progress}")
            yield chunk
        sent.is_whole = True

    def _hold(self, connection: Sending, paths: Sequence[str], name: str) -> None:
        """Protect store paths on the host from the garbage collector, and check that they are there.

        Args:
            connection: The connection.
            paths: The paths.
            name: The name of the first one's link in the run's folder; nix numbers the others.
        """
        assert all(STORE_PATH.fullmatch(path) for path in paths)  # so that no quoting is needed
        link = f"/var/lib/switchproof/runs/{self._run}/{name}"
        held = f"nix-store --add-root {link} --realise {' '.join(paths)}"
        text = f"{_PATH}{held} >/dev/null </dev/null && readlink -e {link}\n"
        done = connection.run(text.encode(), timeout_s=ASK_S)
        path = done.stdout.decode("utf-8", "replace").strip()
        if done.exit_status != 0 or path != paths[0]:
            problem = last_lines(done.stderr) or path
            self._refuse_full(connection, problem)
            what = paths[0] if len(paths) == 1 else f"{paths[0]} or another input"
            raise Inconclusive(f"{self._host}: {what} is missing on the host after the copy: {problem}")

    def _say(self, text: str) -> None:
        self._journal.emit(LogLine(host=self._host, text=text))

    def _note(self, text: str) -> None:
        self._journal.emit(Noted(host=self._host, text=text))


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f}"
