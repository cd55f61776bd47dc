"""What a run is doing right now: a live table on a terminal, dated lines anywhere else."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import threading
from typing import IO, TextIO, cast

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.table import Table
from rich.text import Text

from switchproof.deploy.record import events as ev
from switchproof.deploy.run.streams import forgiving
from switchproof.reports import text
from switchproof.reports.activity import LOG_INTERVAL_S, Board, Line

REFRESH_PER_SECOND = 4
LINE_COLUMNS = 200
"""Columns of a dated line of a host's log; a log in CI has no width of its own, and what we say ends somewhere."""


class Progress:
    """Shows a run as it happens; to be given to `Journal.watch`. Safe to use from several threads.

    It never raises for its stream: a terminal that went away must not stop a deploy.

    Args:
        stream: Where to show it; not one that pytest captures.
        interactive: Whether the stream is a terminal that a person looks at.
    """

    def __init__(self, stream: TextIO, *, interactive: bool) -> None:
        self._out = _Forgiving(stream)
        self._board = Board()
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._ticker: threading.Thread | None = None
        self._ended = threading.Event()
        self._console: Console | None = None
        if interactive:
            self._console = Console(file=cast("IO[str]", self._out), force_terminal=True, legacy_windows=False)

    def __call__(self, event: ev.AnyEvent) -> None:
        """Take an event in and show it."""
        self._tell(self._board.lines(event))

    def _tell(self, lines: list[Line]) -> None:
        for line in lines:
            if self._console is None:
                self._out.write(f"{line.text[:LINE_COLUMNS] if line.passing else line.text}\n")
                self._out.flush()
            elif not line.passing:
                self._console.print(Text(line.text), soft_wrap=True)

    def say(self, line: str) -> None:
        """Write a line as it is; it must be ours, with nothing of a host in it."""
        self._out.write(f"{line}\n")
        self._out.flush()

    def start(self) -> None:
        """Begin to show the live table; without a terminal for it, what is due while nothing happens."""
        with self._lock:
            if self._console is None and self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, daemon=True)
                self._ticker.start()
            if self._console is None or self._live is not None:
                return
            self._live = Live(
                get_renderable=self._table,
                console=self._console,
                refresh_per_second=REFRESH_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)

    def stop(self) -> None:
        """Take the live table off the terminal, which belongs to others from now on."""
        self._ended.set()
        with self._lock:
            live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _tick(self) -> None:
        while not self._ended.wait(LOG_INTERVAL_S):
            self._tell(self._board.quiet(dt.datetime.now(dt.UTC)))

    def _table(self) -> Table:
        self._fit()
        table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
        table.add_column("host", no_wrap=True, max_width=24)
        table.add_column("phase", no_wrap=True, min_width=10)
        table.add_column("time", no_wrap=True, justify="right", min_width=8)
        table.add_column("last line of its log", no_wrap=True, ratio=1, overflow="ellipsis")
        for host, phase, seconds, line in self._board.snapshot():
            took = "" if seconds is None else text.duration(seconds)
            table.add_row(Text(host), Text(phase), Text(took), Text(text.inert(line)))
        return table

    def _fit(self) -> None:
        # rich looks at the process's own streams, which pytest has put aside.
        columns, lines = self._out.size()
        if self._console is not None and columns:
            self._console.size = ConsoleDimensions(columns, lines)


class _Forgiving:
    """A text stream whose reader may go away and whose encoding may lack a character."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding or "utf-8"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")

    def write(self, said: str) -> int:
        with forgiving(self._stream):
            self._stream.write(said)
        return len(said)

    def flush(self) -> None:
        with forgiving(self._stream):
            self._stream.flush()

    def isatty(self) -> bool:
        return True

    def size(self) -> tuple[int, int]:
        with contextlib.suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno())
        return 0, 0
