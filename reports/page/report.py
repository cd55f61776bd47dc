"""Writes a run's `report.html` at the end of the pytest session."""

from __future__ import annotations

import contextlib
import html
import platform
from collections.abc import Callable, Generator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from switchproof.deploy.record.record import Record
from switchproof.reports import files

if TYPE_CHECKING:
    from switchproof.reports.page.layout import SessionLog

_TEST_LOG = ".test-log.html"
LOG_ROWS = 400
"""Number of tests above which passed ones have no row in the test log, because its script draws thousands slowly."""


def configure(config: pytest.Config, folder: Path) -> None:
    """Point pytest-html to the run's folder; call this before pytest-html is configured.

    Raises:
        pytest.UsageError: `--html` names another place, where the links to evidence would be broken.
    """
    if config.getoption("htmlpath", None):
        raise pytest.UsageError(
            "--html is for the project's own tests: a deploy's report is report.html in the run's folder, "
            "beside its evidence. Say where runs are kept with --report-dir."
        )
    config.option.htmlpath = str(folder / _TEST_LOG)
    config.option.self_contained_html = True


class HtmlReport:
    """A pytest plugin that writes `report.html` atomically at the end of the session.

    A failure here never changes the session's outcome; the terminal's output ends with a warning.

    Args:
        folder: The run's folder.
        record: Returns the record so far; None before the run has begun.
    """

    def __init__(self, folder: Path, record: Callable[[], Record | None]) -> None:
        self.path = folder / files.REPORT
        self.problems: list[str] = []
        self._test_log = folder / _TEST_LOG
        self._record = record
        self._data: Any = None
        self._items: list[pytest.Item] = []
        self._left_out = 0

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_metadata(self, metadata: dict[str, object]) -> None:
        """Keep CI variables out of the header and the report: some hold tokens."""
        metadata.clear()
        metadata.update(_versions())

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_report_title(self, report: Any) -> None:
        """Set the log's title, and keep its rows in the order in which checks ran."""
        report.title = "Test log"
        report.set_data("initialSort", "original")
        self._data = report

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the tests, to which later legs of a run may still add theirs."""
        self._items = session.items

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_html_results_summary(self) -> None:
        """Set the environment table just before it is written, escaped, because pytest-html does not escape it."""
        if self._data is not None:
            self._data.set_data("environment", {name: html.escape(each) for name, each in _versions().items()})

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Replace the column of links by one of the contract's verdicts, of which pytest knows only some."""
        del cells[-1]
        cells.insert(1, '<th class="sortable" data-column-type="verdict">Verdict</th>')

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: Any, cells: list[str]) -> None:
        """Fill the verdict column, and escape the test's name, which pytest-html does not escape.

        A phase that passed and printed nothing has no row, so nothing is made of it. In a long log passed tests are
        only counted.
        """
        if report.when in {"setup", "teardown"} and report.passed and not report.sections:
            cells.clear()
            return
        if (
            len(self._items) > LOG_ROWS
            and report.when == "call"
            and report.passed
            and not hasattr(report, "wasxfail")
        ):
            self._data.outcomes = "passed"
            self._left_out += 1
            cells.clear()
            return
        name = report.nodeid if report.when == "call" else f"{report.nodeid}::{report.when}"
        properties = dict(getattr(report, "user_properties", ()))
        cells[1] = f'<td class="col-testId">{html.escape(" ".join(name.split()))}</td>'
        del cells[-1]
        cells.insert(1, f'<td class="col-verdict">{html.escape(str(properties.get("verdict", "")))}</td>')

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Write the report after all other plugins, pytest-html included, have written theirs."""
        try:
            return (yield)
        except OSError as error:
            self.problems.append(f"a report could not be written: {error}")
            return None
        finally:
            self._silence(session.config)
            self.write()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the problems of the report."""
        for problem in self.problems:
            terminalreporter.write_line(f"WARNING: {problem}", yellow=True)

    def write(self) -> None:
        """Write `report.html` from the record and pytest-html's log."""
        from switchproof.reports.page import layout

        try:
            record = self._record()
            if record is None:
                return
            log, problem = self._log()
            files.write_text(self.path, layout.standalone(record, self.path.parent, log, problem))
        except Exception as error:  # noqa: BLE001 - the exit code tells about hosts, never about a report
            self.problems.append(f"{self.path} could not be written: {error}")

    def _log(self) -> tuple[SessionLog | None, str]:
        from switchproof.reports.page import layout

        try:
            log = layout.session_log(self._test_log.read_text(encoding="utf-8"), self._left_out)
            self._test_log.unlink()
        except (OSError, ValueError) as error:
            self.problems.append(f"the report has no test log: {error}")
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return None, f"{reason}."
        return log, ""

    def _silence(self, config: pytest.Config) -> None:
        # Its last line would name the file that has just become a part of ours.
        for plugin in config.pluginmanager.get_plugins():
            if type(plugin).__module__.startswith("pytest_html."):
                config.pluginmanager.unregister(plugin)


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version(), "pytest": pytest.__version__}
    with contextlib.suppress(metadata.PackageNotFoundError):  # run from a checkout that is not installed
        versions["switchproof"] = metadata.version("switchproof")
    return versions
