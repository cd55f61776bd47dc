"""What this repository's own tests need; the product's plugin is `switchproof.plugin`."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse checks and trials in a session that is neither a deploy nor a trial, which does not load this file."""
    if any(item.path.resolve().is_relative_to(ROOT / "checks") for item in items):
        raise pytest.UsageError("checks look at hosts: say where those are with --provider=P")
    if any(item.path.resolve().is_relative_to(ROOT / "trials") for item in items):
        raise pytest.UsageError("trials are of a deploy path: say which with --provider=lab --subject=COMMAND")
