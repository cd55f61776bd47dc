"""What all tests share: a test that tries many inputs waits for its result, however busy the machine is."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Give tests of many inputs no deadline. A deploy loads this file, too, and may lack what tests need."""
    if config.getoption("provider", None) is not None:
        return
    from hypothesis import settings

    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")
