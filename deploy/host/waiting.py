"""Reports the state that a host waits for: its own lines, or the runner's if none arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 2.0
"""Seconds between two lines; host-switch.sh uses the same interval."""

LONGEST = 600
"""Characters of a line that are shown."""

SILENT_S = 10.0
"""Seconds after which a host that has reported once counts as silent; the runner begins no countdown of its own."""

_UNREAD = 2**16
"""Bytes of an unfinished line that are inspected; a progress line is far shorter."""


class Waiting:
    """Reads a host's output during a question, and reports the wait. Thread-safe.

    Args:
        nonce: The question's nonce; only lines with it are progress lines.
        awaited: The state that the host waits for.
        limit_s: Seconds of the wait at most.
        report: Receives each line.
    """

    def __init__(self, nonce: str, awaited: str, limit_s: float, report: Callable[[str], None]) -> None:
        self._mark = f"SWITCHPROOF/1 {nonce} waits ".encode()
        self._awaited, self._report = awaited, report
        self._deadline = time.monotonic() + limit_s
        self._reported_at = time.monotonic()
        self._unread = b""
        self._heard_at: float | None = None
        self._ended = threading.Event()

    def hear(self, output: bytes) -> None:
        """Process the next output of the host."""
        *lines, rest = (self._unread + output).split(b"\n")
        self._unread = rest[:_UNREAD]
        for line in lines:
            if line.startswith(self._mark):
                self._heard_at = time.monotonic()
                self._report_wait(line.removeprefix(self._mark).decode("utf-8", "replace"))

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Report the wait every `EVERY_S` during the block, unless the host does."""
        ticker = threading.Thread(target=self._tick, daemon=True)
        ticker.start()
        try:
            yield
        finally:
            self._ended.set()
            ticker.join()

    def _tick(self) -> None:
        while not self._ended.wait(EVERY_S / 4):
            now = time.monotonic()
            # The host's line may be a little late, and says more than this one.
            if self._heard_at is None and now - self._reported_at >= 1.5 * EVERY_S:
                self._report_wait(f"{self._awaited} (at most {max(0.0, self._deadline - now):.0f} s left)")
            elif self._heard_at is not None and now - self._reported_at >= SILENT_S:
                self._report_wait(f"{self._awaited}; no output from the host for {now - self._heard_at:.0f} s")

    def _report_wait(self, text: str) -> None:
        self._reported_at = time.monotonic()
        printable = "".join(character if character.isprintable() else "?" for character in text[:LONGEST])
        self._report(f"waiting: {printable}")
