"""Puts the parts of a deploy together as plugins of pytest: the session, its checks and its outputs."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from switchproof.collection.selection import Selection
from switchproof.deploy.plan import Plan
from switchproof.deploy.providers.ahead import Ahead
from switchproof.deploy.record.events import AnyEvent, PromotedFrom
from switchproof.deploy.record.room import Room
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.settings import Settings
from switchproof.outputs import Outputs, end_service, is_interactive, own_stdout
from switchproof.process.redaction import Redaction
from switchproof.reports import ci
from switchproof.reports.page.report import HtmlReport
from switchproof.reports.page.report import configure as configure_html
from switchproof.reports.terminal.progress import Progress
from switchproof.session.deploy import DeploySession

if TYPE_CHECKING:
    from switchproof.deploy.cutover.audit import Prepared


def assemble(
    config: pytest.Config,
    plan: Plan,
    folder: Path,
    settings: Settings,
    redact: Redactor,
    *,
    began: dt.datetime,
    promoted_from: PromotedFrom | None,
    selection: Selection,
    cutover: Prepared | None,
    room: Room | None,
    ahead: Ahead | None,
    secrets: Mapping[str, str],
) -> None:
    """Register the plugins of a deploy.

    Args:
        config: The session's configuration.
        plan: What the run does.
        folder: The folder for the run's files.
        settings: Where the repository keeps its runs.
        redact: Removes secrets from everything that is shown or written.
        began: The time at which the run began.
        promoted_from: The signed record with which the run passed the gate; None if it needed none.
        selection: The checks that the command line selects.
        cutover: The records and paths that an audit of the cutover read; None without one.
        room: Disk space for the report; None if only checks are listed.
        ahead: The provider with connections that have begun; None if none have.
        secrets: The secrets with which the provider reaches hosts, by name.
    """
    for line in (
        "clause(name, severity, rationale, remedy): the clause of the contract that a check belongs to.",
        "when(*contexts): where a check applies: deploy, rollback, audit, plan, restore, keep, cutover.",
        "audit(severity, rationale, remedy): a team's own check of an audit.",
        "last: runs for a host only after all of its other checks passed.",
    ):
        config.addinivalue_line("markers", line)
    config.pluginmanager.import_plugin("switchproof.session.fixtures")
    verbosity: int = config.option.verbose
    is_brief = verbosity < 0 and not config.option.collectonly
    progress = Progress(own_stdout(), interactive=is_interactive(), verbosity=verbosity)
    service = ci.service(os.environ, progress.say)

    def watch(event: AnyEvent) -> None:
        outputs.watch(event)

    session = DeploySession(
        plan,
        folder,
        watch,
        redact,
        began=began,
        promoted_from=promoted_from,
        selection=selection,
        cutover=cutover,
        room=room,
        ahead=ahead,
        secrets=secrets,
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


def _clear(session: DeploySession, room: Room | None) -> None:
    """Remove the files of a run that never began."""
    if room is not None:
        room.release()
    if session.record is None:
        shutil.rmtree(session.folder, ignore_errors=True)
