"""Makes a pytest session a deploy or a trial: checks the options, and chooses checks and outputs."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from switchproof import conftests
from switchproof.collection.own import CHECKS
from switchproof.collection.selection import Selection
from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Options, Plan, make_plan, targets_file
from switchproof.deploy.providers import read_secrets
from switchproof.deploy.record.events import AnyEvent
from switchproof.deploy.record.room import OF_A_HOST, OF_A_RUN, Room
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.redact.sources import known_secrets, mentioned_secrets
from switchproof.deploy.run.gate import pass_gate
from switchproof.deploy.settings import Settings, read_settings
from switchproof.deploy.trust.contract_digest import contract_sha256_of
from switchproof.deploy.trust.signing import check_key
from switchproof.outputs import Outputs, end_service, is_interactive, own_stdout
from switchproof.process import early
from switchproof.process.redaction import Redaction
from switchproof.process.terminal import provide_streams
from switchproof.reports import ci, files
from switchproof.reports.page.report import HtmlReport
from switchproof.reports.page.report import configure as configure_html
from switchproof.reports.terminal.progress import Progress
from switchproof.session.beginning import contract_sha256
from switchproof.session.deploy import DeploySession
from switchproof.session.interference import override_settings, refuse_interference

if TYPE_CHECKING:
    from switchproof.deploy.cutover.audit import Prepared

_HYPOTHESIS = "hypothesispytest"
"""A plugin for tests that loads its whole package at the end of every session."""

_TRIAL_ALONE = ("scenario", "subject_dir", "subject_first", "subject_timeout")


def configure(config: pytest.Config) -> None:
    """Make the session a deploy or a trial. Nothing is touched if an option or the target file is wrong.

    Raises:
        pytest.UsageError: Names what is wrong.
    """
    early.begun()
    options = config.option
    if options.subject is None:
        if stray := [option for option in _TRIAL_ALONE if getattr(options, option)]:
            raise pytest.UsageError(f"--{stray[0].replace('_', '-')}: only with --subject=COMMAND")
        provide_streams(config)
    try:
        settings = read_settings(config.invocation_params.dir)
        refuse_interference(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    override_settings(config)
    if config.pluginmanager.has_plugin(_HYPOTHESIS):
        config.pluginmanager.unregister(name=_HYPOTHESIS)
    if options.subject is not None:
        _configure_trial(config, settings)
    else:
        _configure_deploy(config, settings)


def _configure_trial(config: pytest.Config, settings: Settings) -> None:
    from switchproof.trials import session as trials

    trials.configure(config, settings.trials, Progress(own_stdout(), interactive=False).say)
    conftests.keep_to(config, [trials.HERE])


def _configure_deploy(config: pytest.Config, settings: Settings) -> None:
    plan = _make_plan(config, settings)
    redact = Redactor(known_secrets(plan.target, os.environ))
    secrets_of_way: dict[str, str] = {}
    try:
        if plan.sign_key is not None:
            check_key(plan.sign_key)
        promoted_from = pass_gate(plan, contract_sha256(plan), dt.datetime.now(dt.UTC))
        cutover = _prepare_cutover(plan)
        if not config.option.collectonly:
            secrets_of_way = read_secrets(plan.target, os.environ)
    except UsageError as error:
        raise pytest.UsageError(redact(str(error))) from None
    redact = Redactor([*known_secrets(plan.target, os.environ), *secrets_of_way.items()])
    for line in (
        "clause(name, severity, rationale, remedy): the clause of the contract that a check belongs to.",
        "when(*contexts): where a check applies: deploy, rollback, audit, plan, restore, keep, cutover.",
        "audit(severity, rationale, remedy): a team's own check of an audit.",
        "last: runs for a host only after all of its other checks passed.",
    ):
        config.addinivalue_line("markers", line)
    # Everything is collected, so that what the command line leaves out is missed.
    paths = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    selection = Selection([path for path in paths if path != str(CHECKS)], config.invocation_params.dir)
    config.args = [str(folder) for folder in (CHECKS, *plan.checks)]
    conftests.keep_to(config, (CHECKS, *plan.checks))
    config.pluginmanager.import_plugin("switchproof.session.fixtures")
    name = files.run_name(dt.datetime.now(dt.UTC), plan.mode.value, plan.target.provider, None)
    folder = plan.report_dir / f"{name}-{secrets.token_hex(2)}"
    verbosity: int = config.option.verbose
    is_brief = verbosity < 0 and not config.option.collectonly
    progress = Progress(own_stdout(), interactive=is_interactive(), verbosity=verbosity)
    service = ci.service(os.environ, progress.say)

    def watch(event: AnyEvent) -> None:
        outputs.watch(event)

    room = _take_room(config, plan, folder)
    session = DeploySession(
        plan,
        folder,
        watch,
        redact,
        promoted_from=promoted_from,
        selection=selection,
        cutover=cutover,
        room=room,
        secrets=secrets_of_way,
    )
    outputs = Outputs(session, progress, service, settings, is_brief=is_brief)
    config.add_cleanup(lambda: _clear(session, room))
    config.add_cleanup(lambda: end_service(service, session))
    Redaction(redact).install(config)
    configure_html(config, folder)
    # Below -1 pytest counts no tests in a last line of its own: the summary says what was proven.
    config.option.tbstyle, config.option.reportchars = "no", ""
    outputs.durations, config.option.durations = config.option.durations, None
    config.option.verbose = -1 if config.option.collectonly else -2
    config.pluginmanager.register(session.collection, "switchproof-collection")
    config.pluginmanager.register(session, "switchproof-session")
    config.pluginmanager.register(session.judging, "switchproof-judging")
    config.pluginmanager.register(_fixtures_of_check(session), "switchproof-fixtures")
    # The folder gets its name when everything is in it: what is registered first ends last.
    config.pluginmanager.register(outputs, "switchproof-outputs")
    config.pluginmanager.register(HtmlReport(folder, lambda: session.record), "switchproof-html")


def _fixtures_of_check(session: DeploySession) -> object:
    from switchproof.session.fixtures import OfCheck  # after pytest imported the module as a plugin

    return OfCheck(session)


def _prepare_cutover(plan: Plan) -> Prepared | None:
    if plan.cutover is None:
        return None  # and nothing of it is loaded
    from switchproof.deploy.cutover.audit import prepare

    return prepare(plan, contract_sha256_of, os.environ)


def _make_plan(config: pytest.Config, settings: Settings) -> Plan:
    options = config.option
    try:
        return make_plan(
            Options(
                provider=options.provider,
                sha=options.sha,
                audit=options.audit,
                plan=options.plan,
                preflight=options.preflight,
                rollback=options.rollback,
                drill=options.drill,
                targets=options.targets,
                hosts=tuple(options.host),
                on_failure=options.on_failure,
                soak=options.soak,
                take_lock=options.take_lock,
                build=options.build,
                source=options.source,
                dirty=options.dirty,
                report_dir=options.report_dir,
                keep_runs=options.keep_runs,
                lab_keep=options.lab_keep,
                lab_runtime=options.lab_runtime,
                lab_suite=options.lab_suite,
                lab_nixos_rebuild=options.lab_nixos_rebuild,
                lab_switch=options.lab_switch,
                shape=options.shape,
                collect_only=options.collectonly,
                sign_key=options.sign_key,
                require_record=options.require_record,
                allowed_signers=options.allowed_signers,
                revoked_signers=options.revoked_signers,
                checks=tuple(options.checks),
                cutover=options.cutover,
                repo=options.repo,
                records=options.records,
                parallel=options.parallel,
                shard=options.shard,
            ),
            os.environ,
            settings,
        )
    except UsageError as error:
        path = targets_file(options.provider, options.targets, options.shape, settings)
        redact = Redactor(mentioned_secrets(path, os.environ))
        raise pytest.UsageError(redact(str(error))) from None


def _take_room(config: pytest.Config, plan: Plan, folder: Path) -> Room | None:
    """Reserve the disk space for the report; a session that only lists checks needs none."""
    if config.option.collectonly:
        return None
    try:
        return Room(folder, OF_A_RUN + OF_A_HOST * len(plan.target.hosts))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _clear(session: DeploySession, room: Room | None) -> None:
    """Remove the files of a run that never began."""
    if room is not None:
        room.release()
    if session.record is None:
        shutil.rmtree(session.folder, ignore_errors=True)
