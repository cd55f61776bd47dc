"""Runs a deploy as a pytest session: begins it, opens the hosts, and makes its record at the end."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

from switchproof.checks.fixtures import Diagnosis
from switchproof.collection.items import Place
from switchproof.collection.plugin import Collection
from switchproof.collection.selection import Selection
from switchproof.deploy.connection import Provider
from switchproof.deploy.contract import ExitCode, HostState, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.providers import open_provider
from switchproof.deploy.providers.ahead import Ahead
from switchproof.deploy.providers.kind import Opening
from switchproof.deploy.record import facts
from switchproof.deploy.record.events import (
    AnyEvent,
    CutoverJudged,
    Emulated,
    HostLeft,
    Noted,
    PromotedFrom,
    RunFinished,
    SystemSeen,
)
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.hold import hold
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.record.past_runs import read_earlier
from switchproof.deploy.record.record import Record
from switchproof.deploy.record.room import Room
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run.fleet import Fleet
from switchproof.deploy.run.own_builds import compare
from switchproof.deploy.run.results import Confirmation
from switchproof.process.signals import Signals
from switchproof.session.beginning import describe_run, notes_of, owner_of_run, waivers_of
from switchproof.session.ending import Ending, keep_record, sign_record
from switchproof.session.judging import Judging
from switchproof.session.legs import Legs
from switchproof.session.results import Results
from switchproof.session.verdicts import emittable, emitted

if TYPE_CHECKING:
    import testinfra.host

    from switchproof.deploy.cutover.audit import Prepared
    from switchproof.deploy.cutover.surroundings import Surroundings


class DeploySession:
    """The pytest plugin of one run.

    Args:
        plan: What the run does.
        folder: The folder for the run's files; made when the run begins.
        watch: Shows each event.
        redact: Removes secrets from everything that is shown or written.
        began: The time at which the run began, before any host was reached.
        promoted_from: The signed record with which the run passed the gate; None if it needed none.
        selection: The checks that the command line selects; None for all.
        cutover: The records and paths that an audit of the cutover read before any host was asked.
        room: Disk space for the report; None if only checks are listed.
        ahead: The provider with connections that have begun; None if none have.
        secrets: The secrets with which the provider reaches hosts, by name.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        watch: Callable[[AnyEvent], None],
        redact: Redactor,
        *,
        began: dt.datetime,
        promoted_from: PromotedFrom | None = None,
        selection: Selection | None = None,
        cutover: Prepared | None = None,
        room: Room | None = None,
        ahead: Ahead | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.plan = plan
        self._cutover, self._began = cutover, began
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
        self._room, self._ahead = room, ahead
        self._secrets = secrets or {}
        self._signals: Signals | None = None
        self._legs: Legs | None = None
        self._pytest_code: ExitCode | None = None
        self._waivers = waivers_of(plan, dt.datetime.now(dt.UTC))
        self.collection = Collection(plan, redact, selection or Selection((), Path()), self._waivers)
        self._results = Results(
            plan.mode, [host.name for host in plan.target.hosts], lambda: self.collection.manifest
        )
        self.judging = Judging(
            plan,
            folder,
            self._waivers,
            self._results,
            hosts=lambda: self.hosts,
            journal=lambda: self.journal,
        )

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
        """Look at what is on a host besides the contract's units; the host is asked once."""
        from switchproof.deploy.cutover.surroundings import look_around

        if name not in self._surroundings:
            self._surroundings[name] = look_around(name, host, self.plan.target.contract_units)
        return self._surroundings[name]

    def diagnosis(self, place: Place) -> Diagnosis:
        """Return the diagnostics that were emitted if anything failed on the host; else those that could have been.

        Raises:
            SwitchproofError: The host could not be asked.
        """
        if self._results.failed(place.host, place.leg, also=Verdict.WAIVED):
            return emitted(self.plan.target, self.hosts.diagnostics(place.host, place.leg).parts)
        return emittable(self.plan.target, self.hosts.observation(place.host, place.leg).diagnosable)

    def confirm(self, place: Place) -> Confirmation:
        """Have a host keep its new system, at the same time as all other hosts whose checks passed.

        Raises:
            SwitchproofError: The host did not answer.
        """
        ready = [name for name in self.hosts.journeys if self._results.all_passed(name, place.leg)]
        return self.hosts.confirm(place.host, ready)

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
            provider = self._open_provider()
        except UsageError as error:
            self._refusal = error
            raise pytest.UsageError(self._redact(str(error))) from None
        try:
            self.fleet = Fleet(self.plan, self.run, owner_of_run(), provider, self.journal)
            legs = self._legs = Legs(
                self.plan,
                self.fleet,
                self.collection,
                session,
                results=self._results,
                judging=self.judging,
                is_interrupted=lambda: bool(self.interrupted),
            )
            signals.stage = "running"
            try:
                result = yield
                legs.go_back()
                if self.plan.mode is Mode.DRILL:
                    legs.drill()
            except (session.Interrupted, Exception) as error:
                if not isinstance(error, session.Failed | session.Interrupted):
                    self.interrupted = f"the session broke: {error!r}"
                session._setupstate.teardown_exact(None)  # noqa: SLF001 - the check after the last one is still set up
                legs.judge_confirmed()
                legs.go_back()
                raise
            finally:
                self._leave()
                signals.stage = "reporting"
        finally:
            provider.close()
        return result

    def _open_provider(self) -> Provider:
        if self._ahead is not None:
            return self._ahead.open(self._say)
        return open_provider(
            self.plan.target,
            Opening(
                changes_hosts=self.plan.mode.changes_hosts,
                lab=self.plan.lab,
                say=self._say,
                emulated=lambda by, not_modelled: self.journal.emit(Emulated(by=by, not_modelled=not_modelled)),
                secrets=self._secrets,
            ),
        )

    def _end(self, session: pytest.Session, name: str) -> None:
        """End the run in order, after a signal."""
        self.interrupted = f"ended by {name}"
        session.shouldstop = self.interrupted
        threading.Thread(target=self._abandon, args=(name,), daemon=True).start()

    def _abandon(self, name: str) -> None:
        if self._legs is not None and self._legs.is_going_back:
            self._say(f"{name}: the hosts go back first, and are verified; a second signal ends at once.")
            return
        first = f" after the way back of {', '.join(hosts)}" if (hosts := self.hosts.going_back) else ""
        self._say(f"{name}: ending in order{first}; a second signal ends at once.")
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
                began=self._began,
            )
        )
        for note in notes_of(self.plan.target, self._waivers, os.environ):
            self._say(note)
        hosts = [host.name for host in self.plan.target.hosts]
        self.journal.emit(read_earlier(self.plan.report_dir, self.plan.target.provider, hosts, self.plan.mode.value))

    def _leave(self) -> None:
        so_far = fold(self.journal.events)
        verdicts = {
            host.name: (host.verdict, host.rollback.verdict if host.rollback else None) for host in so_far.hosts
        }
        for event in compare(own for journey in self.hosts.journeys.values() if (own := journey.own_build)):
            self.journal.emit(event)
        self.hosts.leave(verdicts)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Make the record and set the exit code of the session, before any report is written."""
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
        """Decide the exit code; decide again if the record could not be written or signed."""
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
        """Write the record, from which every other output is made, and sign it if requested."""
        record = self._finish(session) if self.journal.problem else self.record
        assert record is not None  # made just now
        self.unreported = keep_record(record, self.folder)
        if not self.unreported:
            self.unsigned = sign_record(record, self.folder, self.plan)
        if self.unreported or self.unsigned:
            keep_record(self._finish(session), self.folder)

    def pytest_unconfigure(self) -> None:
        """Release the run's folder, after everything is written."""
        if self._hold is not None:
            self._hold.close()

    def _note_systems(self) -> dict[str, str | None]:
        """Record which system each host runs, so that the signature covers it; return the hosts' commits."""
        commits = {}
        for name, journey in (self.fleet.journeys if self.fleet else {}).items():
            if observation := journey.observations.get("forward"):
                self.journal.emit(SystemSeen(host=name, when="after", system=observation.system.identity))
                commits[name] = observation.system.commit
        return commits


def _refusal(error: UsageError | None) -> facts.Refusal | None:
    return facts.Refusal(kind=error.refused, message=str(error)) if error else None
