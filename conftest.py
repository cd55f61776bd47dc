"""The command line of a deploy, and the outputs of its session."""

from __future__ import annotations

from switchproof.checks import early

# isort: split
import datetime as dt
import os
import secrets
import shutil
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

import pytest

from switchproof.checks.interference import refuse_interference
from switchproof.checks.own import CHECKS
from switchproof.checks.redaction import Redaction
from switchproof.checks.selection import Selection
from switchproof.checks.session import SESSION, DeploySession, contract_sha256
from switchproof.checks.terminal import provide_streams
from switchproof.deploy import options
from switchproof.deploy.cutover.audit import prepare
from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Options, Plan, make_plan, targets_file
from switchproof.deploy.record.journal import AnyEvent
from switchproof.deploy.record.room import OF_A_HOST, OF_A_RUN, Room
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.redact.sources import known_secrets, mentioned_secrets
from switchproof.deploy.run.gate import pass_gate
from switchproof.deploy.run.streams import forgiving
from switchproof.deploy.trust.contract_digest import contract_sha256_of
from switchproof.deploy.trust.signing import check_key
from switchproof.reports import ci, files, index, stored, tidy
from switchproof.reports.html import HtmlReport
from switchproof.reports.html import configure as configure_html
from switchproof.reports.progress import Progress
from switchproof.reports.summary import render as render_summary

pytest_plugins = ["switchproof.checks.provided"]

ROOT = Path(__file__).parent
TRIALS = ROOT / "reports" / "trials"

_HYPOTHESIS = "hypothesispytest"
"""The plugin of a tool for tests, which loads all of itself at the end of every session."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:  # noqa: ARG001
    """Add the command line of a deploy, unless the installed plugin has."""
    if not pluginmanager.has_plugin(options.NAME):
        pluginmanager.register(options, options.NAME)


def _unload_hypothesis(config: pytest.Config) -> None:
    if config.pluginmanager.has_plugin(_HYPOTHESIS):
        config.pluginmanager.unregister(name=_HYPOTHESIS)


def _configure_trial(config: pytest.Config) -> None:
    _unload_hypothesis(config)
    from switchproof.trials.session import configure

    try:
        refuse_interference(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    configure(config, TRIALS, Progress(_own_stdout(), interactive=False).say)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """With --provider, make this session a deploy. Nothing is touched if an option or the target file is wrong."""
    early.begun()
    config.addinivalue_line(
        "markers", "when(*contexts): of deploy, rollback, audit, plan, restore, keep, cutover; where a check applies."
    )
    config.addinivalue_line("markers", "audit(severity, rationale, remedy): a team's own check of an audit.")
    config.addinivalue_line("markers", "last: is made of a host only after all of its other checks passed.")
    given = config.option
    if given.provider is not None:
        provide_streams(config)
    if given.provider is None:
        only_deploys = (
            given.sha,
            given.audit,
            given.plan,
            given.drill,
            given.sign_key,
            given.require_record,
            given.checks,
            given.subject is not None,
            given.cutover is not None,
        )
        if any(only_deploys) or given.rollback is not None or given.keep_runs is not None:
            raise pytest.UsageError("--provider=P is missing: it says where the hosts are")
        return
    if given.subject is not None:
        _configure_trial(config)
        return
    if stray := [option for option in ("scenario", "subject_dir", "subject_timeout") if getattr(given, option)]:
        raise pytest.UsageError(f"--{stray[0].replace('_', '-')}: only with --subject=COMMAND")
    try:
        refuse_interference(config)
        plan = make_plan(
            Options(
                provider=given.provider,
                sha=given.sha,
                audit=given.audit,
                plan=given.plan,
                rollback=given.rollback,
                drill=given.drill,
                targets=given.targets,
                hosts=tuple(given.host),
                on_failure=given.on_failure,
                soak=given.soak,
                take_lock=given.take_lock,
                report_dir=given.report_dir,
                keep_runs=given.keep_runs,
                lab_keep=given.lab_keep,
                lab_runtime=given.lab_runtime,
                lab_suite=given.lab_suite,
                lab_nixos_rebuild=given.lab_nixos_rebuild,
                lab_switch=given.lab_switch,
                shape=given.shape,
                collect_only=given.collectonly,
                sign_key=given.sign_key,
                require_record=given.require_record,
                allowed_signers=given.allowed_signers,
                revoked_signers=given.revoked_signers,
                checks=tuple(given.checks),
                cutover=given.cutover,
                repo=given.repo,
                records=given.records,
            ),
            os.environ,
            stored.RUNS,
        )
        if plan.sign_key is not None:
            check_key(plan.sign_key)
        promoted_from = pass_gate(plan, contract_sha256(plan), dt.datetime.now(dt.UTC))
        cutover = prepare(plan, contract_sha256_of, os.environ)
    except UsageError as error:
        redact = Redactor(mentioned_secrets(targets_file(given.provider, given.targets, given.shape), os.environ))
        raise pytest.UsageError(redact(str(error))) from None
    _unload_hypothesis(config)
    # Everything is collected, so that what the command line leaves out is missed.
    paths = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    selection = Selection(paths, config.invocation_params.dir)
    config.args = [str(folder) for folder in (CHECKS, *plan.checks)]
    name = files.run_name(dt.datetime.now(dt.UTC), plan.mode.value, plan.target.provider, None)
    folder = plan.report_dir / f"{name}-{secrets.token_hex(2)}"
    progress = Progress(_own_stdout(), interactive=_interactive())
    service = ci.service(os.environ, progress.say)

    def watch(event: AnyEvent) -> None:
        service.watch(event)
        progress(event)

    redact = Redactor(known_secrets(plan.target, os.environ))
    room = _take_room(config, plan, folder)
    session = DeploySession(
        plan, folder, watch, redact, promoted_from=promoted_from, selection=selection, cutover=cutover, room=room
    )
    config.add_cleanup(lambda: _clear(session, room))
    config.stash[SESSION] = session
    config.add_cleanup(lambda: _end(service, session))
    Redaction(redact).install(config)
    configure_html(config, folder)
    given.tbstyle, given.reportchars, given.verbose = "no", "", -1
    config.pluginmanager.register(session, "switchproof-session")
    # The folder gets its name when everything stands in it: what is registered first ends last.
    config.pluginmanager.register(_Outputs(session, progress, service), "switchproof-outputs")
    config.pluginmanager.register(HtmlReport(folder, lambda: session.record), "switchproof-html")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse checks in a session that is no deploy."""
    if config.option.provider is None and any(item.path.resolve().is_relative_to(ROOT / "checks") for item in items):
        raise pytest.UsageError("checks look at hosts: say where those are with --provider=P")
    if config.option.subject is None and any(item.path.resolve().is_relative_to(ROOT / "trials") for item in items):
        raise pytest.UsageError("trials are of a deploy path: say which with --provider=lab --subject=COMMAND")


