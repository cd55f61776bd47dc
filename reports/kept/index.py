"""Writes `index.html`, the page that lists every kept run."""

from __future__ import annotations

import base64
import datetime as dt
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from statistics import median

import msgspec
from markupsafe import Markup

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.facts import LOOKING_AHEAD
from switchproof.deploy.settings import read_settings
from switchproof.reports import files, text
from switchproof.reports.kept.runs import Kept, read_kept
from switchproof.reports.page import conformance

PAGE = "index.html"
TREND = 20
"""Runs in a trend, the newest ones."""

_PAGES = ("report.html", "conformance.html", "events.jsonl")
"""The files to which the entry of a run may link: the first that exists, or else its folder."""
_HOSTS_SHOWN = 6
_LOCK_S = 10.0
_PAUSE_S = 0.05
_BAR, _GAP, _HEIGHT, _LEAST = 5, 2, 28, 2
_OTHER_WORDS = {"going-on": "going on", "killed": "killed", "unreadable": "unreadable"}


class Entry(msgspec.Struct, frozen=True):
    """A run as the page shows it.

    Attributes:
        run: The kept run.
        href: The link to its page, relative to the index.
        word: Its verdict, or the reason why it has none.
        tone: The CSS class of that word.
        states: The number of hosts in each state, in words; empty if the page names each host.
    """

    run: Kept
    href: str
    word: str
    tone: str
    states: str = ""


class Bar(msgspec.Struct, frozen=True):
    """The bar of one run in a trend, in units of the drawing."""

    x: int
    y: float
    height: float
    tone: str


class Trend(msgspec.Struct, frozen=True):
    """The verdicts and durations of the newest runs of one mode, the oldest first."""

    mode: str
    count: int
    entries: tuple[Entry, ...]
    bars: tuple[Bar, ...]
    took: str

    @property
    def width(self) -> int:
        """The width of the drawing, in its own units."""
        return max(len(self.bars) * (_BAR + _GAP), _BAR)


class HostRow(msgspec.Struct, frozen=True):
    """One host in the kept runs: its newest run, the newest canonical one, and its verdicts over time."""

    name: str
    state: str
    newest: Entry
    canonical: Entry | None
    entries: tuple[Entry, ...]


class Provider(msgspec.Struct, frozen=True):
    """The runs of one provider, the newest first."""

    name: str
    anchor: str
    emulated: bool
    hosts: tuple[HostRow, ...]
    trends: tuple[Trend, ...]
    entries: tuple[Entry, ...]


def write(folder: Path, home: Path) -> Path:
    """Write the page atomically, with all runs, also if several end at the same time.

    Args:
        folder: The folder of kept runs.
        home: The folder of the page: the same folder, or one above.

    Returns:
        The path of the page.

    Raises:
        OSError: The page could not be written.
    """
    with _alone(folder):
        page = home / PAGE
        files.write_text(page, render(read_kept(folder), folder, home, dt.datetime.now(dt.UTC)))
    return page


