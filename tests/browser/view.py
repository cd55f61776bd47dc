"""Opens a page in a real browser, and records its requests, messages and dialogs."""

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

PATIENCE_MS = 30_000
"""Milliseconds after which what has not come to be never will, on a machine with much else to do."""

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
        messages: The messages of the browser's console, above all what its policy refused.
        dialogs: What scripts would have shown.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
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
        seen.page.set_default_timeout(PATIENCE_MS)
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("console", lambda message: seen.messages.append(message.text))
        seen.page.on("pageerror", lambda error: seen.messages.append(str(error)))
        seen.page.on("dialog", lambda dialog: _dismiss(dialog, seen.dialogs))
        if paper:
            seen.page.emulate_media(media="print")
        seen.page.goto(f"{page.as_uri()}{anchor and '#'}{anchor}")
        yield seen


def _dismiss(dialog: Dialog, shown: list[str]) -> None:
    shown.append(dialog.message)
    dialog.dismiss()
