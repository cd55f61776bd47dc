"""Makes a pytest session a deploy or a trial: checks the options, and begins to connect."""

from __future__ import annotations

import datetime as dt
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from switchproof import conftests
from switchproof.collection.own import CHECKS
from switchproof.collection.selection import Selection, is_typed
from switchproof.deploy import providers
from switchproof.deploy.connection import Provider
from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Mode, Options, Plan
from switchproof.deploy.planning import make_plan, targets_file
from switchproof.deploy.providers import kind_of, read_secrets
from switchproof.deploy.providers.ahead import Ahead, Say
from switchproof.deploy.providers.kind import Opening
from switchproof.deploy.record.room import OF_A_HOST, OF_A_RUN, Room
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.redact.sources import known_secrets, mentioned_secrets
from switchproof.deploy.run.gate import pass_gate
from switchproof.deploy.run.variables import first_question
from switchproof.deploy.settings import Settings, read_settings
from switchproof.deploy.trust.contract_digest import contract_sha256_of
from switchproof.deploy.trust.signing import check_key
from switchproof.process import early, garbage
from switchproof.process.terminal import provide_streams
from switchproof.reports import files
from switchproof.session.beginning import contract_sha256, owner_of_run
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
    config.pluginmanager.register(garbage.Exemption())
    if config.pluginmanager.has_plugin(_HYPOTHESIS):
        config.pluginmanager.unregister(name=_HYPOTHESIS)
    if options.subject is not None:
        _configure_trial(config, settings)
    else:
        _configure_deploy(config, settings)


def _configure_trial(config: pytest.Config, settings: Settings) -> None:
    from switchproof.outputs import own_stdout
    from switchproof.reports.terminal.progress import Progress
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
    began = dt.datetime.now(dt.UTC)
    name = files.run_name(began, plan.mode.value, plan.target.provider, None)
    folder = plan.report_dir / f"{name}-{secrets.token_hex(2)}"
    room = _take_room(config, plan, folder)
    ahead = _connect_ahead(config, plan, folder.name, secrets_of_way)
    from switchproof.session import assembly  # it loads most of the package, while the connections are made

    # Everything is collected, so that what the command line leaves out is missed.
    paths = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    selection = Selection([path for path in paths if path != str(CHECKS)], config.invocation_params.dir)
    config.args = [str(folder) for folder in (CHECKS, *plan.checks)]
    conftests.keep_to(config, (CHECKS, *plan.checks))
    assembly.assemble(
        config,
        plan,
        folder,
        settings,
        redact,
        began=began,
        promoted_from=promoted_from,
        selection=selection,
        cutover=cutover,
        room=room,
        ahead=ahead,
        secrets=secrets_of_way,
    )


def _connect_ahead(config: pytest.Config, plan: Plan, run: str, secrets_of_way: Mapping[str, str]) -> Ahead | None:
    """Begin to connect to the hosts of a run that nothing can refuse any more; None if something still can.

    An audit asks them at once, as that changes nothing: they answer while the rest is loaded.
    """
    may_refuse = plan.checks or plan.target.waivers or not is_typed(config)
    if may_refuse or config.option.collectonly or not kind_of(plan.target).is_early:
        return None
    changes_hosts = plan.mode.changes_hosts

    def make(say: Say) -> Provider:
        opening = Opening(
            changes_hosts=changes_hosts, lab=plan.lab, say=say, emulated=lambda *_: None, secrets=secrets_of_way
        )
        return providers.open_provider(plan.target, opening)

    hosts = plan.target.hosts[: plan.parallel]
    asked = hosts if plan.mode is Mode.AUDIT else ()
    first = {host.name: first_question(host, plan, run, owner_of_run()) for host in asked}
    ahead = Ahead([host.name for host in hosts], make, first)
    config.add_cleanup(ahead.close)
    return ahead


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
                lab_ssm_agent=options.lab_ssm_agent,
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
