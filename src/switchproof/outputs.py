"""Shows a run while it goes on, and writes its files at the end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest

from switchproof.deploy.record.events import AnyEvent, PhaseStarted
from switchproof.deploy.run.streams import forgiving
from switchproof.deploy.settings import Settings
from switchproof.reports import ci, files
from switchproof.reports.terminal.progress import Progress
from switchproof.session.deploy import DeploySession

if TYPE_CHECKING:
    from switchproof.reports.kept.tidy import Tidied


class Outputs:
    """The pytest plugin that shows a run while it goes on, and writes its files at the end.

    Args:
        session: The run.
        progress: Shows events in the terminal.
        service: Shows events to the CI service, and publishes the record there.
        settings: Where the repository keeps its runs.
        is_brief: Whether the terminal ends with the verdict alone.

    Attributes:
        durations: How many of the slowest phases to show, as pytest's `--durations`; None for none.
    """

    def __init__(
        self,
        session: DeploySession,
        progress: Progress,
        service: ci.Service,
        settings: Settings,
        *,
        is_brief: bool = False,
    ) -> None:
        self._is_brief = is_brief
        self.durations: int | None = None
        self._session = session
        self._progress = progress
        self._service = service
        self._home = settings.home_of(session.plan.report_dir)
        self._problems: list[str] = []
        self._tidied: Tidied | None = None
        self._loading: threading.Thread | None = None

    def watch(self, event: AnyEvent) -> None:
        """Show an event; load the report writers while the hosts are asked and this process only waits."""
        self._service.watch(event)
        self._progress(event)
        if self._loading is None and isinstance(event, PhaseStarted) and event.phase != "connect":
            self._loading = threading.Thread(target=_load, daemon=True)
            self._loading.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Show progress while checks run."""
        sys.stdout.flush()
        self._service.begin()
        self._progress.start()
        try:
            return (yield)
        finally:
            self._progress.stop()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Write the run's files, and give its folder its final name."""
        if self._loading is not None:
            self._loading.join()
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
                files.write(record, self._session.folder, self._home / "latest")
            except OSError as error:
                self._problems.append(f"some files of the run were not written: {error}")
        self._list(kept_in)
        try:
            self._service.publish(record, self._session.folder)
        except Exception as error:  # noqa: BLE001 - the exit code reports on hosts, never on a CI service
            self._problems.append(
                f"some results were not reported to the CI service: {error!r}; the run's files are not affected"
            )

    def _list(self, kept_in: Path) -> None:
        """Remove the runs that are too old, and list those that are kept."""
        from switchproof.reports.kept import index, tidy

        home, newest = self._home, self._session.plan.keep_runs
        try:
            if newest is not None:
                self._tidied = tidy.tidy(kept_in, newest, home / "latest")
                self._problems += self._tidied.problems
            index.write(kept_in, home)
        except Exception as error:  # noqa: BLE001 - the exit code reports on hosts, never on a list of runs
            self._problems.append(f"the index of runs could not be written: {error!r}")

    @pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_sessionfinish")
    def pytest_sessionfinish_last(self, session: pytest.Session) -> Generator[None, None, None]:
        """End with the verdict, the states, the report and what to do next, below all that pytest writes."""
        yield
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and not reporter.no_summary:
            if session.shouldstop or session.shouldfail:
                reporter.write_line("")  # pytest has written why, without a blank line
            self._summarize(reporter)

    def _summarize(self, reporter: pytest.TerminalReporter) -> None:
        if record := self._session.record:
            from switchproof.reports.terminal import summary

            folder = self._session.folder
            shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
            colour = reporter._tw.hasmarkup  # noqa: SLF001 - pytest offers no other way to ask
            if self.durations is not None:
                least_s = reporter.config.option.durations_min or 0.0
                reporter.write(summary.durations(record, self.durations, least_s) + "\n")
            reporter.write(summary.render(record, shown, colour=colour, brief=self._is_brief))
        if self._tidied and self._tidied.removed:
            reporter.write_line(str(self._tidied))
        for problem in self._problems:
            reporter.write_line(f"WARNING: {problem}")


def _load() -> None:
    """Load the modules that write the reports."""
    with suppress(Exception):  # an error is reported where the module is used
        from switchproof.reports.ci import junit  # noqa: F401 - for later
        from switchproof.reports.kept import index, tidy  # noqa: F401 - for later
        from switchproof.reports.page import conformance
        from switchproof.reports.terminal import summary  # noqa: F401 - for later

        conformance.prepare()


def end_service(service: ci.Service, session: DeploySession) -> None:
    """Report the end of the output to the CI service, after the output that pytest still buffers."""
    with forgiving(sys.stdout):
        sys.stdout.flush()
    service.end(session.record)


def own_stdout() -> TextIO:
    """Open a stream to the real standard output, which pytest does not capture."""
    return open(os.dup(1), "w", encoding="utf-8", errors="replace", buffering=1)  # noqa: PTH123 - a descriptor, open to the end


def is_interactive() -> bool:
    """Whether standard output is a terminal that a person watches."""
    return os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb" and "CI" not in os.environ
