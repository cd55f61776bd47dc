"""The folder for data that can be made again: the lab, compiled templates, tools of benchmarks."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return Switchproof's folder in the user's cache; it may not exist yet.

    Raises:
        RuntimeError: The user has no home directory.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "switchproof"
