"""Lays out a whole run on one time axis, as a drawing and as rows of a table (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec

from switchproof.deploy.record import facts
from switchproof.deploy.record.record import Host, PhaseTime, Record
from switchproof.reports import text
from switchproof.reports.legs import LEG_WORDS
from switchproof.reports.page.attempts import Tick, since_healthy, ticks

WIDTH = 1000
"""Width of the axis, in units of the drawing, as all lengths here."""
GUTTER = 130
"""Width of the column with the hosts' names, left of the axis."""
TOP = 26
"""Height of the axis' labels."""
LANE = 54
"""Height of one host's lane."""

_LETTER = 6.4
"""Approximate width of a letter of a label."""
_NAME = 18
"""Letters of a host's name that fit into the gutter."""

MOMENT_WORDS: dict[facts.MomentKind, str] = {
    "connected": "connected",
    "lost": "connection lost",
    "connected-again": "connected again",
    "asked-again": "asked again, because no answer came",
    "switch-begun": "switch begun",
    "switch-ended": "switch ended",
    "watch-begun": "probes begun",
    "healthy": "healthy from here on: the soak begins",
    "watch-ended": "probes ended",
    "rollback-begun": "rollback begun",
    "rollback-ended": "rollback ended",
    "went-back": "went back by itself",
    "rebooted": "rebooted",
    "confirmed": "confirmed: the host keeps the system",
}
"""The meaning of each moment."""

MARKS: dict[facts.MomentKind, str] = {
    "lost": "✕",
    "connected-again": "○",
    "asked-again": "↻",
    "went-back": "↩",
    "rebooted": "⟳",
    "confirmed": "✓",
}
"""The sign of each moment that is drawn as a point; other moments bound a span."""


class Bar(msgspec.Struct, frozen=True):
    """A span of time in a lane.

    Attributes:
        kind: `phase`, `switch`, `soak` or `rollback`.
        x: The position of its start.
        width: Its width, never too narrow to see.
        label: Its name; empty if that does not fit.
        description: The same as text, with its duration.
        problem: Whether it ended with a problem.
    """

    kind: str
    x: float
    width: float
    label: str
    description: str
    problem: bool = False


class Mark(msgspec.Struct, frozen=True):
    """A moment in a lane."""

    kind: facts.MomentKind
    x: float
    sign: str
    description: str


class Lane(msgspec.Struct, frozen=True):
    """One host in the drawing.

    Attributes:
        name: The heading of the lane.
        y: The distance of the lane from the top.
        phases: The phases of the host.
        spans: Switches, soaks and rollbacks.
        marks: Moments that are drawn as points.
        good: Positions of good answers to probes.
        bad: Positions of bad answers.
        legs: The start of each later leg, with its name.
    """

    name: str
    y: int
    phases: list[Bar] = msgspec.field(default_factory=list)
    spans: list[Bar] = msgspec.field(default_factory=list)
    marks: list[Mark] = msgspec.field(default_factory=list)
    good: list[int] = msgspec.field(default_factory=list)
    bad: list[int] = msgspec.field(default_factory=list)
    legs: list[Tick] = msgspec.field(default_factory=list)


class Row(msgspec.Struct, frozen=True):
    """One row of the table beside the drawing."""

    at_s: float
    host: str
    what: str
    text: str


class Timeline(msgspec.Struct, frozen=True):
    """The drawing of a run, and its table."""

    lanes: list[Lane]
    ticks: list[Tick]
    seconds: float
    began: dt.datetime
    rows: list[Row]

    @property
    def height(self) -> int:
        """Height of the drawing."""
        return TOP + LANE * len(self.lanes) + 6

    @property
    def kinds(self) -> set[str]:
        """The kinds of bars and marks that are drawn, for the legend."""
        bars = {bar.kind for lane in self.lanes for bar in lane.spans}
        marks = {mark.kind for lane in self.lanes for mark in lane.marks}
        probes = {"probe"} if any(lane.good or lane.bad for lane in self.lanes) else set()
        problems = {"problem"} if any(bar.problem for lane in self.lanes for bar in lane.phases) else set()
        return {*bars, *marks, *probes, *problems}


def draw(record: Record, hosts: Sequence[Host]) -> Timeline | None:
    """Lay out the events of these hosts of a record; None if there are none."""
    times = [time for host in hosts for time in _times(host)]
    if not times:
        return None
    began, ended = min(record.run.started, *times), max(times)
    axis = _Axis(began, max((ended - began).total_seconds(), 0.1))
    lanes = [_lane(host, TOP + LANE * number, axis) for number, host in enumerate(hosts)]
    rows = sorted((row for host in hosts for row in _rows(host, axis)), key=lambda row: row.at_s)
    return Timeline(lanes, ticks(axis.seconds, WIDTH), axis.seconds, began, rows)


