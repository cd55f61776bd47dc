"""Shows a run while it goes on: a live table on a terminal, log lines anywhere else."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import threading
from typing import TYPE_CHECKING, TextIO

from switchproof.deploy.record import events as ev
from switchproof.deploy.run.streams import forgiving
from switchproof.reports.terminal.activity import LOG_INTERVAL_S, Board, Line

if TYPE_CHECKING:
    from switchproof.reports.terminal.live import LiveTable

LINE_COLUMNS = 200
"""Columns of a log line from a host; a log in CI has no width of its own."""


class Progress:
    """Shows events as they happen, as a watcher of `Journal.watch`. Safe to use from several threads.

    A broken stream raises nothing: a terminal that went away must not stop a deploy.

    Args:
        stream: The output stream; not one that pytest captures.
        interactive: Whether the stream is a terminal that a person watches.
        verbosity: As pytest counts `-v` and `-q`: more than 0 shows each check, less than 0 shows no events.
    """

    def __init__(self, stream: TextIO, *, interactive: bool, verbosity: int = 0) -> None:
        self._out = ForgivingStream(stream)
        self._board = Board(every_check=verbosity > 0)
        self._quiet = verbosity < 0
        self._lock = threading.RLock()
        self._ticker: threading.Thread | None = None
        self._ended = threading.Event()
        self._live: LiveTable | None = None
        if interactive and not self._quiet:
            from switchproof.reports.terminal.live import LiveTable  # loads rich, which only a terminal needs

            self._live = LiveTable(self._out, self._board)

    def __call__(self, event: ev.AnyEvent) -> None:
        """Show an event."""
        if not self._quiet:
            self._show(self._board.lines(event))

    def _show(self, lines: list[Line]) -> None:
        for line in lines:
            if self._live is None:
                self._out.write(f"{line.text[:LINE_COLUMNS] if line.passing else line.text}\n")
                self._out.flush()
            elif not line.passing:
                self._live.say(line.text)

    def say(self, line: str) -> None:
        """Write a line unchanged; it must not contain text from hosts."""
        self._out.write(f"{line}\n")
        self._out.flush()

    def start(self) -> None:
        """Start the live table; without a terminal, start the lines about silent work."""
        with self._lock:
            if self._live is not None:
                self._live.start()
            elif self._ticker is None and not self._quiet:
                self._ticker = threading.Thread(target=self._tick, daemon=True)
                self._ticker.start()

    def stop(self) -> None:
        """Remove the live table from the terminal."""
        self._ended.set()
        if self._live is not None:
            self._live.stop()

    def _tick(self) -> None:
        while not self._ended.wait(LOG_INTERVAL_S):
            self._show(self._board.quiet(dt.datetime.now(dt.UTC)))


class ForgivingStream:
    """A text stream that ignores a lost reader and replaces characters that its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding or "utf-8"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")

    def write(self, content: str) -> int:
        """Write a text, as far as the stream accepts it."""
        with forgiving(self._stream):
            self._stream.write(content)
        return len(content)

    def flush(self) -> None:
        """Flush the stream, if it still exists."""
        with forgiving(self._stream):
            self._stream.flush()

    def isatty(self) -> bool:
        """Return True, because this stands in for a terminal."""
        return True

    def size(self) -> tuple[int, int]:
        """Return the columns and lines of the terminal, both 0 without one."""
        with contextlib.suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno())
        return 0, 0
