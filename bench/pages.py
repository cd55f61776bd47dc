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

import msgspec
from playwright.sync_api import Browser, sync_playwright

from bench.result import Bench, Given, Result, machine, when
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.record import Record
from switchproof.reports.kept import index
from switchproof.reports.page import layout
from tests.reports import stories
from tests.reports.runs import keep, with_files

AIMS = {100: 1.0, 1000: 2.0}
"""Seconds within which a report must open, by its number of hosts."""
MADE_S = 5.0
"""Seconds within which the report of 100 failed hosts must be made."""
FAILED = 30
"""Number of hosts that failed, among the most hosts."""

_LOG = "".join(f"2026-11-23T15:12:03.{n:06d} a app[{n}]: request {n} refused, {'x' * 60}\n" for n in range(500))
_TIMES = """
new Promise(done => requestAnimationFrame(() => setTimeout(() => {
  const painted = performance.getEntriesByType('paint').find(each => each.name === 'first-contentful-paint');
  done([painted ? painted.startTime : performance.now(), performance.now()]);
})))
"""


@dataclass(frozen=True)
class Measured:
    """A page: its hosts and bytes, and the seconds to make it, to its first paint and until it is drawn completely.

    An index has no hosts.
    """

    what: str
    hosts: int
    size: int
    made_s: float
    seen_s: float
    drawn_s: float


BENCH = Bench("pages", __doc__, rounds=7)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _run)


def _run(given: Given) -> Result:
    counts, most, runs = ([1], 60, 10) if given.smallest else ([1, 10, 100], 1000, 1000)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        # Its sandbox is not for root; it only opens the pages that are made here.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        rows = [
            _measure(browser, what, hosts, make, given.rounds)
            for what, hosts, make in _pages(Path(folder), counts, most, runs)
        ]
        facts = f"Chromium {browser.version}, {machine()}"
        browser.close()
    numbers: dict[str, float] = {}
    for row in rows:
        numbers |= {f"{row.what}: bytes": float(row.size), f"{row.what}: made in": row.made_s}
        numbers |= {f"{row.what}: drawn after": row.drawn_s}
    return Result(_render(rows, facts, given.rounds), numbers)


def _pages(
    folder: Path, counts: Sequence[int], most: int, runs: int
) -> Iterator[tuple[str, int, Callable[[], Path]]]:
    for count in counts:
        hosts = _names(count)
        named = f"report: {count} host" if count == 1 else f"report: {count} hosts"
        yield f"{named}, canonical", count, _report(folder / f"good-{count}", _good(hosts))
        bad = _bad(hosts, folder / f"bad-{count}")
        yield f"{named}, all failed, with full diagnostics", count, _report(folder / f"bad-{count}", bad)
    good = _good(_names(most))
    yield f"report: {most} hosts, canonical", most, _report(folder / f"good-{most}", good)
    bad, others = _bad(_names(FAILED), folder / "mixed"), good.hosts[FAILED:]
    mixed = msgspec.structs.replace(bad, hosts=[*bad.hosts, *others], evidence=[*bad.evidence, *good.evidence])
    yield f"report: {most} hosts, {FAILED} failed, with full diagnostics", most, _report(folder / "mixed", mixed)
    for number in range(runs):
        keep(folder / "runs", stories.rolled_back() if number % 5 else stories.canonical("a"), number)
    yield f"index: {runs} runs, read for the first time", 0, lambda: index.write(folder / "runs", folder / "runs")
    yield f"index: {runs} runs, as at a run's end", 0, lambda: index.write(folder / "runs", folder / "runs")


def _names(count: int) -> list[str]:
    return [f"choiros-{number}" for number in range(count)]


def _good(hosts: Sequence[str]) -> Record:
    return fold(stories.canonical(*hosts).events)


def _bad(hosts: Sequence[str], folder: Path) -> Record:
    return with_files(fold(stories.diagnosed(*hosts).events), folder, lambda _: _LOG.encode())


def _report(folder: Path, record: Record) -> Callable[[], Path]:
    def make() -> Path:
        folder.mkdir(exist_ok=True)
        page = folder / "report.html"
        page.write_text(layout.standalone(record, folder), encoding="utf-8", errors="replace")
        return page

    return make


def _measure(browser: Browser, what: str, hosts: int, make: Callable[[], Path], rounds: int) -> Measured:
    began = time.monotonic()
    page = make()
    made_s = time.monotonic() - began
    seen, drawn = zip(*(_open(browser, page) for _ in range(rounds)), strict=True)
    sys.stderr.write(f"{what}\n")
    return Measured(what, hosts, page.stat().st_size, made_s, statistics.median(seen), statistics.median(drawn))


def _open(browser: Browser, page: Path) -> tuple[float, float]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        tab = context.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        seen, drawn = tab.evaluate(_TIMES)
    return seen / 1000, drawn / 1000


def _render(rows: list[Measured], facts: str, rounds: int) -> str:
    slowest = {hosts: max((row.drawn_s for row in rows if row.hosts == hosts), default=0.0) for hosts in AIMS}
    made_s = max((row.made_s for row in rows if row.hosts <= min(AIMS)), default=0.0)
    lines = [
        f"- {when(rounds, 'of each page opened, medians')}",
        f"- {facts}",
        "",
        "| page | size | made in | first seen after | drawn after |",
        "|---|---|---|---|---|",
        *(f"| {row.what} | {row.size / 1000:,.0f} kB | {_seconds(row)} |" for row in rows),
        "",
        *(
            f"- {hosts} hosts open within {AIMS[hosts]:g} s: {_held(drawn, AIMS[hosts])}"
            for hosts, drawn in slowest.items()
        ),
        f"- every report of up to {min(AIMS)} hosts is made within {MADE_S:g} s: {_held(made_s, MADE_S)}",
    ]
    return "\n".join(lines) + "\n"


def _held(seconds: float, aim_s: float) -> str:
    return f"{'yes' if seconds <= aim_s else 'no'} ({seconds:.2f} s)"


def _seconds(row: Measured) -> str:
    return " | ".join(f"{seconds:.2f} s" for seconds in (row.made_s, row.seen_s, row.drawn_s))


if __name__ == "__main__":
    sys.exit(main())