def _take_room(config: pytest.Config, plan: Plan, folder: Path) -> Room | None:
    """Take the disk space that the report needs; what only lists checks needs none."""
    if config.option.collectonly:
        return None
    try:
        room = Room(folder, OF_A_RUN + OF_A_HOST * len(plan.target.hosts))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    return room


def _clear(session: DeploySession, room: Room | None) -> None:
    """Leave nothing of a run that never began."""
    if room is not None:
        room.release()
    if session.record is None:
        shutil.rmtree(session.folder, ignore_errors=True)


class _Outputs:
    """Shows the run while it goes on, and writes its files when it is over."""

    def __init__(self, session: DeploySession, progress: Progress, service: ci.Service) -> None:
        self._session = session
        self._progress = progress
        self._service = service
        self._problems: list[str] = []
        self._tidied = tidy.Tidied()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Show what happens for as long as something does."""
        sys.stdout.flush()
        self._service.begin()
        self._progress.start()
        try:
            return (yield)
        finally:
            self._progress.stop()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Write the run's files, and give its folder its name."""
        yield
        record = self._session.record
        if record is None:
            return
        folder, kept_in = self._session.folder, self._session.plan.report_dir
        name = files.run_name(record.run.started, record.run.mode, record.provider, record.revision.sha)
        try:
            self._session.folder = folder.replace(files.make_folder(folder.parent, name))
        except OSError as error:
            self._problems.append(f"the run's folder keeps its first name, {folder}: {error.strerror}")
        if self._session.unsigned:
            self._problems.append(f"the run is not signed: {self._session.unsigned}")
        if not self._session.unreported:
            try:
                files.write(record, self._session.folder, stored.home(kept_in) / "latest")
            except OSError as error:
                self._problems.append(f"the run's files are not all written: {error}")
        self._list(kept_in)
        try:
            self._service.publish(record, self._session.folder)
        except Exception as error:  # noqa: BLE001 - the exit code tells about hosts, never about a CI service
            self._problems.append(f"the CI service is not told of everything: {error!r}; the run's files are as ever")

    def _list(self, kept_in: Path) -> None:
        """Remove the runs that are too old, and list those that are kept."""
        home, newest = stored.home(kept_in), self._session.plan.keep_runs
        try:
            if newest is not None:
                self._tidied = tidy.tidy(kept_in, newest, home / "latest")
                self._problems += self._tidied.problems
            index.write(kept_in, home)
        except Exception as error:  # noqa: BLE001 - the exit code tells about hosts, never about a list of runs
            self._problems.append(f"the index of runs could not be written: {error!r}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """End with the verdict, the states, the report and what to do next."""
        if record := self._session.record:
            folder = self._session.folder
            shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
            colour = terminalreporter._tw.hasmarkup  # noqa: SLF001 - pytest offers no other way to ask
            terminalreporter.write("\n" + render_summary(record, shown, colour=colour))
        if self._tidied.removed:
            terminalreporter.write_line(str(self._tidied))
        for problem in self._problems:
            terminalreporter.write_line(f"WARNING: {problem}")


def _end(service: ci.Service, session: DeploySession) -> None:
    """Tell the CI service that everything is said; what pytest still holds of it comes first."""
    with forgiving(sys.stdout):
        sys.stdout.flush()
    service.end(session.record)


def _own_stdout() -> TextIO:
    """A stream to the real standard output, which pytest's capturing does not swallow."""
    return open(os.dup(1), "w", encoding="utf-8", errors="replace", buffering=1)  # noqa: PTH123 - a descriptor, open to the end


def _interactive() -> bool:
    return os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb" and "CI" not in os.environ
