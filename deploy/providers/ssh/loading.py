"""Loads paramiko, before the modules that use it, without what we do not need of it."""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast


def load_paramiko() -> None:
    """Import paramiko without `invoke`, which it needs only for `Match exec` in files that `reading.py` reads.

    `invoke` brings asyncio, unittest.mock and a parser of YAML, and takes longer to load than all of paramiko.
    """
    modules = cast("dict[str, Any]", sys.modules)
    if "invoke" in modules:
        return
    modules["invoke"] = None
    try:
        importlib.import_module("paramiko")
    finally:
        del modules["invoke"]
