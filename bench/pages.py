"""Makes the pages of large runs, opens them in Chromium, and tells how large they are and how long both take."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from switchproof.deploy.record.record import Record
from switchproof.reports import html, index
from tests.reports import stories
from tests.reports.runs import keep, with_files

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "bench-pages.md"
MARK = "<!-- what follows is written by `python -m bench.pages --write` -->"
TIMES = 7
"""How often each page is opened, each time by a browser's context that has never seen it."""

AIM_S = 1.0
"""Seconds within which the report of 100 hosts is to open."""

_LOG = "".join(f"2026-11-23T15:12:03.{n:06d} a app[{n}]: request {n} refused, {'x' * 60}\n" for n in range(500))
_TIMES = """
new Promise(done => requestAnimationFrame(() => setTimeout(() => {
  const painted = performance.getEntriesByType('paint').find(each => each.name === 'first-contentful-paint');
  done([painted ? painted.startTime : performance.now(), performance.now()]);
})))
"""


@dataclass(frozen=True)
class Measured:
    """A page: bytes, seconds to make it, to the first thing seen of it, and until all of it has been drawn."""

    what: str
    size: int
    made_s: float
    seen_s: float
    drawn_s: float


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the result to {PAGE.relative_to(ROOT)}")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        # Its sandbox is not for root; it only opens the pages that are made here.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        rows = [_measure(browser, what, make) for what, make in _pages(Path(folder))]
        facts = f"Chromium {browser.version}, {os.cpu_count()} CPUs, Linux {platform.release()}"
        browser.close()
    result = _render(rows, facts)
    if asked.write:
        head = PAGE.read_text("utf-8").partition(MARK)[0]
        PAGE.write_text(f"{head}{MARK}\n\n{result}", "utf-8")
    print(result, end="")
    return 0


def _pages(folder: Path) -> Iterator[tuple[str, Callable[[], Path]]]:
    for count in (1, 10, 100):
        hosts = tuple(f"choiros-{number}" for number in range(count))
        named = f"{count} host" if count == 1 else f"{count} hosts"
        yield f"report: {named}, canonical", _report(folder / f"good-{count}", stories.canonical(*hosts).record())
        bad = with_files(stories.diagnosed(*hosts).record(), folder / f"bad-{count}", lambda _: _LOG.encode())
        yield f"report: {named}, all failed, with full diagnostics", _report(folder / f"bad-{count}", bad)
    for number in range(1000):
        keep(folder / "runs", stories.rolled_back() if number % 5 else stories.canonical("a"), number)
    yield "index: 1000 runs, read for the first time", lambda: index.write(folder / "runs", folder / "runs")
    yield "index: 1000 runs, as at a run's end", lambda: index.write(folder / "runs", folder / "runs")


def _report(folder: Path, record: Record) -> Callable[[], Path]:
    def make() -> Path:
        folder.mkdir(exist_ok=True)
        page = folder / "report.html"
        page.write_text(html.standalone(record, folder), encoding="utf-8", errors="replace")
        return page

    return make


def _measure(browser: Browser, what: str, make: Callable[[], Path]) -> Measured:
    began = time.monotonic()
    page = make()
    made_s = time.monotonic() - began
    seen, drawn = zip(*(_open(browser, page) for _ in range(TIMES)), strict=True)
    sys.stderr.write(f"{what}\n")
    return Measured(what, page.stat().st_size, made_s, statistics.median(seen), statistics.median(drawn))


def _open(browser: Browser, page: Path) -> tuple[float, float]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        tab = context.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        seen, drawn = tab.evaluate(_TIMES)
    return seen / 1000, drawn / 1000


def _render(rows: list[Measured], facts: str) -> str:
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    aimed = max((row for row in rows if "100 hosts" in row.what), key=lambda row: row.drawn_s)
    lines = [
        f"- {dt.datetime.now(dt.UTC):%Y-%m-%d}, {facts}; load average at the end: {load}",
        f"- each page opened {TIMES} times; medians",
        "",
        "| page | size | made in | first seen after | drawn after |",
        "|---|---|---|---|---|",
        *(f"| {row.what} | {row.size / 1000:,.0f} kB | {_seconds(row)} |" for row in rows),
        "",
        f"- 100 hosts open within {AIM_S:g} s: {'yes' if aimed.drawn_s <= AIM_S else 'no'} ({aimed.drawn_s:.2f} s)",
    ]
    return "\n".join(lines) + "\n"


def _seconds(row: Measured) -> str:
    return " | ".join(f"{seconds:.2f} s" for seconds in (row.made_s, row.seen_s, row.drawn_s))


if __name__ == "__main__":
    sys.exit(main())
