"""Reports the state that a host waits for: its own lines, or the runner's if none arrive."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 2.0
"""Seconds between two lines; host-switch.sh uses the same interval."""

LONGEST = 600
"""Characters of a line that are shown."""

LATE_S = 1.5 * EVERY_S
"""Seconds after which a host's next line is late; a round of asking may take a second longer than `EVERY_S`."""

SILENT_S = 10.0
"""Seconds after which a host that has reported once counts as silent."""

_LEFT = re.compile(r"(?<!\d)\d{1,9}(?= s (?:of the soak )?left\))", re.ASCII)
"""The seconds of a countdown in a host's line; `host-switch.sh` writes them."""

_UNREAD = 2**16
"""Bytes of an unfinished line that are inspected; a progress line is far shorter."""


class Waiting:
    """Reads a host's output during a question, and reports the wait. Thread-safe.

    Args:
        nonce: The question's nonce; only lines with it are progress lines.
        awaited: The state that the host waits for.
        limit_s: Seconds of the wait at most.
        report: Receives each line.
        clock: Returns the seconds since any moment.
    """

    def __init__(
        self,
        nonce: str,
        awaited: str,
        limit_s: float,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mark = f"SWITCHPROOF/1 {nonce} waits ".encode()
        self._awaited, self._report = awaited[:LONGEST], report
        self._clock = clock
        self._reported_at = clock()
        self._deadline = self._reported_at + limit_s
        self._unread = b""
        self._heard: tuple[float, str] | None = None
        self._ended = threading.Event()

    def hear(self, output: bytes) -> None:
        """Process the next output of the host."""
        *lines, rest = (self._unread + output).split(b"\n")
        self._unread = rest[:_UNREAD]
        for line in lines:
            if line.startswith(self._mark):
                text = line.removeprefix(self._mark).decode("utf-8", "replace")[:LONGEST]
                self._heard = self._clock(), text
                self._report_wait(text)

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

    def look(self) -> None:
        """Report the wait if a line is due and the host has sent none."""
        now = self._clock()
        if now - self._reported_at < EVERY_S:
            return
        if self._heard is None:
            self._report_wait(f"{self._awaited} (at most {max(0.0, self._deadline - now):.0f} s left)")
        elif (silent_s := now - self._heard[0]) >= LATE_S:
            self._report_wait(_later(self._heard[1], silent_s))

    def _tick(self) -> None:
        while not self._ended.wait(EVERY_S / 8):
            self.look()

    def _report_wait(self, text: str) -> None:
        self._reported_at = self._clock()
        printable = "".join(character if character.isprintable() else "?" for character in text)
        self._report(f"waiting: {printable}")


def _later(text: str, after_s: float) -> str:
    """Return a host's line as it would be some seconds later: the host has one countdown, which goes on."""
    later = _LEFT.sub(lambda left: str(max(0, int(left[0]) - int(after_s))), text)
    return f"{later}; no output from the host for {after_s:.0f} s" if after_s >= SILENT_S else later
