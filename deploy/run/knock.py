"""A new connection that is tried beside what a host is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from switchproof.deploy.host.waiting import EVERY_S
from switchproof.deploy.record.facts import Leg


class Knock:
    """Tries, from its beginning on and in a thread of its own, to have a host let a new connection in.

    Args:
        leg: After the switch of which leg.
        knock: Tries it until it comes about or the time is over, and returns what kept it from that: empty if nothing
            did, None if that is not known. It is given what is set once nothing else is asked any more.
    """

    def __init__(self, leg: Leg, knock: Callable[[threading.Event], str | None]) -> None:
        self.leg, self.over = leg, threading.Event()
        self._began = time.monotonic()
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, args=(knock,), daemon=True)
        self._thread.start()

    def end(self, tell: Callable[[float], None]) -> str | None:
        """Say that nothing else is asked any more, and return what came of it, as `knock` does.

        Args:
            tell: Reports every `EVERY_S` that this is waited for; it is given the seconds since the beginning.
        """
        self.over.set()
        self._thread.join(EVERY_S)
        while self._thread.is_alive():
            tell(time.monotonic() - self._began)
            self._thread.join(EVERY_S)
        return self._problem

    def _run(self, knock: Callable[[threading.Event], str | None]) -> None:
        self._problem = knock(self.over)
