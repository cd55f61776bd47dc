"""Ends a run on SIGINT, SIGTERM and SIGHUP: in order the first time, at once the second time."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["starting", "running", "reporting"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """The signal handlers of one run. A signal that the caller ignores, as `nohup` does, stays ignored.

    Before any host is reached a signal ends the run at once. While hosts are at work, the first signal ends the run
    in order and the second interrupts that. Once the hosts are left, only the report is missing: the first signal
    lets it be written, the second ends the process.

    Args:
        end: Ends the run in order; called with the signal's name, once.
        say: Shows a line.
    """

    def __init__(self, end: Callable[[str], None], say: Callable[[str], None]) -> None:
        self.stage: Stage = "starting"
        self.received = ""
        self._end = end
        self._say = say
        self._late = False
        self._before = {
            number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not signal.SIG_IGN
        }

    def install(self) -> None:
        """Handle the signals from now on."""
        for number in self._before:
            signal.signal(number, self._handle)

    def restore(self) -> None:
        """Restore the earlier signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        again, self.received = bool(self.received), self.received or name
        if self.stage == "reporting":
            self._let_report(number, name)
        elif again or self.stage == "starting":
            raise KeyboardInterrupt(name)
        else:
            self._end(name)

    def _let_report(self, number: int, name: str) -> None:
        if self._late:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._late = True
        # From a thread, as the handler may stand in the middle of a write to the terminal.
        text = f"{name}: the run is done with the hosts; writing the report. A second signal ends at once."
        threading.Thread(target=self._say, args=(text,), daemon=True).start()
