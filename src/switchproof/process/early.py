"""Ends the process with a message on Ctrl-C while modules are still imported; importing this module is enough."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted during start-up; nothing was touched.\n")
    os._exit(2)


def begun() -> None:
    """Leave Ctrl-C to pytest, which from here on ends a session with a message."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if threading.current_thread() is threading.main_thread() and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _end)
