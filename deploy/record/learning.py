"""Applies events that judge nothing to a record (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from switchproof.deploy.contract import ExitCode
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from switchproof.deploy.record.record import Earlier, Emulation, Evidence, Host, PhaseTime, Record


def apply(record: Record, hosts: Mapping[str, Host], event: ev.AnyEvent) -> None:
    """Apply an event to the record; checks and rollbacks are judged elsewhere.

    Args:
        record: The record so far.
        hosts: Its hosts by name.
        event: An event of the run.
    """
    match event:
        case ev.Emulated():
            record.emulated = True
            record.emulations.append(Emulation(by=event.by, not_modelled=event.not_modelled))
        case ev.CutoverJudged():
            record.cutover = event.cutover
        case ev.RevisionResolved():
            record.revision.sha = event.sha
            record.revision.subject = event.subject
            record.revision.author = event.author or None
            record.revision.authored = event.authored
        case ev.SystemBuilt():
            record.builds.append(event.build)
        case ev.EarlierRead():
            record.earlier = Earlier(canonical=event.canonical, previous=event.previous, typical=event.typical)
        case ev.PhaseStarted():
            hosts[event.host].phases.append(PhaseTime(phase=event.phase, leg=event.leg, started=event.at))
        case ev.PhaseFinished():
            for phase in reversed(hosts[event.host].phases):
                if (phase.phase, phase.leg) == (event.phase, event.leg) and phase.finished is None:
                    phase.finished = event.at
                    phase.problem = event.problem
                    phase.questions = event.questions
                    break
            if (event.phase, event.leg) == ("rollback", "back"):
                mark(hosts[event.host], event.at, "rollback-ended", event.leg, event.problem or "")
        case ev.SystemSeen():
            setattr(hosts[event.host], event.when, event.system)
        case ev.EvidenceKept():
            record.evidence.append(
                Evidence(
                    path=event.path,
                    title=event.title,
                    host=event.host,
                    sha256=event.sha256,
                    bytes=event.bytes,
                )
            )
        case ev.HostLeft():
            host = hosts[event.host]
            host.state, host.state_reason = event.state, event.reason
        case ev.Noted():
            (record.notes if event.host is None else hosts[event.host].notes).append(event.text)
        case ev.Warned():
            hosts[event.host].warnings.append(event.text)
        case ev.RunFinished():
            record.run.finished = event.at
            record.run.exit_code = int(event.exit_code)
            record.run.interrupted = event.interrupted
            record.run.refusal = event.refusal if event.exit_code is ExitCode.USAGE else None
            record.run.unreported, record.run.selected = event.unreported, event.selected
            record.redactions = dict(event.redactions)
        case _:
            _learn(hosts, event)


def _learn(hosts: Mapping[str, Host], event: ev.AnyEvent) -> None:
    """Apply an event about a host that does not concern the contract."""
    match event:
        case ev.Connected():
            host = hosts[event.host]
            host.connection, host.connections = event.connection, host.connections + 1
            mark(host, event.at, "connected" if host.connections == 1 else "connected-again", _leg_of(host))
        case ev.Happened():
            host = hosts[event.host]
            mark(host, event.at, event.kind, _leg_of(host), event.text)
        case ev.ClockSeen():
            hosts[event.host].clock = event.clock
        case ev.UnitsSeen():
            _note_units(hosts[event.host], event)
        case ev.Watched():
            _note_watch(hosts[event.host], event.watch)
        case ev.ClosureCompared():
            hosts[event.host].closures.append(event.closure)


def _leg_of(host: Host) -> facts.Leg:
    """Return the leg that a host is on, by its phases."""
    return host.phases[-1].leg if host.phases else "forward"


def mark(host: Host, at: dt.datetime, kind: facts.MomentKind, leg: facts.Leg, text: str = "") -> None:
    """Add a moment to a host's timeline, which is ordered by time."""
    host.timeline.append(facts.Moment(at=at, kind=kind, leg=leg, text=text))
    host.timeline.sort(key=lambda moment: moment.at)


def _note_units(host: Host, event: ev.UnitsSeen) -> None:
    for unit in event.units:
        change = next((each for each in host.units if each.name == unit.name), None)
        if change is None:
            change = facts.UnitChange(name=unit.name)
            host.units.append(change)
        setattr(change, event.when, unit)


def _note_watch(host: Host, watch: facts.Watch) -> None:
    """Store a watch, and mark its begin, the first answer of its last good streak, and its end in the timeline."""
    host.watches.append(watch)
    ended = facts.after(watch.began, watch.seconds)
    mark(host, watch.began, "watch-begun", watch.leg, watch.endpoint)
    bad = [sample.at_s for sample in watch.samples if not sample.good]
    if healthy := [sample.at_s for sample in watch.samples if sample.good and sample.at_s > max(bad, default=-1.0)]:
        mark(host, facts.after(watch.began, healthy[0]), "healthy", watch.leg, watch.endpoint)
    mark(host, ended, "watch-ended", watch.leg, f"{watch.endpoint}: {watch.settled}")
