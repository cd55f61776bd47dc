"""What all tests share: a test that tries many inputs waits for its result, however busy the machine is."""

from __future__ import annotations


def pytest_configure() -> None:
    """Give tests of many inputs no deadline. A deploy never calls this, and may lack hypothesis."""
    from hypothesis import settings

    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")
