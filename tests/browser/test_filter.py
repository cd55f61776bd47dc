"""The filter of a page, and its print: of forty hosts, what a reader at night needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from switchproof.deploy.record.fold import fold
from switchproof.reports.page import conformance, layout
from tests.browser.view import NARROW, view
from tests.reports import endings, stories

FEW_PAGES = 3
"""Sheets of A4 that a summary takes at most."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen of forty hosts failed for four causes."""
    file = tmp_path_factory.mktemp("fleet") / "report.html"
    file.write_text(layout.standalone(endings.fleet().record()), encoding="utf-8")
    return file


def shown(page: Page) -> tuple[int, int]:
    """The hosts that the page shows, in its matrix and as parts."""
    visible = "each => each.filter(one => !one.hidden).length"
    rows = page.locator("tbody[data-host]").evaluate_all(visible)
    return rows, page.locator("details.host").evaluate_all(visible)


def field(name: str) -> str:
    return f"#sp-filter [name={name}]"


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("filter:failing=1", 16),
        ("filter:text=h7", 1),
        ("filter:clause=runtime", 40),
        ("filter:text=nothing+says+this", 0),
        ("filter:", 40),
        ("sp-matrix", 40),
    ],
)
def test_a_link_shows_what_its_filter_says(browser: Browser, page: Path, address: str, hosts: int) -> None:
    """Who is sent a link sees the same hosts, in the matrix and below."""
    with view(browser, page, address) as seen:
        expect(seen.page.locator("#sp-filter")).to_be_visible()
        assert shown(seen.page) == (hosts, hosts)
        assert not seen.messages


def test_causes_share_out_the_hosts_that_failed(browser: Browser, page: Path) -> None:
    """Each cause can be chosen; together they are all hosts that failed."""
    with view(browser, page) as seen:
        options = seen.page.locator(f"{field('cause')} option").count() - 1
        counts = []
        for cause in range(1, options + 1):
            seen.page.select_option(field("cause"), index=cause)
            counts.append(shown(seen.page)[1])
        assert (options, sum(counts)) == (4, 16)


def test_what_is_typed_stands_in_the_address(browser: Browser, page: Path) -> None:
    """The address of the filtered page leads there again; showing all is one press, and folds what was folded."""
    with view(browser, page) as seen:
        folded = seen.page.locator("details.host:not([open])").count()
        seen.page.fill(field("text"), "MASKED")
        seen.page.check(field("failing"))
        expect(seen.page.locator("#sp-filter output")).to_have_text(re.compile(r"^\d+ of 40 hosts, \d+ checks$"))
        assert shown(seen.page) == (4, 4)
        checks = "each => each.filter(one => one.checkVisibility()).map(one => one.className)"
        kinds = seen.page.locator("details.check").evaluate_all(checks)
        assert kinds
        assert not [kind for kind in kinds if "v-passed" in kind]
        address, before = seen.page.url.partition("#")[2], shown(seen.page)
        seen.page.click("#sp-filter button")
        expect(seen.page.locator("#sp-filter output")).to_have_text("")
        assert shown(seen.page) == (40, 40)
        assert seen.page.locator("details.host:not([open])").count() == folded
    with view(browser, page, address) as again:
        assert shown(again.page) == before
        assert again.page.input_value(field("text")) == "MASKED"


def test_hosts_without_number_are_filtered_alike(browser: Browser, tmp_path: Path) -> None:
    """Where a passed check is one line only, it is counted, found by its text and hidden as a larger one is."""
    file = tmp_path / "report.html"
    record = fold(stories.canonical(*(f"h{number}" for number in range(conformance.BRIEF_ABOVE + 1))).events)
    file.write_text(layout.standalone(record), encoding="utf-8")
    with view(browser, file, "filter:text=listens") as seen:
        expect(seen.page.locator("#sp-filter output")).to_have_text("51 of 51 hosts, 102 checks")
        assert shown(seen.page) == (51, 51)
        seen.page.fill(field("text"), "h7")
        assert shown(seen.page) == (1, 1)
        expect(seen.page.get_by_text("live listens on 8080").locator("visible=true")).to_have_count(1)
        seen.page.check(field("failing"))
        assert shown(seen.page) == (0, 0)


def test_without_scripts_there_is_no_filter_and_nothing_is_missing(browser: Browser, page: Path) -> None:
    """What does nothing is not shown, and an address with a filter shows the whole page."""
    with view(browser, page, "filter:failing=1", scripts=False) as seen:
        expect(seen.page.locator("#sp-filter")).to_be_hidden()
        assert seen.page.locator("details.host").count() == 40


def test_the_filter_fits_a_phone(browser: Browser, page: Path) -> None:
    """No part of it makes the page wider, and axe, which looks at all that is shown, finds nothing grave."""
    with view(browser, page, "filter:text=h7", width=NARROW) as seen:
        assert seen.overhang <= 0
        assert seen.faults() == {}


def sheets(browser: Browser, page: Path, anchor: str, folder: Path) -> int:
    """How many sheets of A4 a page takes."""
    with view(browser, page, anchor) as seen:
        paper = folder / "paper.pdf"
        seen.page.pdf(path=paper, format="A4", prefer_css_page_size=True)
        return len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))


def test_forty_hosts_print_on_three_pages(browser: Browser, page: Path, tmp_path: Path) -> None:
    """A person prints the verdict, the causes and the matrix; everything is one link away."""
    assert sheets(browser, page, "", tmp_path) <= FEW_PAGES
    assert sheets(browser, page, "sp-all", tmp_path) > 2 * FEW_PAGES


@pytest.mark.parametrize("ending", sorted(endings.ENDINGS))
def test_any_run_prints_on_three_pages(
    browser: Browser, tmp_path: Path, ending: str, page_of_ending: Callable[[str], Path]
) -> None:
    """However a run ended, its summary is short."""
    assert sheets(browser, page_of_ending(ending), "", tmp_path) <= FEW_PAGES


@pytest.fixture
def page_of_ending(tmp_path: Path) -> Callable[[str], Path]:
    """Make the page of a run that ended in some way."""

    def make(name: str) -> Path:
        file = tmp_path / "report.html"
        file.write_text(layout.standalone(endings.ENDINGS[name]().record()), encoding="utf-8", errors="replace")
        return file

    return make
