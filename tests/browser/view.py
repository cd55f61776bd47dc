"""A page in a real browser, with everything that it asked for, said and tried."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page

NARROW, WIDE = 380, 1280
"""Widths in CSS pixels: of a small phone, and of a small desktop."""

GRAVE = {"serious", "critical"}

_ALL_OPEN = """
document.querySelectorAll('details').forEach(each => { each.open = true });
document.querySelectorAll('main *').forEach(each => { each.style.contentVisibility = 'visible' });
"""


@dataclass(frozen=True)
class View:
    """A page that is open.

    Attributes:
        requests: Addresses of everything that it asked for, itself first.
        said: What the browser's console says of it, above all what its policy refused.
        dialogs: What scripts would have shown.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def unfold(self) -> None:
        """Open whatever is folded, and have everything laid out, as if it were all in sight."""
        self.page.evaluate(_ALL_OPEN)

    @property
    def overhang(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def faults(self) -> dict[str, list[str]]:
        """Return what axe-core calls serious or critical, with the elements that it names."""
        return {
            found["id"]: [node["html"][:300] for node in found["nodes"]]
            for found in Axe().run(self.page).response["violations"]
            if found["impact"] in GRAVE
        }

    @property
    def focused(self) -> str:
        """What has the keyboard: the target of a link, or the words of anything else."""
        return str(
            self.page.evaluate(
                "(e => e.getAttribute('href') || e.getAttribute('aria-label') || e.innerText || e.tagName)"
                "(document.activeElement)"
            )
        )


@contextmanager
def view(
    browser: Browser,
    page: Path,
    anchor: str = "",
    *,
    width: int = WIDE,
    scheme: Literal["light", "dark"] = "light",
    scripts: bool = True,
    paper: bool = False,
) -> Generator[View]:
    """Open a page.

    Args:
        browser: The browser.
        page: The page's file.
        anchor: Where in the page.
        width: Of the window, in CSS pixels.
        scheme: What the reader prefers.
        scripts: Whether the browser runs any.
        paper: Look at it as it is printed.
    """
    size: Any = {"width": width, "height": 800}
    with browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=scripts) as context:
        seen = View(context.new_page())
        seen.page.set_default_timeout(15_000)
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("console", lambda message: seen.said.append(message.text))
        seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
        seen.page.on("dialog", lambda dialog: _dismiss(dialog, seen.dialogs))
        if paper:
            seen.page.emulate_media(media="print")
        seen.page.goto(f"{page.as_uri()}{anchor and '#'}{anchor}")
        yield seen


def _dismiss(dialog: Dialog, shown: list[str]) -> None:
    shown.append(dialog.message)
    dialog.dismiss()
