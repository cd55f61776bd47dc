"""Tracks what each host is doing from events, and formats the log lines about it."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections import deque
from dataclasses import dataclass, field

import msgspec

from switchproof.deploy.contract import Verdict
from switchproof.deploy.record import events as ev
from switchproof.reports import text
from switchproof.reports.legs import LEG_WORDS, phase_name
from switchproof.reports.reading import state_words

LOG_INTERVAL_S = 1.0
"""Seconds between two lines of one host's log, if lines stay on the screen."""
QUIET_S = 60.0
"""Seconds without a log line after which the host's work is shown, and the interval of repetitions."""
WAITS_PER_S = 10
"""Lines a second of all hosts together about waits for the same state as before, if lines stay on the screen."""
WAITING = "waiting: "
"""The beginning of a line that names what a host waits for."""
_NUMBER = re.compile(r"\d+")
_BUILDING = re.compile(r"^building '/nix/store/[a-z0-9]{32}-(.+?)(?:\.drv)?'")
_SWITCHING = re.compile(
    r"^(?:activating the configuration|(?:stopping|starting|restarting|reloading) the following )"
)
_NOTEWORTHY = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.WAIVED)
"""Verdicts of checks that are shown although nobody asked for each check."""
LOG_CHARACTERS = 1000
"""Characters used of a log line; the whole log is evidence."""
WARNING_CHARACTERS = 600
"""Characters shown of a warning, which names whole store paths."""
LAST_LINES = 5
"""Held-back lines of a host's log that are shown when a phase ends."""


class Line(msgspec.Struct, frozen=True):
    """A line about an event. A `passing` line repeats what a live table shows."""

    text: str
    passing: bool = False


@dataclass
class Activity:
    """What one host is doing.

    Attributes:
        phase: The current phase, or the result of the last one.
        since: The start of the current phase; None between phases.
        took_s: Seconds that the last phase took; None during a phase.
        line: The last line of its log.
        work: The work that its log named last: building a derivation, or switching.
    """

    phase: str = "waiting"
    since: dt.datetime | None = None
    took_s: float | None = None
    line: str = ""
    work: str = ""
    _working_since: dt.datetime | None = field(default=None, repr=False)
    _quiet_since: dt.datetime | None = field(default=None, repr=False)
    _shown_at: dt.datetime | None = field(default=None, repr=False)
    _held: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES), repr=False)
    _held_count: int = field(default=0, repr=False)
    _awaited: str = field(default="", repr=False)
    _awaited_at: dt.datetime | None = field(default=None, repr=False)

    def log(self, at: dt.datetime, line: str, wait_interval_s: float) -> tuple[int, str] | None:
        """Record a line of the log.

        Args:
            at: When it came.
            line: The line.
            wait_interval_s: Seconds between two lines that wait for the same state.

        Returns:
            The number of lines held back before it and the line, if a line is due; else None.
        """
        self.line, self._quiet_since = line, at
        if line.startswith(WAITING):
            return self._wait(at, line, wait_interval_s)
        if match := _BUILDING.match(line):
            self.work, self._working_since = f"building {match[1]}", at
        elif _SWITCHING.match(line) and self.work != "switching":
            self.work, self._working_since = "switching", at
        if self._shown_at is not None and (at - self._shown_at).total_seconds() < LOG_INTERVAL_S:
            self._held.append(line)
            self._held_count += 1
            return None
        self._shown_at = at
        missed, self._held_count = self._held_count, 0
        self._held.clear()
        return missed, line

    def _wait(self, at: dt.datetime, line: str, interval_s: float) -> tuple[int, str] | None:
        """Return a line about a wait if it names another state than the last one, or if that is not recent."""
        awaited = _NUMBER.sub("#", line)
        recent = self._awaited_at is not None and (at - self._awaited_at).total_seconds() < interval_s
        if recent and awaited == self._awaited:
            return None
        self._awaited, self._awaited_at = awaited, at
        missed, self._held_count = self._held_count, 0
        self._held.clear()
        return missed, line

    def quiet(self, now: dt.datetime) -> tuple[list[tuple[int, str]], str]:
        """Return the lines still held back, and a notice about long silent work; empty if none is due."""
        quiet_s = (now - self._quiet_since).total_seconds() if self._quiet_since and self.since else 0.0
        lines = self.last_lines() if quiet_s >= LOG_INTERVAL_S else []
        if quiet_s < QUIET_S or self._working_since is None:
            return lines, ""
        self._quiet_since = now
        took = text.duration((now - self._working_since).total_seconds())
        return lines, f"still {self.work}, for {took}"

    def forget_work(self) -> None:
        """Clear the work, at the start of a phase."""
        self.work, self._working_since, self._quiet_since = "", None, None

    def last_lines(self) -> list[tuple[int, str]]:
        """Return and clear the held-back lines, each with the number of lost lines before it."""
        lines = list(self._held)
        missed, self._held_count = self._held_count - len(lines), 0
        self._held.clear()
        return [(missed if index == 0 else 0, line) for index, line in enumerate(lines)]