def render(runs: Sequence[Kept], folder: Path, home: Path, now: dt.datetime) -> str:
    """Render the page.

    Args:
        runs: The kept runs, the newest first.
        folder: The folder of kept runs.
        home: The folder of the page.
        now: The time that the page shows.
    """
    env = conformance.environment()
    style = "\n".join(env.get_template(name).render() for name in ("conformance.css.j2", "index.css.j2"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    way = PurePosixPath(Path(os.path.relpath(folder, home)).as_posix())
    entries = [_entry(run, folder, way) for run in runs]
    providers = _providers(entries)
    return env.get_template("index.html.j2").render(
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        style=Markup(style),  # noqa: S704 - our own templates
        providers=providers,
        summary=_summary(entries),
        now=now,
        bar=_BAR,
        height=_HEIGHT,
        hosts_shown=_HOSTS_SHOWN,
    )


def _entry(run: Kept, folder: Path, way: PurePosixPath) -> Entry:
    place = folder / run.folder
    page = next((name for name in _PAGES if (place / name).exists()), "")
    other_word = _OTHER_WORDS.get(run.end)
    word = other_word or (run.digest.word if run.digest else "")
    tone = "v-inconclusive" if other_word else f"v-{word}"
    hosts = run.digest.hosts if run.digest else ()
    states = Counter(str(host.state) for host in hosts)
    counted = ", ".join(f"{number} {state}" for state, number in states.most_common())
    href = conformance.href(str(way / run.folder / page))
    return Entry(run, href, word, tone, counted if len(hosts) > _HOSTS_SHOWN else "")


def _providers(entries: Iterable[Entry]) -> list[Provider]:
    by_name: dict[str, list[Entry]] = {}
    for entry in entries:
        by_name.setdefault(entry.run.provider, []).append(entry)
    return [
        Provider(
            name=name or "of no known provider",
            anchor=f"sp-{number}-{text.slug(name)}",
            emulated=all(entry.run.digest.emulated for entry in mine if entry.run.digest)
            and any(entry.run.digest for entry in mine),
            hosts=tuple(_hosts(mine)),
            trends=tuple(_trends(mine)),
            entries=tuple(mine),
        )
        for number, (name, mine) in enumerate(by_name.items(), 1)
    ]


def _hosts(entries: Sequence[Entry]) -> list[HostRow]:
    """Return the row of each host. Runs that prove nothing are left out."""
    rows: dict[str, list[tuple[Entry, str]]] = {}
    for entry in entries:
        if entry.run.digest and entry.run.mode not in LOOKING_AHEAD:
            for host in entry.run.digest.hosts:
                rows.setdefault(host.name, []).append((entry, str(host.state)))
    return [
        HostRow(
            name=name,
            state=mine[0][1],
            newest=mine[0][0],
            canonical=next((entry for entry, _ in mine if entry.word == "canonical"), None),
            entries=tuple(entry for entry, _ in reversed(mine[:TREND])),
        )
        for name, mine in sorted(rows.items())
    ]


def _trends(entries: Sequence[Entry]) -> list[Trend]:
    """Return a trend for each mode, whose runs take about as long as each other."""
    by_mode: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.run.digest:
            by_mode.setdefault(entry.run.mode, []).append(entry)
    return [_trend(mode, mine) for mode, mine in by_mode.items()]


def _trend(mode: str, newest_first: Sequence[Entry]) -> Trend:
    shown = list(reversed(newest_first[:TREND]))
    took = [
        (entry, entry.run.digest.took_s)
        for entry in shown
        if entry.run.digest and entry.run.digest.took_s is not None
    ]
    longest = max((seconds for _, seconds in took), default=0.0)
    bars = []
    for number, (entry, seconds) in enumerate(took):
        height = max(round(_HEIGHT * seconds / (longest or 1.0), 1), _LEAST)
        bars.append(Bar(number * (_BAR + _GAP), round(_HEIGHT - height, 1), height, entry.tone))
    summary = "no run came to its end"
    if took:
        summary = f"newest {text.duration(took[-1][1])}, median {text.duration(median(each for _, each in took))}"
    return Trend(mode, len(newest_first), tuple(shown), tuple(bars), summary)


def _summary(entries: Sequence[Entry]) -> str:
    if not entries:
        return "No run is kept here."
    counts = Counter(entry.word for entry in entries)
    return f"{text.count(len(entries), 'run')}: {', '.join(f'{n} {word}' for word, n in counts.most_common())}."


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Let one process write the page at a time, so that the last one lists all runs.

    Without a lock within the time limit, or on a file system without locks, the page is written all the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".index.lock").open("ab") as file:
        ends = time.monotonic() + _LOCK_S
        while time.monotonic() < ends:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE_S)
            except OSError:
                break
            else:
                break
        yield


def command(arguments: list[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows `index` on the command line.

    Returns:
        0, or 4 if the folder does not exist or the page cannot be written.
    """
    parser = Parser(prog="switchproof reports index", description="List every kept run on one page.")
    parser.add_argument(
        "folder",
        metavar="DIR",
        nargs="?",
        type=Path,
        help="the folder of kept runs, as given with --report-dir (default: reports/runs)",
    )
    parser.add_argument("--open", action="store_true", help="also open the page, on a desktop")
    asked = parser.parse_args(arguments)
    try:
        settings = read_settings(Path.cwd())
    except UsageError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    folder = asked.folder or settings.report_dir
    if asked.folder and not folder.is_dir():
        print(f"{folder}: no such folder", file=sys.stderr)
        return ExitCode.USAGE
    try:
        page = write(folder, settings.home_of(folder))
    except OSError as error:
        print(f"{folder}: the index cannot be written: {error}", file=sys.stderr)
        return ExitCode.USAGE
    print(page)
    if asked.open and (opener := _opener(os.environ)):
        subprocess.Popen(
            [opener, str(page)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    return 0


def _opener(environ: Mapping[str, str]) -> str | None:
    """Return the program that opens a page on this desktop; None without a desktop."""
    if sys.platform == "darwin":
        return shutil.which("open")
    return shutil.which("xdg-open") if environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"} else None
