"""Measures the pages of large runs: their size, and the time to make them and to open them in Chromium."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from bench.result import Bench, Given, Result, machine, when
from switchproof.deploy.record.record import Record
from switchproof.reports.kept import index
from switchproof.reports.page import layout
from tests.reports import stories
from tests.reports.runs import keep, with_files

AIM_S = 1.0
"""Seconds within which the report of the most hosts must open."""

_LOG = "".join(f"2026-11-23T15:12:03.{n:06d} a app[{n}]: request {n} refused, {'x' * 60}\n" for n in range(500))
_TIMES = """
new Promise(done => requestAnimationFrame(() => setTimeout(() => {
  const painted = performance.getEntriesByType('paint').find(each => each.name === 'first-contentful-paint');
  done([painted ? painted.startTime : performance.now(), performance.now()]);
})))
"""


@dataclass(frozen=True)
class Measured:
    """A page: its bytes, and the seconds to make it, to its first paint and until it is drawn completely."""

    what: str
    size: int
    made_s: float
    seen_s: float
    drawn_s: float


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return Bench("pages", __doc__, rounds=7).run(argv, _run)


def _run(given: Given) -> Result:
    counts, runs = ([1], 10) if given.smallest else ([1, 10, 100], 1000)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        # Its sandbox is not for root; it only opens the pages that are made here.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        rows = [_measure(browser, what, make, given.rounds) for what, make in _pages(Path(folder), counts, runs)]
        facts = f"Chromium {browser.version}, {machine()}"
        browser.close()
    numbers: dict[str, float] = {}
    for row in rows:
        numbers |= {f"{row.what}: bytes": float(row.size), f"{row.what}: made in": row.made_s}
        numbers |= {f"{row.what}: drawn after": row.drawn_s}
    return Result(_render(rows, facts, given.rounds), numbers)


def _pages(folder: Path, counts: Sequence[int], runs: int) -> Iterator[tuple[str, Callable[[], Path]]]:
    for count in counts:
        hosts = tuple(f"choiros-{number}" for number in range(count))
        named = f"{count} host" if count == 1 else f"{count} hosts"
        yield f"report: {named}, canonical", _report(folder / f"good-{count}", stories.canonical(*hosts).record())
        bad = with_files(stories.diagnosed(*hosts).record(), folder / f"bad-{count}", lambda _: _LOG.encode())
        yield f"report: {named}, all failed, with full diagnostics", _report(folder / f"bad-{count}", bad)
    for number in range(runs):
        keep(folder / "runs", stories.rolled_back() if number % 5 else stories.canonical("a"), number)
    yield f"index: {runs} runs, read for the first time", lambda: index.write(folder / "runs", folder / "runs")
    yield f"index: {runs} runs, as at a run's end", lambda: index.write(folder / "runs", folder / "runs")


def _report(folder: Path, record: Record) -> Callable[[], Path]:
    def make() -> Path:
        folder.mkdir(exist_ok=True)
        page = folder / "report.html"
        page.write_text(layout.standalone(record, folder), encoding="utf-8", errors="replace")
        return page

    return make


def _measure(browser: Browser, what: str, make: Callable[[], Path], rounds: int) -> Measured:
    began = time.monotonic()
    page = make()
    made_s = time.monotonic() - began
    seen, drawn = zip(*(_open(browser, page) for _ in range(rounds)), strict=True)
    sys.stderr.write(f"{what}\n")
    return Measured(what, page.stat().st_size, made_s, statistics.median(seen), statistics.median(drawn))


def _open(browser: Browser, page: Path) -> tuple[float, float]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        tab = context.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        seen, drawn = tab.evaluate(_TIMES)
    return seen / 1000, drawn / 1000


def _render(rows: list[Measured], facts: str, rounds: int) -> str:
    aimed = max((row for row in rows if row.what.startswith("report")), key=lambda row: row.drawn_s)
    lines = [
        f"- {when(rounds, 'of each page opened, medians')}",
        f"- {facts}",
        "",
        "| page | size | made in | first seen after | drawn after |",
        "|---|---|---|---|---|",
        *(f"| {row.what} | {row.size / 1000:,.0f} kB | {_seconds(row)} |" for row in rows),
        "",
        f"- all reports open within {AIM_S:g} s: {'yes' if aimed.drawn_s <= AIM_S else 'no'} ({aimed.drawn_s:.2f} s)",
    ]
    return "\n".join(lines) + "\n"


def _seconds(row: Measured) -> str:
    return " | ".join(f"{seconds:.2f} s" for seconds in (row.made_s, row.seen_s, row.drawn_s))


if __name__ == "__main__":
    sys.exit(main())
