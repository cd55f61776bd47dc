"""Loads paramiko without an unused dependency, before the modules that use it."""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast


def load_paramiko() -> None:
    """Import paramiko without `invoke`, which it needs only for `Match exec`; `reading.py` reads ssh_config here.

    `invoke` loads asyncio, unittest.mock and a YAML parser, and takes longer than all of paramiko.
    """
    modules = cast("dict[str, Any]", sys.modules)
    if "invoke" in modules:
        return
    modules["invoke"] = None
    try:
        importlib.import_module("paramiko")
    finally:
        del modules["invoke"]