class _Axis(msgspec.Struct, frozen=True):
    began: dt.datetime
    seconds: float

    def at_s(self, at: dt.datetime) -> float:
        return (at - self.began).total_seconds()

    def x(self, at: dt.datetime) -> float:
        return round(min(max(self.at_s(at), 0.0), self.seconds) / self.seconds * WIDTH, 1)

    def bar(
        self, kind: str, begin: dt.datetime, end: dt.datetime, name: str, description: str, *, problem: bool
    ) -> Bar:
        x = self.x(begin)
        width = max(round(self.x(end) - x, 1), 1.5)
        room = width >= len(name) * _LETTER + 6
        return Bar(kind, x, width, name if room else "", description, problem)


def _times(host: Host) -> list[dt.datetime]:
    watched = [facts.after(watch.began, watch.seconds) for watch in host.watches]
    phases = [time for phase in host.phases for time in (phase.started, phase.finished) if time is not None]
    return [*watched, *phases, *(moment.at for moment in host.timeline)]


def _end(phase: PhaseTime, host: Host) -> dt.datetime:
    """Return when a phase ended; for an unfinished one, the last known time of its host."""
    return phase.finished or max(_times(host))


def _lane(host: Host, y: int, axis: _Axis) -> Lane:
    lane = Lane(text.one_line(host.name, _NAME), y)
    for phase in host.phases:
        problem = phase.finished is None or phase.problem is not None
        description = f"{_phase(phase)}: {_took(phase)}"
        description += f", {text.one_line(phase.problem)}" if phase.problem else ""
        bar = axis.bar("phase", phase.started, _end(phase, host), phase.phase, description, problem=problem)
        lane.phases.append(bar)
    for leg in list(LEG_WORDS)[1:]:
        if begun := [phase.started for phase in host.phases if phase.leg == leg]:
            lane.legs.append(Tick(round(axis.x(min(begun))), LEG_WORDS[leg]))
    lane.spans.extend(_spans(host, axis))
    for moment in host.timeline:
        if sign := MARKS.get(moment.kind):
            lane.marks.append(Mark(moment.kind, axis.x(moment.at), sign, _moment(moment, axis)))
    for good, where in ((True, lane.good), (False, lane.bad)):
        places = {
            round(axis.x(facts.after(watch.began, sample.at_s)))
            for watch in host.watches
            for sample in watch.samples
            if sample.good is good
        }
        where.extend(sorted(places))
    return lane


def _spans(host: Host, axis: _Axis) -> list[Bar]:
    """Return the spans between begin and end: switches, rollbacks, and soaks over all endpoints."""
    spans = []
    for kind in ("switch", "rollback"):
        open_at: facts.Moment | None = None
        for moment in host.timeline:
            if moment.kind == f"{kind}-begun":
                open_at = open_at or moment
            elif moment.kind == f"{kind}-ended" and open_at is not None:
                spans.append(_span(kind, open_at.at, moment.at, axis, text.one_line(moment.text)))
                open_at = None
        if open_at is not None:
            spans.append(_span(kind, open_at.at, max(_times(host)), axis, "its end is unknown", problem=True))
    for leg in LEG_WORDS:
        newest = {watch.endpoint: watch for watch in host.watches if watch.leg == leg}.values()
        healthy = [(watch, since_healthy(watch)) for watch in newest]
        began = [facts.after(watch.began, since) for watch, since in healthy if since is not None]
        if began and len(began) == len(newest):
            end = max(facts.after(watch.began, watch.seconds) for watch in newest)
            spans.append(_span("soak", max(began), end, axis, "every endpoint healthy to the end"))
    return spans


def _span(kind: str, begin: dt.datetime, end: dt.datetime, axis: _Axis, note: str, *, problem: bool = False) -> Bar:
    took = text.duration((end - begin).total_seconds())
    description = f"{kind} of {took}{f' ({note})' if note else ''}"
    return axis.bar(kind, begin, end, kind, description, problem=problem)


def _rows(host: Host, axis: _Axis) -> list[Row]:
    phases = [
        Row(axis.at_s(phase.started), host.name, f"phase {_phase(phase)}, {_took(phase)}", phase.problem or "")
        for phase in host.phases
    ]
    together: dict[tuple[dt.datetime, facts.Leg, facts.MomentKind], list[str]] = {}
    for each in host.timeline:
        together.setdefault((each.at, each.leg, each.kind), []).append(each.text)
    moments = [
        Row(axis.at_s(at), host.name, _on(leg, MOMENT_WORDS[kind]), ", ".join(filter(None, notes)))
        for (at, leg, kind), notes in together.items()
    ]
    return phases + moments


def _on(leg: facts.Leg, what: str) -> str:
    return what if leg == "forward" else f"{what} ({LEG_WORDS[leg]})"


def _phase(phase: PhaseTime) -> str:
    return _on(phase.leg, phase.phase)


def _took(phase: PhaseTime) -> str:
    if phase.finished is None:
        return "never ended"
    return text.duration((phase.finished - phase.started).total_seconds())


def _moment(moment: facts.Moment, axis: _Axis) -> str:
    note = f": {text.one_line(moment.text)}" if moment.text else ""
    return f"+{axis.at_s(moment.at):.1f} s {MOMENT_WORDS[moment.kind]}{note}"
