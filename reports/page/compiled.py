"""Keeps compiled templates in the user's cache: compiling them takes longer than an audit of one host may."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

import jinja2
from jinja2.bccache import Bucket

from switchproof.deploy.cache import cache_folder


class CompiledTemplates(jinja2.FileSystemBytecodeCache):
    """Compiled templates in a folder. What cannot be read or written is compiled again."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        with suppress(OSError):
            super().dump_bytecode(bucket)

    def load_bytecode(self, bucket: Bucket) -> None:
        """See `jinja2.BytecodeCache`."""
        try:
            super().load_bytecode(bucket)
        except Exception:  # noqa: BLE001 - whatever stands there, the template is compiled again
            bucket.reset()


def compiled() -> jinja2.BytecodeCache | None:
    """Return the cache; None where there is no folder that nobody else can write to, as what is in it will be run."""
    try:
        folder = cache_folder() / "templates"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except (OSError, RuntimeError):  # no home, or no place in it
        return None
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return CompiledTemplates(os.fspath(folder)) if private else None
