"""Runs a trial as a pytest session: chooses the scenarios and writes the record."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import os
import signal
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from switchproof.deploy.contract import Clause
from switchproof.deploy.errors import UsageError
from switchproof.deploy.extras import require
from switchproof.deploy.providers.lab import preflight
from switchproof.deploy.providers.lab.errors import LabError
from switchproof.deploy.providers.lab.kinds import Runtime, Shape
from switchproof.deploy.providers.lab.provider import NOT_MODELLED
from switchproof.deploy.providers.lab.real import RealPrograms
from switchproof.deploy.providers.lab.trial.subject import Command
from switchproof.deploy.record.record import Emulation, Evidence
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.redact.sources import of_tools
from switchproof.process.redaction import Redaction
from switchproof.reports import files, trial
from switchproof.trials.attempt import Setting
from switchproof.trials.exam import Exam
from switchproof.trials.record import (
    ClauseResult,
    ScenarioResult,
    SubjectTold,
    Trial,
    cannot_run,
    clauses_of,
    encode,
    exit_code,
    redacted,
    verdict_of_trial,
    violations_of,
)
from switchproof.trials.scenario import Scenario, of_shape

HERE = Path(__file__).parent
TRIAL = pytest.StashKey["TrialSession"]()
LIMIT_S = 600.0
"""The default time limit of a path, in seconds."""
LONGEST_S = 86400.0
RUNTIME: Runtime = "netns"
"""The default kind of sandboxes: it is faster, and a deploy path cannot see the difference."""

_OTHERS = {
    "sha": "--sha",
    "audit": "--audit",
    "plan": "--plan",
    "preflight": "--preflight",
    "rollback": "--rollback",
    "drill": "--drill",
    "targets": "--targets",
    "host": "--host",
    "soak": "--soak",
    "take_lock": "--take-lock",
    "lab_keep": "--lab-keep",
    "lab_suite": "--lab-suite",
    "lab_nixos_rebuild": "--lab-nixos-rebuild",
    "lab_switch": "--lab-switch",
    "lab_ssm_agent": "--lab-ssm-agent",
    "sign_key": "--sign-key",
    "require_record": "--require-record",
    "checks": "--checks",
    "keep_runs": "--keep-runs",
}
"""Options of a deploy that a trial refuses."""


class TrialPlan(msgspec.Struct, frozen=True):
    """The plan of a trial.

    Attributes:
        setting: The settings that all scenarios share.
        chosen: The scenarios to run.
        every: All scenarios for hosts of the shape.
        parent: The folder in which to make the trial's folder.
    """

    setting: Setting
    chosen: tuple[Scenario, ...]
    every: tuple[Scenario, ...]
    parent: Path


def make_plan(given: Any, environ: Mapping[str, str], default_parent: Path) -> TrialPlan:
    """Check the options, and return the plan of the trial.

    Args:
        given: The options, as pytest read them.
        environ: The environment of the session.
        default_parent: The folder of trials without `--report-dir`.

    Raises:
        UsageError: An option is wrong; the message names it and the allowed values.
    """
    if given.provider != "lab":
        raise UsageError("--subject: a trial runs on lab hosts: add --provider=lab")
    for name, option in _OTHERS.items():
        value = getattr(given, name)
        if value is not None and value is not False and value != []:
            raise UsageError(f"{option}: not with --subject, because a trial uses the lab's own commits")
    if not given.subject.strip():
        raise UsageError("--subject= is empty: give the command that deploys, as for /bin/sh")
    if given.shape == "aws":
        require("aws", "--shape=aws")
    if given.shape == "aws" and given.lab_runtime == "microvm":
        raise UsageError("--lab-runtime=microvm: hosts of --shape=aws have containers instead")
    folder = Path(given.subject_dir or ".").resolve()
    if not folder.is_dir():
        raise UsageError(f"--subject-dir={given.subject_dir}: there is no such folder")
    limit_s = LIMIT_S if given.subject_timeout is None else given.subject_timeout
    if not 0 < limit_s <= LONGEST_S:
        raise UsageError(f"--subject-timeout={limit_s:g}: seconds, more than 0 and up to {LONGEST_S:g}")
    shape: Shape = given.shape
    every = of_shape(shape)
    names = [scenario.name for scenario in every]
    if unknown := [name for name in given.scenario if name not in names]:
        raise UsageError(f"--scenario={unknown[0]}: not a scenario for --shape={shape}; known: {', '.join(names)}")
    runtime = given.lab_runtime or RUNTIME
    if not given.collectonly:
        try:
            preflight.require(runtime if shape == "ovh" else "netns")
        except LabError as error:
            raise UsageError(f"--provider=lab: {error}") from error
    return TrialPlan(
        setting=Setting(
            Command(given.subject, folder, limit_s), shape, runtime, environ, Path(), sets_first=given.subject_first
        ),
        chosen=tuple(scenario for scenario in every if not given.scenario or scenario.name in given.scenario),
        every=every,
        parent=Path(given.report_dir) if given.report_dir else default_parent,
    )


def configure(config: pytest.Config, default_parent: Path, say: Callable[[str], None]) -> None:
    """Turn the session into a trial.

    Args:
        config: The configuration of pytest.
        default_parent: The folder of trials without `--report-dir`.
        say: Writes a line about what happens.

    Raises:
        pytest.UsageError: An option is wrong; nothing was touched.
    """
    known = of_tools(os.environ)
    try:
        plan = make_plan(config.option, os.environ, default_parent)
    except UsageError as error:
        raise pytest.UsageError(Redactor(known)(str(error))) from None
    redact = Redactor([*known, ("REPO_TOKEN", plan.setting.token)])
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(HERE)]
    Redaction(redact).install(config)
    session = TrialSession(plan, redact, say)
    config.stash[TRIAL] = session
    config.option.tbstyle, config.option.reportchars, config.option.verbose = "no", "", -2
    config.pluginmanager.register(session, "switchproof-trial")


class TrialSession:
    """The pytest plugin of one trial."""

    def __init__(self, plan: TrialPlan, redact: Redactor, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.setting = plan.setting
        self.exam: Exam | None = None
        self._redact = redact
        self._tell = say
        self._started = dt.datetime.now(dt.UTC)
        self._folder: Path | None = None
        self._interrupted: str | None = None
        self._trial: Trial | None = None
        self._problems: list[str] = []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make an item for each scenario, and one for each clause."""
        if "scenario" in metafunc.fixturenames:
            metafunc.parametrize("scenario", self.plan.chosen, ids=[scenario.name for scenario in self.plan.chosen])
        if "clause" in metafunc.fixturenames:
            metafunc.parametrize("clause", list(Clause), ids=[clause.value for clause in Clause])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Try the scenarios that were not deselected, two at a time."""
        if session.config.option.collectonly or session.testsfailed or not session.items:
            return (yield)
        params = [getattr(item, "callspec").params for item in session.items if hasattr(item, "callspec")]  # noqa: B009
        wanted = [each["scenario"] for each in params if "scenario" in each]
        name = files.run_name(self._started, "trial", self.plan.setting.shape, None)
        self._folder = files.make_folder(self.plan.parent, name)
        setting = self.setting = replace(self.plan.setting, folder=self._folder)
        self._say(f"On trial: {setting.command.text}")
        self._say(f"{len(wanted)} scenarios on fresh lab hosts of the shape {setting.shape}, two at a time.\n")
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            with Exam(self._redact) as self.exam:
                self.exam.begin(setting, wanted)
                return (yield)
        except (KeyboardInterrupt, session.Interrupted) as error:
            self._interrupted = f"ended by {error or 'a signal'}" if str(error) else "ended by a signal"
            raise
        finally:
            signal.signal(signal.SIGTERM, before)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, str] | None:
        """Show no letters, because each scenario has a line."""
        return (report.outcome, "", "") if report.when == "call" else None

    def _say(self, text: str) -> None:
        self._tell(self._redact(text))

    def result(self, scenario: Scenario) -> ScenarioResult:
        """Wait for the result of a scenario, and print it; skip a scenario that was not tried."""
        assert self.exam is not None  # begun before the first item
        result = self.exam.result(self.setting, scenario.name)
        if result is None:
            pytest.skip("not tried: the command cannot be run")
        self._say(trial.line(result))
        return result

    def clause(self, clause: Clause) -> ClauseResult:
        """Return the result of a clause over all scenarios."""
        return next(each for each in self._clauses() if each.id is clause)

    @property
    def _tried(self) -> list[ScenarioResult]:
        return self.exam.results if self.exam else []

    @property
    def _not_tried(self) -> list[Scenario]:
        names = {result.name for result in self._tried}
        return [scenario for scenario in self.plan.every if scenario.name not in names]

    def _clauses(self) -> tuple[ClauseResult, ...]:
        return clauses_of(self._tried, self._not_tried)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Write the trial's files, and set the exit code of the session."""
        if self._folder is not None:
            self._trial = self._made(self._folder, int(session.exitstatus))
            session.exitstatus = self._trial.exit_code
            try:
                write(self._trial, self._folder)
            except OSError as error:
                self._problems.append(f"some files of the trial were not written: {error}")
        yield
        if self._trial is not None:
            session.exitstatus = self._trial.exit_code

    def _made(self, folder: Path, pytest_s_own: int) -> Trial:
        tried, clauses, setting = self._tried, self._clauses(), self.plan.setting
        verdict = verdict_of_trial(clauses, tried, whole=not self._not_tried)
        broken = pytest_s_own in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}
        made = Trial(
            id=folder.name,
            started=self._started,
            finished=dt.datetime.now(dt.UTC),
            exit_code=pytest_s_own if broken else int(exit_code(verdict, refused=cannot_run(tried))),
            interrupted=self._interrupted,
            harness=f"switchproof {importlib.metadata.version('switchproof')}",
            subject=SubjectTold(
                command=setting.command.text,
                folder=str(setting.command.folder),
                limit_s=setting.command.limit_s,
                sets_first=setting.sets_first,
            ),
            shape=setting.shape,
            runtime=setting.runtime,
            emulation=Emulation(
                by="lab hosts on this machine", not_modelled=(*NOT_MODELLED, *RealPrograms().described)
            ),
            verdict=verdict,
            clauses=clauses,
            violations=violations_of(tried),
            findings=tuple(finding for result in tried for finding in result.findings),
            scenarios=tuple(tried),
            not_tried=tuple(scenario.name for scenario in self._not_tried),
            evidence=tuple(_evidence(folder, result, path) for result in tried for path in result.evidence),
        )
        made = redacted(made, self._redact)
        return replace(made, redactions=dict(self._redact.counts))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """End with the verdict, the violations and the findings."""
        if self._trial is not None and self._folder is not None:
            folder = self._folder.resolve()
            shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
            colour = terminalreporter._tw.hasmarkup  # noqa: SLF001 - pytest offers no other way to ask
            terminalreporter.write("\n" + trial.summary(self._trial, shown, colour=colour))
        for problem in self._problems:
            terminalreporter.write_line(f"WARNING: {problem}")


def write(made: Trial, folder: Path) -> None:
    """Write a trial's files: `trial.json`, `junit.xml` and `report.html`.

    Raises:
        OSError: A file could not be written; the files before it, in this order, were.
    """
    files.write_text(folder / "trial.json", encode(made))
    files.write_text(folder / "junit.xml", trial.junit(made))
    files.write_text(folder / "report.html", trial.page(made))


def _evidence(folder: Path, result: ScenarioResult, path: str) -> Evidence:
    data = (folder / path).read_bytes()
    title = f"Output and files of the path in {result.name}"
    return Evidence(path=path, title=title, host=None, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