class Board:
    """The activities of all hosts. Safe to use from several threads.

    Args:
        every_check: Whether to show each check, or only those that need a person.
    """

    def __init__(self, *, every_check: bool = False) -> None:
        self._every_check = every_check
        self._hosts: dict[str, Activity] = {}
        self._causes: set[tuple[str, str, str]] = set()
        self._shown_on: dict[tuple[str, ...], str] = {}
        self._lock = threading.Lock()

    def snapshot(self) -> list[tuple[str, str, float | None, str]]:
        """Return the host, phase, seconds in it (or of the last one) and last log line, for every host."""
        now = dt.datetime.now(dt.UTC)
        with self._lock:
            return [
                (
                    name,
                    host.phase,
                    (now - host.since).total_seconds() if host.since else host.took_s,
                    host.line,
                )
                for name, host in self._hosts.items()
            ]

    def lines(self, event: ev.AnyEvent) -> list[Line]:
        """Record an event, and return its log lines with the time of day.

        Text from a host never begins a line, so it cannot pass for our text or for a command to a CI service.
        """
        with self._lock:
            lines = self._lines_of(event)
        clock = text.clock(event.at)
        return [Line(text.inert(f"{clock} {line.text}").replace("\n", " "), line.passing) for line in lines]

    def quiet(self, now: dt.datetime) -> list[Line]:
        """Return the lines that are due although no event came."""
        with self._lock:
            due = [(name, host.quiet(now)) for name, host in self._hosts.items()]
        shown = [_log_line(name, *entry).text for name, (lines, _) in due for entry in lines]
        shown += [f"{name} {still}" for name, (_, still) in due if still]
        return [Line(text.inert(f"{text.clock(now)} {line}").replace("\n", " "), passing=True) for line in shown]

    def _lines_of(self, event: ev.AnyEvent) -> list[Line]:
        match event:
            case ev.RunStarted():
                self._hosts.update((name, Activity()) for name in event.hosts)
                what = f"{event.requested} on " if event.requested else ""
                return [Line(f"{event.mode} of {what}{', '.join(event.hosts)} ({event.provider})")]
            case ev.RevisionResolved():
                subject = f": {text.one_line(event.subject)}" if event.subject else ""
                return [Line(f"{event.requested or 'what runs'} is {event.sha}{subject}")]
            case ev.PhaseStarted() | ev.PhaseFinished():
                return self._phase(event)
            case ev.LogLine():
                return self._log(event)
            case ev.CheckFinished():
                return self._check(event)
            case ev.RollbackBegun():
                return [Line(f"{event.host} rolling back to {event.to}: {text.brief(event.reason)}")]
            case ev.HostLeft():
                return [Line(f"{event.host} {state_words(event.state)}: {text.brief(event.reason)}")]
            case ev.Warned():
                return [Line(f"{event.host} NOTE WELL: {text.brief(event.text, WARNING_CHARACTERS)}")]
            case ev.Noted():
                return [Line(f"{event.host or 'run'} note: {text.brief(event.text)}")]
            case _:
                return []

    def _phase(self, event: ev.PhaseStarted | ev.PhaseFinished) -> list[Line]:
        host = self._hosts.setdefault(event.host, Activity())
        name = phase_name(event.phase, event.leg)
        if isinstance(event, ev.PhaseStarted):
            host.phase, host.since, host.took_s = name, event.at, None
            host.forget_work()
            return [Line(f"{event.host} {name} started", passing=True)]
        host.since, host.took_s = None, event.seconds
        host.phase = f"{name}: problem" if event.problem else f"{name}: done"
        problem = f", problem: {text.brief(event.problem)}" if event.problem else ""
        last = [_log_line(event.host, *held) for held in host.last_lines()]
        return [*last, Line(f"{event.host} {name} {text.duration(event.seconds)}{problem}")]

    def _check(self, event: ev.CheckFinished) -> list[Line]:
        """Show one cause of a host once, however many checks have no answer because of it."""
        cause = (event.host, event.leg, event.message)
        if event.verdict is Verdict.INCONCLUSIVE and event.message:
            if cause in self._causes:
                return []
            self._causes.add(cause)
        if not self._every_check and event.verdict not in _NOTEWORTHY:
            return []
        return [Line(_check(event, self._instead(event)))]

    def _instead(self, event: ev.CheckFinished) -> str:
        """Refer to the line that has shown a check's message before; empty for a new message."""
        if not event.message:
            return ""
        first = self._shown_on.setdefault((event.leg, event.id, event.verdict, event.message), event.host)
        if first != event.host:
            return f"as on {first}"
        above = self._shown_on.setdefault((event.host, event.leg, event.message), event.id)
        return "as above" if above != event.id else ""

    def _log(self, event: ev.LogLine) -> list[Line]:
        host = self._hosts.setdefault(event.host, Activity())
        lines = [line.rstrip() for line in text.inert(event.text[:LOG_CHARACTERS]).splitlines() if line.strip()]
        # Hosts report a wait every 2 s: of up to 20 hosts every line is shown.
        wait_interval_s = max(LOG_INTERVAL_S, len(self._hosts) / WAITS_PER_S)
        due = (host.log(event.at, _together(line), wait_interval_s) for line in lines)
        return [_log_line(event.host, *entry) for entry in due if entry]


