"""What all tests share: tests of many inputs have no deadline, and programs stand beside the interpreter."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def pytest_configure() -> None:
    """Let a busy machine take its time, and find `just` and the like though no environment is activated.

    A deploy never calls this, and may lack hypothesis.
    """
    from hypothesis import settings

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")
