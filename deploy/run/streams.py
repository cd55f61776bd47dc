"""Keeps a broken standard stream from changing a run: its output goes to /dev/null."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TextIO


def silence(stream: TextIO) -> None:
    """Point a broken stream at /dev/null and drop its buffer, so that no later flush can fail.

    Args:
        stream: A stream whose reader has gone, whose disk is full, or which is closed.
    """
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)
        stream.flush()


@contextlib.contextmanager
def forgiving(stream: TextIO) -> Iterator[None]:
    """Silence a stream if a write within the block fails; leave a closed stream as it is."""
    try:
        yield
    except OSError:
        silence(stream)
    except ValueError:
        pass
