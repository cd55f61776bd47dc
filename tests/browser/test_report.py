"""The conformance page in a real browser: complete without scripts, readable anywhere, inert whatever hosts say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from switchproof.deploy.contract import Clause
from switchproof.reports.page import layout
from tests.browser.view import NARROW, WIDE, view
from tests.reports import stories
from tests.reports.page.test_report import run
from tests.reports.runs import with_files
from tests.reports.story import HOSTILE, OLD

FILE = b"".join(
    [
        HOSTILE.encode() + b"\n",
        b"\x1b]0;title\x07\x1b[2J\x00\x07\xff\xfe\xed\xa0\x80 \xe2\x80\xaelive\n",
        b"M" * 1_000_000 + b"\n",
        b"--><![CDATA[ <svg onload=alert(5)> &lt;b&gt; javascript:alert(6)\n",
        b"the last words\n",
    ]
)
"""What a host may write into a log: markup, escapes, control characters, broken UTF-8, a line of a megabyte."""

pytest_plugins = ["pytester"]

STORIES = {
    story.__name__: story for story in (stories.canonical, stories.rolled_back, stories.unsafe, stories.hostile)
}


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Pages of some runs, each made once."""
    folder = tmp_path_factory.mktemp("pages")

    def make(name: str) -> Path:
        page = folder / name / "page.html"
        if not page.exists():
            page.parent.mkdir()
            record = with_files(STORIES[name]().record(), page.parent, lambda _: FILE)
            page.write_text(layout.standalone(record, page.parent), encoding="utf-8", errors="replace")
        return page

    return make


def test_it_is_complete_without_scripts(browser: Browser, page_of: Callable[[str], Path]) -> None:
    """Everything but the filter can be read without JavaScript, the first cause and every clause included."""
    said = []
    for scripts in (True, False):
        with view(browser, page_of("rolled_back"), scripts=scripts) as seen:
            seen.unfold()
            seen.page.locator("#sp-filter").evaluate("form => { form.hidden = true }")
            said.append(seen.page.inner_text("main"))
    assert said[0] == said[1]
    for words in ("Non-canonical", "The hypervisor answered 502", "rolled-back", *Clause, OLD, "Bad Gateway"):
        assert words in said[0], words


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", ["rolled_back", "hostile"])
def test_no_page_is_wider_than_its_window(
    browser: Browser, page_of: Callable[[str], Path], name: str, width: int
) -> None:
    """On a phone as on a desktop the page scrolls in one direction; only wide tables scroll by themselves."""
    with view(browser, page_of(name), width=width) as seen:
        seen.unfold()
        assert seen.overhang <= 0
        expect(seen.page.locator("h1")).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["rolled_back", "unsafe"])
def test_axe_finds_nothing_grave(browser: Browser, page_of: Callable[[str], Path], name: str, scheme: str) -> None:
    """Axe-core finds nothing serious or critical, with all that can be folded open, in light and in dark."""
    with view(browser, page_of(name), scheme="dark" if scheme == "dark" else "light") as seen:
        seen.unfold()
        assert seen.faults() == {}


def test_dark_is_dark(browser: Browser, page_of: Callable[[str], Path]) -> None:
    """Who prefers dark gets light words on a dark page, and who does not gets the contrary."""
    shades = {}
    for scheme in ("light", "dark"):
        with view(browser, page_of("canonical"), scheme="dark" if scheme == "dark" else "light") as seen:
            shades[scheme] = seen.page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, "
                "getComputedStyle(document.querySelector('.sentence')).color]"
                ".map(each => each.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0))"
            )
    (light_page, dark_words), (dark_page, light_words) = shades["light"], shades["dark"]
    assert min(light_page, light_words) > 600
    assert max(dark_page, dark_words) < 300


def test_paper_shows_what_a_screen_folds(browser: Browser, page_of: Callable[[str], Path]) -> None:
    """On paper an emulated run says so beside its verdict, nothing hides in a fold, and it is dark on white."""
    with view(browser, page_of("unsafe"), "sp-all", paper=True) as seen:
        expect(seen.page.get_by_text("proves nothing about the real").first).to_be_visible()
        expect(seen.page.get_by_text("Unsafe", exact=False).first).to_be_visible()
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") in {
            "rgb(255, 255, 255)",
            "rgba(0, 0, 0, 0)",
        }
        shut = "[...document.querySelectorAll('main details:not([open]) > :not(summary)')]"
        assert seen.page.evaluate(f"{shut}.filter(each => !each.checkVisibility()).map(each => each.outerHTML)") == []


def test_the_keyboard_reaches_the_matrix_in_order(browser: Browser, page_of: Callable[[str], Path]) -> None:
    """Tab goes from the top through the matrix cell by cell, and Enter follows to the clause's proof."""
    with view(browser, page_of("rolled_back")) as seen:
        cells = seen.page.locator("table").first.locator("tbody tr").first.locator("td a")
        wanted = [cell.get_attribute("href") for cell in cells.all()]
        assert len(wanted) == len(Clause)
        reached: list[str] = []
        while wanted[-1] not in reached and len(reached) < 60:
            seen.page.keyboard.press("Tab")
            reached.append(seen.focused)
        assert reached[-len(wanted) :] == wanted
        seen.page.keyboard.press("Enter")
        target = seen.page.url.partition("#")[2]
        assert f"#{target}" == wanted[-1]
        expect(seen.page.locator(f"#{target}")).to_be_in_viewport()


def test_a_link_to_a_check_opens_it(browser: Browser, page_of: Callable[[str], Path]) -> None:
    """Who follows a link to a check that is folded sees what was expected and seen."""
    with view(browser, page_of("rolled_back")) as seen:
        check = seen.page.locator("details.v-passed:not([open]) [id]").first
        anchor = str(check.get_attribute("id"))
    with view(browser, page_of("rolled_back"), anchor) as seen:
        expect(seen.page.locator(f"#{anchor}").get_by_text("Expected").first).to_be_visible()


def test_what_a_host_says_does_nothing(browser: Browser, page_of: Callable[[str], Path]) -> None:
    """Markup, scripts, escapes and marks of a host are words on the page: nothing runs, nothing is fetched."""
    with view(browser, page_of("hostile")) as seen:
        seen.unfold()
        said = seen.page.inner_text("main")
        assert seen.requests == [page_of("hostile").as_uri()]
        assert (seen.messages, seen.dialogs) == ([], [])
        assert seen.page.locator("main img, main script, main iframe").count() == 0
    for words in (
        "</script><img src=x onerror=alert(1)>",
        "{{ 7*7 }}",
        "##[error]",
        "<svg onload=alert(5)> &lt;b&gt; javascript:alert(6)",
        "the last words",
        "1,000,000 characters",
    ):
        assert words in said.replace("## [", "##["), words
    assert not [char for char in said if char not in {"\n", "\t"} and (ord(char) < 32 or char in "\x7f\u202e")]


def test_nor_does_it_in_the_test_log(browser: Browser, pytester: pytest.Pytester, tmp_path: Path) -> None:
    """The whole report runs the test log's own script and nothing else, which shows names and output as text."""
    run(pytester, tmp_path, story="hostile")
    report = tmp_path / "report.html"
    with view(browser, report) as seen:
        expect(seen.page.locator("#results-table")).to_contain_text("<img src=x onerror=alert(1)>")
        seen.page.locator("#results-table .collapsible").first.click()
        assert [url for url in seen.requests if not url.startswith("data:")] == [report.as_uri()]
        assert (seen.messages, seen.dialogs) == ([], [])
        assert seen.overhang <= 0
        assert seen.faults() == {}
