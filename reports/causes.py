"""Why a run is not canonical: the check that each failing host first failed, hosts that failed alike together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record.facts import Leg as LegName
from switchproof.deploy.record.record import Check, Record
from switchproof.reports import text
from switchproof.reports.legs import LEG_WORDS, legs_of

LAST_WORDS = "the last words of "
"""Where a check's message begins to quote journals."""

JOURNAL = "/journal/"
"""What is in the path of a unit's journal."""

_LAST_LINES = 5
"""Lines of last words that are shown with a cause, with those that name the units."""

_NAMED = 6
"""Hosts that are named; of more, the first three are, and how many there are besides."""
_MESSAGE_CHARACTERS = 400
_STORE_PATH = re.compile(r"/nix/store/[a-z0-9]{32}")
_INCIDENTAL = re.compile(r"\d+\.\d+|\d+(?= (?:s|ms|min|MB|bytes)\b)|(?<=process )\d+|(?<=pid )\d+")
"""Times, sizes and processes, which differ from host to host; a status, a port or an exit code says what happened."""


@dataclass(frozen=True)
class Cause:
    """A check that the verdict comes from.

    Attributes:
        hosts: The hosts that failed it alike, in the order of the record.
        clause: The clause that it belongs to, or the audit.
        check: The check as it ended on the first of these hosts.
        leg: The leg on which it ended so.
    """

    hosts: tuple[str, ...]
    clause: Clause | Literal["audit"]
    check: Check
    leg: LegName = "forward"

    @property
    def host(self) -> str:
        """The host that `check` is of."""
        return self.hosts[0]

    @property
    def is_symptom(self) -> bool:
        """Whether the check never ran, so that something else is the reason."""
        return self.check.started is None

    @property
    def where(self) -> str:
        """The hosts by name, with the leg where it is not the first."""
        noun = "host" if len(self.hosts) == 1 else "hosts"
        leg = "" if self.leg == "forward" else f" ({LEG_WORDS[self.leg]})"
        return f"{noun} {named(self.hosts)}{leg}"

    @property
    def what(self) -> str:
        """The clause, the check and its verdict, with the first line of its message, without a full stop."""
        message = text.one_line(self.check.message, _MESSAGE_CHARACTERS)
        verdict = "failed" if self.check.verdict is Verdict.FAILED else "is inconclusive"
        part = f"clause {self.clause}" if isinstance(self.clause, Clause) else "audit"
        head = f"{part}, “{text.one_line(self.check.title)}” {verdict}"
        return f"{head}: {message}" if message else head

    @property
    def last_words(self) -> tuple[str, ...]:
        """The first lines of journals that the check's message quotes, each unit's after the line that names it."""
        _, found, quoted = self.check.message.partition(LAST_WORDS)
        lines = f"{found}{quoted}".splitlines()[:_LAST_LINES]
        return tuple(lines[:-1] if lines and lines[-1].startswith(LAST_WORDS) else lines)

    @property
    def file(self) -> str:
        """The evidence to read first: a unit's journal, or a file of the check's own; empty if there is neither."""
        own = (path for path in self.check.evidence if "/diagnostics/" not in path)
        return next((path for path in self.check.evidence if JOURNAL in path), next(own, ""))

    @property
    def sentence(self) -> str:
        """The hosts and what failed there, in one line without a full stop."""
        return f"on {self.where}, {self.what}"


def causes_of(record: Record) -> list[Cause]:
    """Find why a run is not canonical, in the contract's order.

    Each host counts once, with the first check that failed or gave no answer. A check that never ran is a
    symptom: it comes last. Of one clause, a failure comes before a missing answer.
    """
    first: dict[str, Cause] = {}
    for cause in _candidates(record):
        if cause.host not in first or _order(cause) < _order(first[cause.host]):
            first[cause.host] = cause
    alike: dict[tuple[object, ...], list[Cause]] = {}
    for cause in first.values():
        alike.setdefault(_likeness(cause), []).append(cause)
    groups = [
        Cause(tuple(cause.host for cause in group), group[0].clause, group[0].check, group[0].leg)
        for group in alike.values()
    ]
    return sorted(groups, key=lambda cause: (_order(cause), -len(cause.hosts)))


def first_cause(record: Record) -> Cause | None:
    """Find the cause that comes first in the contract's order; None where nothing failed."""
    return next(iter(causes_of(record)), None)


def summary(record: Record, causes: list[Cause]) -> str:
    """Say how many hosts failed, for how many causes, and the first cause, without a full stop.

    Args:
        record: The run.
        causes: What `causes_of` found in it, at least one.
    """
    if sum(len(cause.hosts) for cause in causes) == 1:
        return causes[0].sentence
    failed = [cause for cause in causes if cause.check.verdict is Verdict.FAILED]
    silent = [cause for cause in causes if cause.check.verdict is not Verdict.FAILED]
    counts = [
        (sum(len(cause.hosts) for cause in failed), "failed"),
        (sum(len(cause.hosts) for cause in silent), "gave no answer"),
    ]
    (first, word), *others = [(number, word) for number, word in counts if number]
    outcomes = [f"{first} of {text.count(len(record.hosts), 'host')} {word}", *(f"{n} {word}" for n, word in others)]
    reasons = "one cause" if len(causes) == 1 else f"{len(causes)} causes"
    head = f"{' and '.join(outcomes)}, for {reasons}"
    return f"{head}: {causes[0].sentence}" if len(causes) == 1 else f"{head}; first, {causes[0].sentence}"


def named(hosts: tuple[str, ...] | list[str]) -> str:
    """Name hosts in a sentence; of many, the first and how many there are besides."""
    names = [text.one_line(host) for host in hosts]
    if len(names) > _NAMED:
        names = [*names[: _NAMED // 2], f"{len(names) - _NAMED // 2} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def nobody_let_in(record: Record) -> str:
    """Say what to do where no host was reached, so that an audit would see no more; empty where one was."""
    cause = first_cause(record)
    if cause is None or not cause.check.remedy or any(host.connections for host in record.hosts):
        return ""
    return f"No host was reached, so nothing was touched. {cause.check.remedy}"


def _candidates(record: Record) -> Iterator[Cause]:
    """Yield each check that failed or gave no answer; the way back explains a verdict only in a drill."""
    drill = record.run.mode == "drill"
    for leg in legs_of(record):
        for part in leg.parts if drill or leg.name == "forward" else ():
            for check in part.checks:
                if check.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE}:
                    yield Cause((leg.host.name,), part.id, check, leg.name)


def _order(cause: Cause) -> tuple[bool, int, int, bool]:
    clauses = [*Clause, "audit"]
    return (
        cause.is_symptom,
        list(LEG_WORDS).index(cause.leg),
        clauses.index(cause.clause),
        cause.check.verdict is not Verdict.FAILED,
    )


def _likeness(cause: Cause) -> tuple[object, ...]:
    """Return what hosts that failed alike share: the check, and its message but for times and own names."""
    name, message = re.escape(cause.host), cause.check.message.partition("\n")[0]
    # A host's name may be a word, such as “a”: it only counts within a longer name, such as choiros-a.
    message = re.sub(rf'(?<=[-_.:@/"]){name}\b|\b{name}(?=[-_.:@"])', "HOST", message)
    message = _INCIDENTAL.sub("#", _STORE_PATH.sub("/nix/store", message))
    return cause.leg, cause.clause, cause.check.id, cause.check.verdict, cause.is_symptom, message
