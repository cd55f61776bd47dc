"""A standard stream that breaks changes nothing in a run: what it cannot take goes to /dev/null."""

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
    """Silence a stream if writing to it fails, instead of raising; a closed one stays as it is."""
    try:
        yield
    except OSError:
        silence(stream)
    except ValueError:
        pass
