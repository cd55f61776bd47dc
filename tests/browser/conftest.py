"""One browser for all tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """Debian's Chromium; nothing is downloaded."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: install it with setup/system-packages.sh chromium"
    with sync_playwright() as playwright:
        # Its sandbox is not for root; it only opens pages that the tests make.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
