"""The list of kept runs in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from switchproof.reports.kept import index
from tests.browser.view import NARROW, WIDE, view
from tests.reports import stories
from tests.reports.runs import keep


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two providers, of every way to end, and one with many hosts."""
    folder = tmp_path_factory.mktemp("runs")
    many = stories.canonical(*(f"host-{number}" for number in range(30)))
    tales = (stories.canonical(), stories.rolled_back(), stories.unsafe(), stories.killed(), stories.hostile(), many)
    for hours, story in enumerate(tales):
        keep(folder, story, hours)
    (folder / "20261124T000000Z-deploy-ovh-0f0f").mkdir()
    return index.write(folder, folder)


def test_it_is_complete_without_scripts(browser: Browser, page: Path) -> None:
    """With and without JavaScript the same runs are listed, and the way from one to its report works."""
    said = []
    for scripts in (True, False):
        with view(browser, page, scripts=scripts) as seen:
            seen.unfold()
            said.append(seen.page.inner_text("main"))
            assert seen.requests == [page.as_uri()]
            assert (seen.messages, seen.dialogs) == ([], [])
    assert said[0] == said[1]
    assert all(word in said[0] for word in ("canonical", "killed", "unreadable", "</script><img src=x"))
    with view(browser, page) as seen:
        seen.page.locator("table").last.locator("tbody tr").first.locator("a").first.click()
        expect(seen.page.locator("h1")).to_contain_text("Non-canonical")


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_it_is_not_wider_than_its_window(browser: Browser, page: Path, width: int) -> None:
    """On a phone as on a desktop only the tables scroll sideways."""
    with view(browser, page, width=width) as seen:
        seen.unfold()
        assert seen.overhang <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_grave(browser: Browser, page: Path, scheme: str) -> None:
    """Axe-core finds nothing serious or critical, in light and in dark."""
    with view(browser, page, scheme="dark" if scheme == "dark" else "light") as seen:
        seen.unfold()
        assert seen.faults() == {}


def test_paper_says_what_is_emulated(browser: Browser, page: Path) -> None:
    """On paper, too, emulated runs are marked."""
    with view(browser, page, paper=True) as seen:
        expect(seen.page.get_by_text("Emulated.")).to_be_visible()
        expect(seen.page.get_by_role("heading", name="lab (emulated)")).to_be_visible()
