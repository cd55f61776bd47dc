"""Keeps the verdicts of a run, and answers which clauses failed and what blocks a check."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.plan import Mode
from switchproof.deploy.record.events import ExpectedCheck
from switchproof.deploy.record.facts import Leg


class Block(msgspec.Struct, frozen=True):
    """Why a check cannot be tried.

    Attributes:
        clause: The clause that did not pass.
        host: The host on which it did not pass.
    """

    clause: Clause | None
    host: str


class Results:
    """The verdicts of the checks that have run.

    Args:
        mode: What the run does.
        hosts: The names of its hosts.
        manifest: Returns every check that the run must make, once checks are collected.
    """

    def __init__(self, mode: Mode, hosts: Sequence[str], manifest: Callable[[], Sequence[ExpectedCheck]]) -> None:
        self._mode = mode
        self._hosts = hosts
        self._manifest = manifest
        self._accepted: set[tuple[str, Leg, str]] = set()
        self._verdicts: dict[tuple[str, Leg, Clause | None], list[Verdict]] = {}

    def add(self, host: str, leg: Leg, clause: Clause | None, check: str, verdict: Verdict) -> None:
        """Take in the verdict of a check; a later one of the same check replaces whether it is accepted."""
        self._verdicts.setdefault((host, leg, clause), []).append(verdict)
        if verdict.accepted:
            self._accepted.add((host, leg, check))
        else:
            self._accepted.discard((host, leg, check))

    def failed(self, host: str, leg: Leg, also: Verdict = Verdict.FAILED) -> list[Clause]:
        """Name the clauses in which a check that ran on the host failed, was inconclusive, or got a third verdict."""
        bad = {Verdict.FAILED, Verdict.INCONCLUSIVE, also}
        return [clause for clause in Clause if bad & set(self._verdicts.get((host, leg, clause), ()))]

    def missing(self, host: str, leg: Leg) -> list[Clause | None]:
        """Name the clause of each check of a leg that must pass and has not, except for the last one."""
        return [
            want.clause
            for want in self._manifest()
            if (want.host, want.leg) == (host, leg) and not want.last and (host, leg, want.id) not in self._accepted
        ]

    def all_passed(self, host: str, leg: Leg) -> bool:
        """Whether every check of a leg passed, except for the last one, which waits for all others."""
        return not self.missing(host, leg)

    def block_of(self, host: str, leg: Leg, clause: Clause | None, *, is_last: bool) -> Block | None:
        """Find what blocks a check: an earlier clause that failed, or for the last check any other one.

        Args:
            host: The check's host.
            leg: The check's leg.
            clause: The check's clause; None if it belongs to an audit.
            is_last: Whether the check waits for all others of its host.
        """
        if is_last and (missing := self.missing(host, leg)):
            return Block((self.failed(host, leg) or missing)[0], host)
        for earlier in clause.prerequisites if clause else ():
            for name in self._hosts_that_block(host, leg, earlier):
                if earlier in self.failed(name, leg):
                    return Block(earlier, name)
        return None

    def _hosts_that_block(self, host: str, leg: Leg, clause: Clause) -> list[str]:
        """Name the hosts whose failure in a clause blocks a host: none is deployed to while one lacks a revision."""
        if clause is not Clause.REVISION or leg != "forward" or self._mode is Mode.AUDIT:
            return [host]
        return [host, *(other for other in self._hosts if other != host)]