def _log_line(host: str, missed: int, line: str) -> Line:
    lost = f" ({text.count(missed, 'line')} not shown)" if missed else ""
    return Line(f"{host}{lost} | {line}", passing=True)


def _together(line: str) -> str:
    """Name endpoints in the same state together, healthy ones last: `a, b: no answer; c: healthy (9 s …)`."""
    if not line.startswith(WAITING):
        return line
    names: dict[str, list[str]] = {}
    for part in line.removeprefix(WAITING).split("; "):
        name, colon, state = part.partition(": ")
        names.setdefault(state if colon else part, []).extend([name] if colon else [])
    parts = [f"{', '.join(each)}: {state}" if each else state for state, each in names.items()]
    return WAITING + "; ".join(sorted(parts, key=lambda part: ": healthy (" in part))  # a narrow table cuts the end


def _check(event: ev.CheckFinished, instead: str) -> str:
    leg = "" if event.leg == "forward" else f" ({LEG_WORDS[event.leg]})"
    message = instead or text.brief(_headline(event.message))
    head = f"{event.host}{leg} {event.verdict.upper()} {event.clause or 'audit'}: {text.one_line(event.title)}"
    return f"{head}: {message}" if message else head


def _headline(message: str) -> str:
    """Return the first line of a message, or all of it if that only introduces the others."""
    first = message.partition("\n")[0].rstrip()
    return message if first.endswith(":") else first
