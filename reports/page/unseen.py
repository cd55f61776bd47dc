"""Lists what a run did not see, so that nobody takes silence for proof (pure)."""

from __future__ import annotations

import msgspec

from switchproof.deploy.contract import Verdict
from switchproof.deploy.record.facts import LOOKING_AHEAD
from switchproof.deploy.record.fold import NOT_RUN
from switchproof.deploy.record.record import Check, Host, Record
from switchproof.reports import text
from switchproof.reports.legs import LEG_WORDS, legs_of
from switchproof.reports.ways import vouched_by

_REASON_CHARACTERS = 300


class NotMade(msgspec.Struct, frozen=True):
    """Checks of one leg that proved nothing, for one reason.

    Attributes:
        label: The host, with the leg unless it is the first.
        anchor: The leg's HTML id.
        verdict: Their verdict.
        checks: Their ids.
        reason: The reason.
    """

    label: str
    anchor: str
    verdict: str
    checks: tuple[str, ...]
    reason: str


class Gap(msgspec.Struct, frozen=True):
    """A fact about a host that is not known."""

    host: str
    what: str


def unreached(record: Record) -> list[tuple[str, str]]:
    """Return every host that was not reached, with the reason if it is known."""
    return [(host.name, _why_unreached(host)) for host in record.hosts if not _reached(host)]


def _reached(host: Host) -> bool:
    """Whether a host was reached; records of older versions show that by their phases alone."""
    return host.connection is not None or any(
        phase.phase != "connect" or (phase.finished and not phase.problem) for phase in host.phases
    )


def _why_unreached(host: Host) -> str:
    problems = [phase.problem for phase in host.phases if phase.problem]
    return problems[-1] if problems else "the run did not get to it"


def not_made(record: Record) -> list[NotMade]:
    """Return the checks that were not made or gave no answer, grouped by reason."""
    by_reason: dict[tuple[str, str, str, str], list[str]] = {}
    for leg in legs_of(record):
        for part in leg.parts:
            for check in part.checks:
                if check.verdict in {Verdict.BLOCKED, Verdict.INCONCLUSIVE}:
                    key = (leg.label, leg.anchor, check.verdict.value, _reason(check))
                    by_reason.setdefault(key, []).append(check.id)
    return [NotMade(label, anchor, word, tuple(ids), why) for (label, anchor, word, why), ids in by_reason.items()]


def _reason(check: Check) -> str:
    if check.started is None:
        return check.message or NOT_RUN
    return text.one_line(check.message, _REASON_CHARACTERS) or "no reason is known"


def gaps(record: Record) -> list[Gap]:
    """Return unknown facts of the reached hosts, outside the contract."""
    away = {name for name, _ in unreached(record)}
    return [gap for host in record.hosts if host.name not in away for gap in _gaps(record, host)]


def _kept_running(host: Host) -> list[str]:
    """Return the units that the switch left running."""
    if host.before is None or host.after is None or host.before.toplevel == host.after.toplevel:
        return []
    return [unit.name for unit in host.units if unit.before and unit.after and not unit.restarted]


def _gaps(record: Record, host: Host) -> list[Gap]:
    unknown = []
    changes = record.run.mode in {"deploy", "rollback", "drill"}
    if host.before is None and changes:
        unknown.append("which system it ran before")
    if host.after is None and record.run.mode not in LOOKING_AHEAD:
        unknown.append("which system it runs now")
    if host.clock is None:
        unknown.append("how far its clock is from ours, so its own times are not comparable")
    if host.connection and not host.connection.host_key and not vouched_by(host.connection):
        unknown.append("the fingerprint of its host key")
    if not host.watches and record.run.mode not in LOOKING_AHEAD:
        unknown.append("its endpoints' health over time")
    unknown += [f"the state of {unit.name} before" for unit in host.units if unit.before is None and changes]
    unknown += [f"the state of {unit.name} at the end" for unit in host.units if unit.after is None]
    if kept := _kept_running(host):
        unknown.append(
            f"whether units that the switch left running ({', '.join(kept)}) still serve data of the earlier system: "
            "no check sees what a process has read from /run/current-system"
        )
    for leg, leg_word in LEG_WORDS.items():
        thinned = [watch for watch in host.watches if watch.leg == leg and watch.left_out]
        if thinned:
            count = text.count(sum(watch.left_out for watch in thinned), "answer")
            names = ", ".join(dict.fromkeys(watch.endpoint for watch in thinned))
            unknown.append(f"{count} of {names} ({leg_word}) between similar answers were judged and are not kept")
    return [Gap(host.name, what) for what in unknown]
