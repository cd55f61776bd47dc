"""Gives each check its verdict: blocks it, judges it, has a failed host diagnosed, and writes the result down."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from switchproof.checks.fixtures import Shown
from switchproof.collection.items import BEGAN, PLACE, SHOWN, Place, check_id, is_last, remedy_of, title_of
from switchproof.collection.own import clause_of
from switchproof.deploy.contract import Verdict
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.record import facts, waivers
from switchproof.deploy.record.events import CheckFinished
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.run.fleet import Fleet
from switchproof.session.diagnostics import evidence_of, last_words
from switchproof.session.results import Results
from switchproof.session.verdicts import judge


class Judging:
    """The pytest plugin that judges the checks of one run.

    Args:
        plan: What the run does.
        folder: Where the run's files go.
        waived: The target file's waivers.
        results: Takes in every verdict.
        hosts: Returns the hosts of the run, once it has begun.
        journal: Returns the journal of the run, once it has begun.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        waived: tuple[facts.Waiver, ...],
        results: Results,
        *,
        hosts: Callable[[], Fleet],
        journal: Callable[[], Journal],
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._waivers = waived
        self._results = results
        self._hosts = hosts
        self._journal = journal
        self._made: set[str] = set()
        self._repeated: set[str] = set()

    def has_made(self, item: pytest.Item) -> bool:
        """Whether a check has run, or was blocked."""
        return item.nodeid in self._made

    def forget(self, item: pytest.Item) -> None:
        """Let a check run once more, on a leg that a drill takes for the second time."""
        item.user_properties.clear()
        self._made.discard(item.nodeid)
        self._repeated.discard(item.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Block a check that cannot be tried, because an earlier clause did not pass."""
        place = item.stash[PLACE]
        if item.nodeid in self._made:
            self._repeated.add(item.nodeid)
            pytest.skip("a plugin runs the check a second time; the first verdict counts")
        self._made.add(item.nodeid)
        item.stash[SHOWN] = Shown()
        item.stash[BEGAN] = dt.datetime.now(dt.UTC)
        if block := self._results.block_of(place.host, place.leg, clause_of(item), is_last=is_last(item)):
            item.user_properties.append(("blocked_by", str(block.clause)))
            pytest.skip(f"blocked by {block.clause}{'' if block.host == place.host else f' on host {block.host}'}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Give the check its verdict, have the host diagnosed if it did not pass, and write both down."""
        report = yield
        decided = call.when == "call" or (call.when == "setup" and not report.passed)
        spoilt = call.when == "teardown" and report.failed
        if item.nodeid in self._repeated or (not decided and not spoilt):
            return report
        place, shown = item.stash[PLACE], item.stash[SHOWN]
        waiver = waivers.covering(self._waivers, place.host, check_id(item))
        endpoint = getattr(item, "funcargs", {}).get("endpoint")
        verdict, message = judge(call, report, endpoint=endpoint, is_waived=waiver is not None, mode=self._plan.mode)
        self._results.add(place.host, place.leg, clause_of(item), check_id(item), verdict)
        if verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.WAIVED}:
            shown.evidence += self._diagnose(place, message)
            message += self._last_words(place, message)
            report.longrepr = message
        if verdict is Verdict.WAIVED:
            # It ends nothing with -x, and is no plain pass in any report of pytest's own.
            _call_skipped(item, report, f"waived: {message}")
        if verdict is Verdict.BLOCKED and report.failed:
            _call_skipped(item, report, message)
        report.user_properties += [("verdict", str(verdict)), ("expected", shown.expected), ("seen", shown.seen)]
        self._journal().emit(
            CheckFinished(
                host=place.host,
                leg=place.leg,
                clause=clause_of(item),
                id=check_id(item),
                title=title_of(item, self._plan.target),
                verdict=verdict,
                started=item.stash[BEGAN],
                seconds=(dt.datetime.now(dt.UTC) - item.stash[BEGAN]).total_seconds(),
                message=message,
                expected=shown.expected,
                seen=shown.seen,
                evidence=tuple(dict.fromkeys(filter(None, shown.evidence))),
                remedy="" if verdict in {Verdict.PASSED, Verdict.BLOCKED} else remedy_of(item, call),
                command=shown.command,
                endpoint=place.endpoint,
                took_s=shown.took_s,
                limit_s=shown.limit_s,
                waiver=waivers.waiver_terms(waiver) if waiver and verdict is Verdict.WAIVED else "",
            )
        )
        return report

    def _diagnose(self, place: Place, message: str) -> list[str]:
        """Have the host diagnosed, at this moment; return the evidence that bears on this place and message."""
        if self._plan.mode in {Mode.PLAN, Mode.PREFLIGHT}:
            return []
        try:
            parts = self._hosts().diagnostics(place.host, place.leg).parts
        except Exception:  # noqa: BLE001 - the clause `diagnostics` reports what kept them from being collected
            return []
        return evidence_of(place, self._plan.target, parts, message)

    def _last_words(self, place: Place, message: str) -> str:
        diagnostics = self._hosts().journeys[place.host].diagnostics.get(place.leg)
        return last_words(place, self._plan.target, diagnostics.parts, self._folder, message) if diagnostics else ""

    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, str] | None:
        """Call verdicts by their names in pytest's own counts."""
        verdict = dict(getattr(report, "user_properties", ())).get("verdict")
        if verdict in {Verdict.BLOCKED, Verdict.INCONCLUSIVE, Verdict.WAIVED} and isinstance(verdict, str):
            return verdict, "", verdict.upper()
        if isinstance(verdict, str) and report.outcome in {"passed", "failed"}:
            return report.outcome, "", verdict.upper()
        return None


def _call_skipped(item: pytest.Item, report: pytest.TestReport, reason: str) -> None:
    """Show a check as skipped in pytest's own reports."""
    report.outcome = "skipped"
    report.longrepr = (str(item.path), item.location[1] or 0, reason)
