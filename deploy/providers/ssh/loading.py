"""Loads paramiko without an unused dependency and without its tracebacks, before the modules that use it."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any, cast


def load_paramiko() -> None:
    """Import paramiko without `invoke`, which it needs only for `Match exec`; `reading.py` reads ssh_config here.

    `invoke` loads asyncio, unittest.mock and a YAML parser, and takes longer than all of paramiko. What paramiko logs
    goes to those who ask for it, and not to standard error: the run itself tells what ended a connection.
    """
    logger = logging.getLogger("paramiko")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    modules = cast("dict[str, Any]", sys.modules)
    if "invoke" in modules:
        return
    modules["invoke"] = None
    try:
        importlib.import_module("paramiko")
    finally:
        del modules["invoke"]
