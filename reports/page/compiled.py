"""Keeps compiled templates in the user's cache, because compiling takes longer than an audit of one host."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

import jinja2
from jinja2.bccache import Bucket

from switchproof.deploy.cache import cache_folder


class CompiledTemplates(jinja2.FileSystemBytecodeCache):
    """A folder of compiled templates. Templates that cannot be read or written are compiled again."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        with suppress(OSError):
            super().dump_bytecode(bucket)

    def load_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        try:
            super().load_bytecode(bucket)
        except Exception:  # noqa: BLE001 - whatever the file is, the template is compiled again
            bucket.reset()


def compiled() -> jinja2.BytecodeCache | None:
    """Return the cache; None without a folder that only this user can write to, because its contents are run."""
    try:
        folder = cache_folder() / "templates"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except (OSError, RuntimeError):  # no home, or no room in it
        return None
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return CompiledTemplates(os.fspath(folder)) if private else None
