"""Compares a run with earlier runs of the same hosts: new, fixed and still failing checks (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from switchproof.deploy.contract import Verdict
from switchproof.deploy.record.facts import LOOKING_AHEAD, EarlierHost, EarlierRun
from switchproof.deploy.record.record import Check, Host, Record
from switchproof.reports import text


class Change(msgspec.Struct, frozen=True):
    """A check of a host whose verdict changed, or that still does not pass.

    Attributes:
        host: The host.
        check: The check in this run.
        before: Its earlier verdict. Of a run in another mode, only checks that did not pass are known.
    """

    host: str
    check: Check
    before: str


class System(msgspec.Struct, frozen=True):
    """The system of a host at the end of the earlier run and of this one, as store paths."""

    host: str
    before: str | None
    after: str | None

    @property
    def word(self) -> str:
        """The change in one word."""
        if self.before is None or self.after is None:
            return "not known"
        return "the same" if self.before == self.after else "another"


class Difference(msgspec.Struct, frozen=True):
    """The differences from one earlier run.

    Attributes:
        run: The earlier run.
        name: Its relation to this run.
        link: The link to its report, relative to this run's folder; empty if unknown.
        same_contract: Whether both runs checked the same contract.
        new: Checks that passed then and do not pass now.
        fixed: Checks that did not pass then and pass now.
        still: Checks that passed neither then nor now.
        held: Checks that passed then and are blocked now.
        systems: The system of each host then and now.
    """

    run: EarlierRun
    name: str
    link: str
    same_contract: bool
    new: list[Change] = msgspec.field(default_factory=list)
    fixed: list[Change] = msgspec.field(default_factory=list)
    still: list[Change] = msgspec.field(default_factory=list)
    held: list[Change] = msgspec.field(default_factory=list)
    systems: list[System] = msgspec.field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The numbers of these checks in one sentence."""
        if not (self.new or self.fixed or self.still or self.held):
            return "Every check has the same verdict as then."
        parts = [f"{len(self.new)} new", f"{len(self.fixed)} fixed", f"{len(self.still)} still failing"]
        held = f"; {text.count(len(self.held), 'check')} that passed then could not be tried" if self.held else ""
        return f"Checks that do not pass: {', '.join(parts)}{held}."


def differences(record: Record) -> list[Difference]:
    """Compare a run with the last canonical run of its hosts, and with the newest run if that is another.

    A plan and a preflight make no check that could be compared.
    """
    if record.run.mode in LOOKING_AHEAD:
        return []
    earlier = record.earlier
    result = []
    if earlier.canonical is not None:
        result.append(_difference(record, earlier.canonical, "the last canonical run"))
    if earlier.previous is not None and (earlier.canonical is None or earlier.previous.run != earlier.canonical.run):
        result.append(_difference(record, earlier.previous, "the run before this one"))
    return result


def _difference(record: Record, run: EarlierRun, name: str) -> Difference:
    then = {host.name: host for host in run.hosts}
    same = run.contract_sha256 == record.contract_sha256
    difference = Difference(run, name, report_of(run.folder), same)
    alike = same and run.mode == record.run.mode
    for host in record.hosts:
        if host.name in then:
            _compare(host, then[host.name], difference, str(Verdict.PASSED) if alike else "passed or not made")
    return difference


def _compare(host: Host, then: EarlierHost, into: Difference, passed: str) -> None:
    for check in _checks(host):
        change = Change(host.name, check, then.not_passed.get(check.id, passed))
        match (check.id not in then.not_passed, check.verdict):
            case (True, Verdict.FAILED | Verdict.INCONCLUSIVE):
                into.new.append(change)
            case (False, Verdict.FAILED | Verdict.INCONCLUSIVE):
                into.still.append(change)
            case (False, Verdict.PASSED):
                into.fixed.append(change)
            case (True, Verdict.BLOCKED):
                into.held.append(change)
    into.systems.append(System(host.name, then.toplevel, host.after.toplevel if host.after else None))


def _checks(host: Host) -> Iterator[Check]:
    for part in host.parts:
        yield from part.checks


def report_of(folder: str) -> str:
    """Return the link to the report of a run in the folder beside; empty if `folder` is not a safe name."""
    fits = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", folder)
    return f"../{folder}/report.html" if fits else ""
