"""Draws the live table of a run on a terminal, with one row per host."""

from __future__ import annotations

import textwrap
import threading
from typing import IO, TYPE_CHECKING, cast

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.table import Table
from rich.text import Text

from switchproof.reports import text
from switchproof.reports.terminal.activity import Board

if TYPE_CHECKING:
    from switchproof.reports.terminal.progress import ForgivingStream

REFRESH_PER_SECOND = 4
_INDENT = " " * len("00:00:00Z ")
"""What continued lines begin with, so that the times of day stand out."""


class LiveTable:
    """A table of what each host is doing, redrawn below the lines that stay.

    Args:
        stream: The terminal.
        board: The activities of the hosts.
    """

    def __init__(self, stream: ForgivingStream, board: Board) -> None:
        self._stream = stream
        self._board = board
        self._console = Console(file=cast("IO[str]", stream), force_terminal=True, legacy_windows=False)
        self._lock = threading.RLock()
        self._live: Live | None = None

    def say(self, line: str) -> None:
        """Write a line that stays, wrapped between words."""
        columns, _ = self._stream.size()
        lines = [line]
        if columns:
            lines = textwrap.wrap(
                line, columns, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
            )
        for each in lines:
            self._console.print(Text(each), soft_wrap=True)

    def start(self) -> None:
        """Start drawing, unless started."""
        with self._lock:
            if self._live is not None:
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
        """Stop drawing and remove the table."""
        with self._lock:
            live, self._live = self._live, None
        if live is not None:
            live.stop()

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
        # rich measures the process's own streams, which pytest has replaced.
        columns, lines = self._stream.size()
        if columns:
            self._console.size = ConsoleDimensions(columns, lines)
