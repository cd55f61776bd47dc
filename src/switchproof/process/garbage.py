"""Keeps Python's garbage collector from costing a session time: few objects of a session are ever garbage."""

from __future__ import annotations

import gc

_YOUNG = 10_000
"""How many new objects start a garbage collection. With Python's default of 700, an audit has 140 of them."""


def collect_rarely() -> None:
    """Let many objects be made before garbage is looked for."""
    gc.set_threshold(_YOUNG)


class Exemption:
    """A plugin that exempts long-lived objects from garbage collection: the checks, and at the end everything.

    pytest looks for garbage five times when a session ends, and Python once more when the process does.
    """

    def pytest_collection_finish(self) -> None:
        """Exempt the checks: those of 1,000 hosts are millions of objects, which live until the end."""
        gc.freeze()

    def pytest_unconfigure(self) -> None:
        """Exempt everything: the process ends."""
        gc.freeze()
