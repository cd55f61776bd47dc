"""What a host is waited for: the lines that it prints meanwhile, and a line of our own where none come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 2.0
"""Seconds between two lines; host-switch.sh prints its own as often."""

LONGEST = 600
"""Characters of a line that are shown."""

SILENT_S = 10.0
"""Seconds after which a host that has begun to count down is said to be silent; no second countdown begins."""

_UNREAD = 2**16
"""Bytes of an unfinished line that are looked at: a line of ours is far shorter."""


class Waiting:
    """Hears what a host prints while it is asked, and says what is waited for. Safe to use from several threads.

    Args:
        nonce: That of the question; the host's own lines have it, so that no other output is taken for one.
        what: What is waited for, in words.
        limit_s: Seconds for which it is waited at most.
        say: Told each line.
    """

    def __init__(self, nonce: str, what: str, limit_s: float, say: Callable[[str], None]) -> None:
        self._mark = f"SWITCHPROOF/1 {nonce} waits ".encode()
        self._what, self._say = what, say
        self._deadline = time.monotonic() + limit_s
        self._said_at = time.monotonic()
        self._unread = b""
        self._heard_at: float | None = None
        self._ended = threading.Event()

    def hear(self, output: bytes) -> None:
        """Take in what the host printed next."""
        *lines, rest = (self._unread + output).split(b"\n")
        self._unread = rest[:_UNREAD]
        for line in lines:
            if line.startswith(self._mark):
                self._heard_at = time.monotonic()
                self._tell(line.removeprefix(self._mark).decode("utf-8", "replace"))

    @contextmanager
    def ticking(self) -> Iterator[None]:
        """Say every `EVERY_S` what is waited for, as long as the host does not."""
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
            # The host's line is a little late at times; ours would only say less.
            if self._heard_at is None and now - self._said_at >= 1.5 * EVERY_S:
                self._tell(f"{self._what} (at most {max(0.0, self._deadline - now):.0f} s left)")
            elif self._heard_at is not None and now - self._said_at >= SILENT_S:
                self._tell(f"{self._what}; no output from the host for {now - self._heard_at:.0f} s")

    def _tell(self, text: str) -> None:
        self._said_at = time.monotonic()
        printable = "".join(character if character.isprintable() else "?" for character in text[:LONGEST])
        self._say(f"waiting: {printable}")
