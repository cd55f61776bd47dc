"""Finds why a run is not canonical: the first check that each host failed, with hosts grouped by cause."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record.facts import Leg as LegName
from switchproof.deploy.record.record import Check, Record
from switchproof.reports import text
from switchproof.reports.legs import LEG_WORDS, legs_of

LAST_WORDS = "the last words of "
"""The text with which a check's message begins to quote journals."""

JOURNAL = "/journal/"
"""The part of a path that marks a unit's journal."""

_LAST_LINES = 5
"""Journal lines shown with a cause, including the lines that name the units."""

_NAMED = 6
"""Hosts named in a sentence. Of more hosts, it names the first three and counts the others."""
_MESSAGE_CHARACTERS = 400
_STORE_PATH = re.compile(r"/nix/store/[a-z0-9]{32}")
_INCIDENTAL = re.compile(r"\d+\.\d+|\d+(?= (?:s|ms|min|MB|bytes)\b)|(?<=process )\d+|(?<=pid )\d+")
"""Times, sizes and process ids, which differ between hosts. Statuses, ports and exit codes show the cause."""


class Cause(msgspec.Struct, frozen=True):
    """A check that explains the verdict.

    Attributes:
        hosts: The hosts that failed it in the same way, in the order of the record.
        clause: The clause of the check, or `audit`.
        check: The result on the first of these hosts.
        leg: The leg of that result.
    """

    hosts: tuple[str, ...]
    clause: Clause | Literal["audit"]
    check: Check
    leg: LegName = "forward"

    @property
    def host(self) -> str:
        """The first host, to which `check` belongs."""
        return self.hosts[0]

    @property
    def anchor(self) -> str:
        """The HTML id of its entry, which another run with the same cause has as well."""
        digest = hashlib.sha256(repr(_likeness(self)).encode()).hexdigest()
        return f"sp-cause-{text.slug(self.check.id)}-{digest[:6]}"

    @property
    def is_symptom(self) -> bool:
        """Whether the check never ran, so that the reason lies elsewhere."""
        return self.check.started is None

    @property
    def where(self) -> str:
        """The names of the hosts, with the leg unless it is the first."""
        return f"{'host' if len(self.hosts) == 1 else 'hosts'} {self.named}"

    @property
    def named(self) -> str:
        """The names of the hosts, with the leg unless it is the first, without a noun."""
        return labelled(self.hosts, self.leg)

    @property
    def what(self) -> str:
        """The clause, the check, its verdict and the first line of its message, without a full stop."""
        message = text.one_line(self.check.message, _MESSAGE_CHARACTERS)
        verdict = "failed" if self.check.verdict is Verdict.FAILED else "is inconclusive"
        part = f"clause {self.clause}" if isinstance(self.clause, Clause) else "audit"
        head = f"{part}, “{text.one_line(self.check.title)}” {verdict}"
        return f"{head}: {message}" if message else head

    @property
    def last_words(self) -> tuple[str, ...]:
        """The first journal lines in the check's message; a line with the unit's name precedes each unit's lines."""
        _, mark, quoted = self.check.message.partition(LAST_WORDS)
        lines = f"{mark}{quoted}".splitlines()[:_LAST_LINES]
        return tuple(lines[:-1] if lines and lines[-1].startswith(LAST_WORDS) else lines)

    @property
    def file(self) -> str:
        """The path of the evidence to read first: a unit's journal, or the check's own file; empty without either."""
        return file_of(self.check)

    @property
    def sentence(self) -> str:
        """The hosts and their failure in one line, without a full stop."""
        return f"on {self.where}, {self.what}"


def file_of(check: Check) -> str:
    """Return the path of a check's evidence to read first, a unit's journal or its own file; empty without one."""
    own = (path for path in check.evidence if "/diagnostics/" not in path)
    return next((path for path in check.evidence if JOURNAL in path), next(own, ""))


def causes_of(record: Record) -> list[Cause]:
    """Return the causes for which a run is not canonical, in the contract's order.

    Each host counts once, with the first check that failed or gave no answer. A check that never ran is a
    symptom and comes last. Within a clause, a failure comes before a missing answer.
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
    """Return the cause that comes first in the contract's order; None if nothing failed."""
    return next(iter(causes_of(record)), None)


def explaining(record: Record) -> list[Cause]:
    """Return the causes to name: no check that never ran, and of an interrupted run only those that failed."""
    if record.verdict.accepted:
        return []
    return [
        cause
        for cause in causes_of(record)
        if not cause.is_symptom and (not record.run.interrupted or cause.check.verdict is Verdict.FAILED)
    ]


def others(record: Record) -> list[Cause]:
    """Return the causes to name after the first, which the sentence about the run names."""
    first = first_cause(record)
    return [cause for cause in explaining(record) if cause != first]


def summary(record: Record, causes: list[Cause]) -> str:
    """Return how many hosts failed, the number of causes and the first cause, without a full stop.

    Args:
        record: The run.
        causes: The result of `causes_of`, at least one cause.
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
    """Format host names for a sentence; of many, the first names and the number of the others."""
    names = [text.one_line(host) for host in hosts]
    if len(names) > _NAMED:
        names = [*names[: _NAMED // 2], f"{len(names) - _NAMED // 2} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def labelled(hosts: tuple[str, ...] | list[str], leg: LegName) -> str:
    """Format host names with their leg, unless it is the first."""
    return named(hosts) + ("" if leg == "forward" else f" ({LEG_WORDS[leg]})")


def nobody_let_in(record: Record) -> str:
    """Return the remedy if no host was reached, so that an audit would see no more; empty if one was reached."""
    cause = first_cause(record)
    if cause is None or not cause.check.remedy or any(host.connections for host in record.hosts):
        return ""
    return f"No host was reached, so nothing was touched. {cause.check.remedy}"


def _candidates(record: Record) -> Iterator[Cause]:
    """Yield each check that failed or gave no answer. The rollback leg explains a verdict only in a drill."""
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
    """Return the grouping key of a failure: the check and its message, without times and the host's own name."""
    message = _INCIDENTAL.sub("#", anonymous(cause.host, cause.check.message.partition("\n")[0]))
    return cause.leg, cause.clause, cause.check.id, cause.check.verdict, cause.is_symptom, message


def anonymous(host: str, content: str) -> str:
    """Return a text about a host without its name and without digests of store paths, to compare it with others."""
    name = re.escape(host)
    # A host's name may be a word, such as “a”: replace it only within a longer name, such as choiros-a.
    content = re.sub(rf'(?<=[-_.:@/"]){name}\b|\b{name}(?=[-_.:@"])', "HOST", content)
    return _STORE_PATH.sub("/nix/store", content)
