"""Keeps Python's garbage collector from costing a session time: few objects of a session are ever garbage."""

from __future__ import annotations

import gc

_YOUNG = 10_000
"""How many new objects start a garbage collection once the checks are collected. Python's default is 700."""


def wait() -> None:
    """Collect no garbage until the checks are collected: what is loaded and made until then stays."""
    gc.disable()


class Exemption:
    """A plugin that begins garbage collection once the checks are collected, and ends it with the session.

    pytest looks for garbage five times when a session ends, and Python once more when the process does.
    """

    def pytest_collection_finish(self) -> None:
        """Exempt the checks: those of 1,000 hosts are millions of objects, which live until the end."""
        gc.freeze()
        gc.set_threshold(_YOUNG)
        gc.enable()

    def pytest_unconfigure(self) -> None:
        """Exempt everything: the process ends."""
        gc.freeze()
