"""Fixture: one browser for all tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.view import PATIENCE_MS


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """Debian's Chromium; nothing is downloaded."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: install it with setup/system-packages.sh chromium"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Its sandbox is not for root; it only opens pages that the tests make.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
