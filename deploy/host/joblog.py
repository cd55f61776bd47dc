"""Assembles a job's log from the pieces that a host sends, and shows its lines as they arrive."""

from __future__ import annotations

from collections.abc import Callable

from switchproof.deploy.host import limits
from switchproof.deploy.redact.redactor import Lines, Redactor


class JobLog:
    """One job's log, of which at most `limits.LOG` bytes are kept.

    Args:
        redact: Removes secrets from shown lines.
        show: Receives each line.
    """

    def __init__(self, redact: Redactor, show: Callable[[str], None]) -> None:
        self.offset = 0
        """The next byte of the log to request."""
        self._show = show
        self._lines = Lines(redact)
        self._head, self._end = bytearray(), bytearray()
        self._waiting = bytearray()
        self._shown = 0

    @property
    def full(self) -> bool:
        """Whether the kept beginning of the log is full."""
        return len(self._head) >= limits.LOG

    def take(self, piece: bytes, size: int, *, last: bool) -> None:
        """Add the next piece.

        Args:
            piece: The bytes from `offset` on.
            size: The log's size on the host, in bytes.
            last: Whether it is the last piece.
        """
        room = limits.LOG - len(self._head)
        self._head += piece[:room]
        self._end += piece[room:]
        del self._end[: -limits.LOG_END]
        self.offset += len(piece)
        if self.full and size - self.offset > limits.LOG_END:
            self._end.clear()
            self.offset = size - limits.LOG_END
        self._show_lines(piece, last=last)

    def text(self) -> str:
        """Return the kept text, with a line in place of the rest."""
        kept = self._head.decode("utf-8", "replace")
        if left_out := self.offset - len(self._head) - len(self._end):
            kept += f"\n[{left_out} bytes of the log are left out here]\n"
        return kept + self._end.decode("utf-8", "replace")

    def _show_lines(self, piece: bytes, *, last: bool) -> None:
        if self._shown > limits.LINES:
            return
        before = len(self._waiting)
        self._waiting += piece
        # Show a line without an end in parts, so that it does not wait for ever.
        whole = self._waiting.rfind(b"\n", before) + 1
        if last or len(self._waiting) > limits.LOG_END:
            whole = len(self._waiting)
        text = self._waiting[:whole].decode("utf-8", "replace")
        del self._waiting[:whole]
        for line in self._lines(text, last=last).splitlines():
            self._shown += 1
            if self._shown > limits.LINES:
                self._show(f"[only the first {limits.LINES} lines are shown while the job runs]")
                self._waiting.clear()
                return
            self._show(line if len(line) <= limits.LINE else f"{line[: limits.LINE]}… [{len(line)} characters]")
