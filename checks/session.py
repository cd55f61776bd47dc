"""A deploy as a pytest session: how the checks run, what blocks them, the way back, and what the session proves."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

from switchproof.checks.beginning import describe_run, owner_of_run, waivers_of
from switchproof.checks.collection import Collection
from switchproof.checks.diagnosing import evidence_of, last_words
from switchproof.checks.ending import Ending, keep_record, sign_record
from switchproof.checks.fixtures import Diagnosis, Shown
from switchproof.checks.items import BEGAN, PLACE, SHOWN, Place, check_id, is_last, remedy_of, title_of
from switchproof.checks.own import clause_of
from switchproof.checks.selection import Selection
from switchproof.checks.signals import Signals
from switchproof.checks.verdicts import emittable, emitted, judge_call
from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.providers import open_provider
from switchproof.deploy.providers.kind import Opening
from switchproof.deploy.record import facts, waivers
from switchproof.deploy.record.events import (
    AnyEvent,
    CheckFinished,
    CutoverJudged,
    Emulated,
    HostLeft,
    Noted,
    PromotedFrom,
    RunFinished,
    SystemSeen,
)
from switchproof.deploy.record.facts import Leg
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.hold import hold
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.record.past_runs import read_earlier
from switchproof.deploy.record.record import Record
from switchproof.deploy.record.room import Room
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run.fleet import Fleet
from switchproof.deploy.run.results import Confirmation

if TYPE_CHECKING:
    import testinfra.host

    from switchproof.deploy.cutover.audit import Prepared
    from switchproof.deploy.cutover.surroundings import Surroundings


class DeploySession:
    """The pytest plugin of one run.

    Args:
        plan: What the run does.
        folder: Where the run's files go; made when the run begins.
        watch: Shows what happens.
        redact: Takes secrets out of everything that is shown or written.
        promoted_from: What let it through the gate.
        selection: Which checks the command line asks for; None for all.
        cutover: What an audit of the cutover has read before any host is asked.
        room: Disk space for the report.
        secrets: What the provider needs to reach hosts, by name.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        watch: Callable[[AnyEvent], None],
        redact: Redactor,
        *,
        promoted_from: PromotedFrom | None = None,
        selection: Selection | None = None,
        cutover: Prepared | None = None,
        room: Room | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.plan = plan
        self._cutover = cutover
        self._surroundings: dict[str, Surroundings] = {}
        self.promoted_from = promoted_from
        self.folder = folder
        self.run = folder.name
        self._watch = watch
        self._redact = redact
        self._journal: Journal | None = None
        self._hold: BinaryIO | None = None
        self.fleet: Fleet | None = None
        self.record: Record | None = None
        self.interrupted: str | None = None
        self.unsigned = self.unreported = ""
        self._refusal: UsageError | None = None
        self._room = room
        self._secrets = secrets or {}
        self._signals: Signals | None = None
        self._going_back = False
        self._pytest_code: ExitCode | None = None
        self._waivers = waivers_of(plan, dt.datetime.now(dt.UTC))
        self.collection = Collection(plan, redact, selection or Selection((), Path()), self._waivers)
        self._made: set[str] = set()
        self._repeated: set[str] = set()
        self._accepted: set[tuple[str, Leg, str]] = set()
        self._verdicts: dict[tuple[str, Leg, Clause | None], list[Verdict]] = {}

    @property
    def journal(self) -> Journal:
        """The journal, once the run has begun."""
        assert self._journal is not None  # opened with the run
        return self._journal

    @property
    def hosts(self) -> Fleet:
        """The hosts, once the run has begun."""
        assert self.fleet is not None  # opened before the first check
        return self.fleet

    def surroundings(self, name: str, host: testinfra.host.Host) -> Surroundings:
        """What is on a host beside what the contract looks at; it is asked once."""
        from switchproof.deploy.cutover.surroundings import look_around

        if name not in self._surroundings:
            self._surroundings[name] = look_around(name, host, self.plan.target.contract_units)
        return self._surroundings[name]

    def diagnosis(self, place: Place) -> Diagnosis:
        """The diagnostics of a host if anything failed there; else whether there could have been.

        Raises:
            SwitchproofError: The host could not be asked.
        """
        if self._failed(place.host, place.leg, also=Verdict.WAIVED):
            return emitted(self.plan.target, self.hosts.diagnostics(place.host, place.leg).parts)
        return emittable(self.plan.target, self.hosts.observation(place.host, place.leg).diagnosable)

    def confirm(self, place: Place) -> Confirmation:
        """Have a host keep its new system, side by side with all others of which every other check passed.

        Raises:
            SwitchproofError: The host's answer could not be had.
        """
        ready = [name for name in self.hosts.journeys if self._all_passed(name, place.leg)]
        return self.hosts.confirm(place.host, ready)

    # How they run.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Open the provider, run the checks, bring back the hosts that need it and check them again."""
        if session.config.option.collectonly or session.testsfailed or not session.items:
            return (yield)
        signals = self._signals = Signals(lambda name: self._end(session, name), self._say)
        signals.install()
        session.config.add_cleanup(signals.restore)
        self._begin(session.config)
        try:
            provider = open_provider(
                self.plan.target,
                Opening(
                    changes_hosts=self.plan.mode.changes_hosts,
                    lab=self.plan.lab,
                    say=self._say,
                    emulated=lambda by, not_modelled: self.journal.emit(Emulated(by=by, not_modelled=not_modelled)),
                    secrets=self._secrets,
                ),
            )
        except UsageError as error:
            self._refusal = error
            raise pytest.UsageError(self._redact(str(error))) from None
        try:
            self.fleet = Fleet(self.plan, self.run, owner_of_run(), provider, self.journal)
            signals.stage = "running"
            try:
                result = yield
                self._go_back(session)
                if self.plan.mode is Mode.DRILL:
                    self._drill(session)
            except (session.Interrupted, Exception) as error:
                if not isinstance(error, session.Failed | session.Interrupted):
                    self.interrupted = f"the session broke: {error!r}"
                session._setupstate.teardown_exact(None)  # noqa: SLF001 - the check after the last one is still set up
                self._judge_confirmed(session)
                self._go_back(session)
                raise
            finally:
                self._leave()
                signals.stage = "reporting"
        finally:
            provider.close()
        return result

    def _end(self, session: pytest.Session, name: str) -> None:
        """End the run in order, as a signal asks for."""
        self.interrupted = f"ended by {name}"
        session.shouldstop = self.interrupted
        threading.Thread(target=self._abandon, args=(name,), daemon=True).start()

    def _abandon(self, name: str) -> None:
        if self._going_back:
            self._say(f"{name}: the hosts go back first, and are verified; a second signal ends at once.")
            return
        self._say(f"{name}: ending in order; a second signal ends at once.")
        self.hosts.abandon()

    def _say(self, text: str) -> None:
        self.journal.emit(Noted(host=None, text=text))

    def _begin(self, config: pytest.Config) -> None:
        try:
            self._journal = Journal(self.folder, self._redact, self._room)
            self._hold = hold(self.folder)
        except OSError as error:
            raise pytest.UsageError(
                f"{self.folder}: cannot be written: {error.strerror}; nothing was touched"
            ) from None
        self.journal.watch(self._watch)
        self.journal.emit(
            describe_run(
                self.run,
                self.plan,
                config,
                expected=tuple(self.collection.manifest),
                waived=self._waivers,
                promoted_from=self.promoted_from,
            )
        )
        for waiver in self._waivers:
            if waiver.expired:
                self.journal.emit(Noted(host=None, text=waivers.expiry_warning(waiver)))
        hosts = [host.name for host in self.plan.target.hosts]
        self.journal.emit(read_earlier(self.plan.report_dir, self.plan.target.provider, hosts, self.plan.mode.value))

    def _judge_confirmed(self, session: pytest.Session) -> None:
        """Judge the answers of hosts that were confirmed before the run was told to end; no host is asked again."""
        left = [item for item in session.items if is_last(item) and item.nodeid not in self._made]
        for item in left:
            if self.hosts.journeys[item.stash[PLACE].host].kept:
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)

    def _go_back(self, session: pytest.Session) -> None:
        """Roll back every changed host that did not pass, and run the same checks on what was restored."""
        reasons = {}
        for name, journey in self.hosts.journeys.items():
            failed = self._failed(name, journey.leg)
            # What a drill deploys first is never confirmed: it goes back on purpose.
            first = self.plan.mode is Mode.DRILL and journey.leg == "forward"
            if journey.kept or not journey.changed or (first and not failed and not self.interrupted):
                continue
            if self.plan.on_failure == "rollback" or journey.returned:
                reasons[name] = self._reason(failed)
        if not reasons:
            return
        self._going_back = True
        self.hosts.roll_back(reasons)
        self._run_leg(session, "back", list(reasons))
        self._going_back = False

    def _reason(self, failed: list[Clause]) -> str:
        if failed:
            return f"{', '.join(failed)} did not pass"
        return "the run was interrupted" if self.interrupted else "not every check ran, so nothing confirmed it"

    def _drill(self, session: pytest.Session) -> None:
        """Go back on purpose from what passed, check what is there then, deploy again, and check that."""
        hosts = [name for name in self.hosts.journeys if self._all_passed(name, "forward")]
        if not hosts or self.interrupted:
            return
        if self.plan.drill == "dead-man":
            self.hosts.await_return(hosts)
        else:
            self.hosts.roll_back(dict.fromkeys(hosts, "the drill goes back on purpose"))
        if not self.interrupted:
            self._run_leg(session, "back", hosts)
            hosts = [name for name in hosts if self._all_passed(name, "back")]
        if hosts and not self.interrupted:
            self.hosts.go_again(hosts)
            self._run_leg(session, "again", hosts)
        self._go_back(session)

    def _run_leg(self, session: pytest.Session, leg: Leg, hosts: list[str]) -> None:
        later = ((item, item.stash[PLACE]) for item in self.collection.later)
        chosen = [item for item, place in later if place.leg == leg and place.host in hosts]
        session.items.extend(chosen)
        session.testscollected = len(session.items)
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            item.user_properties.clear()  # of a leg that is gone for the second time
            self._made.discard(item.nodeid)
            self._repeated.discard(item.nodeid)
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

    def _all_passed(self, host: str, leg: Leg) -> bool:
        """Whether every check of a leg passed that must, apart from the one that waits for all others."""
        return not self._missing(host, leg)

    def _missing(self, host: str, leg: Leg) -> list[Clause | None]:
        return [
            want.clause
            for want in self.collection.manifest
            if (want.host, want.leg) == (host, leg) and not want.last and (host, leg, want.id) not in self._accepted
        ]

    def _failed(self, host: str, leg: Leg, also: Verdict = Verdict.FAILED) -> list[Clause]:
        """Clauses in which a check that ran on the host did not pass."""
        bad = {Verdict.FAILED, Verdict.INCONCLUSIVE, also}
        return [clause for clause in Clause if bad & set(self._verdicts.get((host, leg, clause), ()))]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Block a check whose clause cannot be tried, as an earlier clause did not pass."""
        place = item.stash[PLACE]
        if item.nodeid in self._made:
            self._repeated.add(item.nodeid)
            pytest.skip("a plugin runs the check a second time; the first verdict counts")
        self._made.add(item.nodeid)
        item.stash[SHOWN] = Shown()
        item.stash[BEGAN] = dt.datetime.now(dt.UTC)
        if is_last(item) and (missing := self._missing(place.host, place.leg)):
            failed = self._failed(place.host, place.leg)
            item.user_properties.append(("blocked_by", str(failed[0] if failed else missing[0])))
            pytest.skip(f"blocked by {failed[0] if failed else missing[0]}")
        own_clause = clause_of(item)
        for clause in own_clause.prerequisites if own_clause else ():
            hosts = self.plan.target.hosts if clause is Clause.REVISION and place.leg == "forward" else ()
            names = [place.host, *(host.name for host in hosts if host.name != place.host)]
            for name in names if self.plan.mode is not Mode.AUDIT else [place.host]:
                if clause in self._failed(name, place.leg):
                    where = "" if name == place.host else f" on host {name}"
                    item.user_properties.append(("blocked_by", str(clause)))
                    pytest.skip(f"blocked by {clause}{where}")

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
        verdict, message = judge_call(call, report)
        endpoint = getattr(item, "funcargs", {}).get("endpoint")
        if verdict is Verdict.FAILED and isinstance(endpoint, EndpointSeen) and endpoint.cut_short:
            # What it was seen to lack it might still have come to.
            verdict, message = Verdict.BLOCKED, f"blocked: {endpoint.cut_short}"
            report.outcome, report.longrepr = "skipped", (str(item.path), item.location[1] or 0, message)
        place, shown = item.stash[PLACE], item.stash[SHOWN]
        waiver = waivers.covering(self._waivers, place.host, check_id(item))
        refused = call.excinfo is not None and isinstance(call.excinfo.value, UsageError)
        if refused and self.plan.mode is Mode.AUDIT:
            verdict = Verdict.INCONCLUSIVE  # a request that cannot be met says nothing about the host
        if verdict is Verdict.FAILED and waiver and not refused:
            verdict = Verdict.WAIVED
        self._verdicts.setdefault((place.host, place.leg, clause_of(item)), []).append(verdict)
        key = (place.host, place.leg, check_id(item))
        if verdict.accepted:
            self._accepted.add(key)
        else:
            self._accepted.discard(key)
        if verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.WAIVED}:
            shown.evidence += self._diagnose(place, message)
            message += self._last_words(place, message)
            report.longrepr = message
        if verdict is Verdict.WAIVED:
            report.outcome = "skipped"  # it ends nothing with -x, and is no plain pass in any report of pytest's own
            report.longrepr = (str(item.path), item.location[1] or 0, f"waived: {message}")
        report.user_properties += [("verdict", str(verdict)), ("expected", shown.expected), ("seen", shown.seen)]
        self.journal.emit(
            CheckFinished(
                host=place.host,
                leg=place.leg,
                clause=clause_of(item),
                id=check_id(item),
                title=title_of(item, self.plan.target),
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
        if self.plan.mode is Mode.PLAN:
            return []
        try:
            parts = self.hosts.diagnostics(place.host, place.leg).parts
        except Exception:  # noqa: BLE001 - the clause `diagnostics` says what kept them from being had
            return []
        return evidence_of(place, self.plan.target, parts, message)

    def _last_words(self, place: Place, message: str) -> str:
        diagnostics = self.hosts.journeys[place.host].diagnostics.get(place.leg)
        return last_words(place, self.plan.target, diagnostics.parts, self.folder, message) if diagnostics else ""

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

    # What came of it.

    def _leave(self) -> None:
        so_far = fold(self.journal.events)
        verdicts = {
            host.name: (host.verdict, host.rollback.verdict if host.rollback else None) for host in so_far.hosts
        }
        self.hosts.leave(verdicts)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Make the record and say with which code the session ends, before any report is written."""
        if self._journal is not None:
            if self.fleet is None:
                if self._signals and self._signals.received:
                    self.interrupted = f"ended by {self._signals.received}"
                for host in self.plan.target.hosts:
                    reason = "The run ended before any host was reached."
                    self.journal.emit(HostLeft(host=host.name, state=HostState.UNCHANGED, reason=reason))
            if self._cutover is not None:
                self._cutover.keep_survey(self.journal)
                judged = self._cutover.judge(fold(self.journal.events), self._note_systems())
                self.journal.emit(CutoverJudged(cutover=judged))
            self.journal.settle()
            self._finish(session)
            self.journal.close()
            self._prove(session)
        elif session.exitstatus == ExitCode.CANONICAL and not session.config.option.collectonly:
            session.exitstatus = ExitCode.INCONCLUSIVE  # no check ran in this process
        yield
        if self.record is not None and self.record.run.exit_code is not None:
            session.exitstatus = self.record.run.exit_code

    def _finish(self, session: pytest.Session) -> Record:
        """Say with which code the run ends; a second time if its record could not be written or signed."""
        self._pytest_code = self._pytest_code or ExitCode(int(session.exitstatus))
        if self.fleet is not None:
            self._refusal = self.fleet.refusal
        ending = Ending(
            mode=self.plan.mode,
            begun=self.fleet is not None,
            pytest_code=self._pytest_code,
            locked=self.fleet is not None and self.fleet.locked,
            refused=self._refusal is not None,
            interrupted=bool(self.interrupted),
            selected=bool(self.collection.selected),
            unreported=bool(self.journal.problem or self.unreported),
            unsigned=bool(self.unsigned),
        )
        self.journal.emit(
            RunFinished(
                exit_code=ending.code(fold(self.journal.events)),
                interrupted=self.interrupted,
                refusal=_refusal(self._refusal),
                unreported=self.journal.problem or self.unreported or None,
                selected=self.collection.selected or None,
                redactions=dict(self.journal.redact.counts),
            )
        )
        self.record = fold(self.journal.events)
        session.exitstatus = self.record.run.exit_code or 0
        return self.record

    def _prove(self, session: pytest.Session) -> None:
        """Write the record, which every other output is made from, and sign it where that was asked for."""
        record = self._finish(session) if self.journal.problem else self.record
        assert record is not None  # made just now
        self.unreported = keep_record(record, self.folder)
        if not self.unreported:
            self.unsigned = sign_record(record, self.folder, self.plan)
        if self.unreported or self.unsigned:
            keep_record(self._finish(session), self.folder)

    def pytest_unconfigure(self) -> None:
        """Let go of the run's folder, now that all is written."""
        if self._hold is not None:
            self._hold.close()

    def _note_systems(self) -> dict[str, str | None]:
        """Note which system each host was seen to run, so that it stands in what is signed; return their commits."""
        commits = {}
        for name, journey in (self.fleet.journeys if self.fleet else {}).items():
            if seen := journey.observations.get("forward"):
                self.journal.emit(SystemSeen(host=name, when="after", system=seen.system.identity))
                commits[name] = seen.system.commit
        return commits


SESSION = pytest.StashKey[DeploySession]()


def _refusal(error: UsageError | None) -> facts.Refusal | None:
    return facts.Refusal(kind=error.refused, message=str(error)) if error else None
