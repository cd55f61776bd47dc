"""Reserves disk space for a run's report before any host is touched."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from switchproof.deploy.errors import UsageError

MIB = 1024 * 1024
OF_A_RUN = 8 * MIB
OF_A_HOST = 2 * MIB
"""Bytes reserved for the report of a run, and for each host: several times the size of real reports."""


def _take(file: IO[bytes], size: int) -> None:
    """Allocate a file's space on disk; systems without a call for that, such as macOS, write to it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for _ in range(0, size, MIB):
        file.write(bytes(MIB))
    file.flush()


class Room:
    """Disk space that is reserved until it is released or the process ends.

    Args:
        folder: The run's folder, made if missing.
        size: Bytes.

    Raises:
        UsageError: The folder cannot be created or has no room; the message says what to do.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._file: IO[bytes] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it is open as long as the room is taken
            _take(self._file, size)
        except OSError as error:
            self.release()
            with suppress(OSError):
                folder.rmdir()
            short = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            needs = f"; it needs {size // MIB} MiB: free space there, or name" if short else ": name"
            raise UsageError(
                f"nothing was touched, because no report can be written in {folder.parent}: {error.strerror}{needs} "
                "another folder with --report-dir=DIR"
            ) from None

    def release(self) -> bool:
        """Release the space.

        Returns:
            Whether any was reserved.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()
        return file is not None
