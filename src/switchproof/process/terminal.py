"""Gives a deploy standard streams if its caller has closed them."""

from __future__ import annotations

import os
import sys

import pytest


def provide_streams(config: pytest.Config) -> None:
    """Replace standard streams that were closed before pytest began by /dev/null.

    Pytest writes to them, and restores them each time that its capturing pauses.
    """
    manager = config.pluginmanager.getplugin("capturemanager")
    capturing = getattr(manager, "_global_capturing", None)
    for name, captured in (("stdout", "out"), ("stderr", "err")):
        if getattr(sys, name) is not None:
            continue
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
        setattr(sys, name, stream)
        capture = getattr(capturing, captured, None)
        for each in (capture, getattr(capture, "syscapture", None)):
            if getattr(each, "_old", stream) is None:
                vars(each)["_old"] = stream
