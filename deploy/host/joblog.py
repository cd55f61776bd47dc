"""A job's log, as it arrives from a host in pieces: what is asked for next, what is shown, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable

from switchproof.deploy.host import limits
from switchproof.deploy.redact.redactor import Lines, Redactor


class JobLog:
    """One job's log. A log without end costs no more than one of `limits.LOG` bytes.

    Args:
        redact: Takes secrets out of what is shown.
        show: Gets each line that may be shown.
    """

    def __init__(self, redact: Redactor, show: Callable[[str], None]) -> None:
        self.offset = 0
        """The byte of the log that is asked for next."""
        self._show = show
        self._lines = Lines(redact)
        self._head, self._end = bytearray(), bytearray()
        self._waiting = bytearray()
        self._shown = 0

    @property
    def full(self) -> bool:
        """Whether the log is longer than what is kept of its beginning."""
        return len(self._head) >= limits.LOG

    def take(self, piece: bytes, size: int, *, last: bool) -> None:
        """Take the next piece in.

        Args:
            piece: The bytes from `offset` on.
            size: The log's size on the host, in bytes.
            last: Whether nothing comes after it.
        """
        room = limits.LOG - len(self._head)
        self._head += piece[:room]
        self._end += piece[room:]
        del self._end[: -limits.LOG_END]
        self.offset += len(piece)
        if self.full and size - self.offset > limits.LOG_END:
            self._end.clear()
            self.offset = size - limits.LOG_END
        self._tell(piece, last=last)

    def text(self) -> str:
        """Return what was kept, with a line in place of what was not."""
        kept = self._head.decode("utf-8", "replace")
        if left_out := self.offset - len(self._head) - len(self._end):
            kept += f"\n[{left_out} bytes of the log are left out here]\n"
        return kept + self._end.decode("utf-8", "replace")

    def _tell(self, piece: bytes, *, last: bool) -> None:
        if self._shown > limits.LINES:
            return
        before = len(self._waiting)
        self._waiting += piece
        # A line that does not end is shown in parts, so that it does not have to wait for ever.
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
