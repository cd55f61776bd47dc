"""`report.html` of a real pytest session."""

from __future__ import annotations

import html as stdlib_html
import re
from pathlib import Path
from typing import Any

import pytest

from switchproof.reports.page import report
from tests.reports import pages

pytest_plugins = ["pytester"]

SESSION = """
import pytest

HOSTILE = "<img src=x onerror=alert(1)>"

@pytest.mark.parametrize("text", ["x"], ids=[HOSTILE])
def test_hostile_id(text, record_property):
    record_property("verdict", "passed")

def test_blocked(request):
    request.node.user_properties.append(("verdict", "blocked"))
    pytest.skip("BLOCKED by hypervisor on a")

def test_failed(record_property):
    record_property("verdict", "<b>failed</b>")
    print("</script>", HOSTILE)
    assert HOSTILE == "200"
"""


CONFTEST = """
import pathlib

import pytest

from switchproof.reports.page import report
from tests.reports import stories

@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    folder = pathlib.Path({folder!r})
    report.configure(config, folder)
    config.pluginmanager.register(report.HtmlReport(folder, lambda: {record}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


def run(
    pytester: pytest.Pytester,
    folder: Path,
    *plugins: object,
    story: str = "hostile",
    arguments: str = "",
    session: str = SESSION,
) -> pytest.RunResult:
    record = f"stories.{story}().record()"
    return run_with(pytester, folder, record, *plugins, arguments=arguments, session=session)


def run_with(
    pytester: pytest.Pytester,
    folder: Path,
    record: str,
    *plugins: object,
    arguments: str = "",
    session: str = SESSION,
) -> pytest.RunResult:
    pytester.makepyfile(session)
    pytester.makeconftest(CONFTEST.format(folder=str(folder), record=record))
    return pytester.runpytest_inprocess(*arguments.split(), plugins=plugins)


def test_conformance_part_stands_above_the_test_log(pytester: pytest.Pytester, folder: Path) -> None:
    """The report opens with the conformance part; pytest-html's tables follow under their own heading."""
    run(pytester, folder, story="rolled_back")
    root = pages.read((folder / "report.html").read_text())
    body = [child for child in root.one("body").children if isinstance(child, pages.Element)]
    assert [child.tag for child in body] == ["main", "script", "section"]
    assert body[0].one("h1").text.endswith("Non-canonical")
    assert body[2].all("h2")[0].text == "Test log"
    assert body[2].all("table", id="results-table")
    assert root.one("html").attributes["lang"] == "en"
    assert root.one("head").one("title").text.startswith("non-canonical: deploy of 1a2b3c4, ovh")
    assert [path.name for path in folder.iterdir()] == ["report.html"]


def test_rows_keep_their_order_and_tell_the_contract_s_verdict(pytester: pytest.Pytester, folder: Path) -> None:
    """The test log has one row a test, in the order of execution, with the verdict that pytest has no word for."""
    run(pytester, folder)
    data = pages.log_data(pages.read((folder / "report.html").read_text()))
    assert data["initialSort"] == "original"
    rows = [row for rows in _tests(data) for row in rows]
    assert [row["verdict"] for row in rows] == ["passed", "blocked", "&lt;b&gt;failed&lt;/b&gt;"]
    assert [row["result"] for row in rows] == ["Passed", "Skipped", "Failed"]


def test_test_log_cannot_inject(pytester: pytest.Pytester, folder: Path) -> None:
    """What pytest-html's script puts into the page as HTML holds no element that a test or its output named."""
    run(pytester, folder, arguments="--metadata evil <img/src=x>")
    root = pages.read((folder / "report.html").read_text())
    data = pages.log_data(root)
    for row in (row for rows in _tests(data) for row in rows):
        inserted = pages.read("".join([*row["resultsTableRow"], row["log"]]))
        assert {element.tag for element in inserted.all()} <= {"td", "span"}
    assert not root.all("img", src="x")
    assert len(root.all("script")) == 2


def test_only_the_filter_and_the_log_s_own_script_may_run(pytester: pytest.Pytester, folder: Path) -> None:
    """The page's policy allows two scripts by their digests, and neither handlers nor anything from elsewhere."""
    run(pytester, folder)
    root = pages.read((folder / "report.html").read_text())
    (policy,) = [meta.attributes["content"] for meta in root.all("meta") if "http-equiv" in meta.attributes]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}=' 'sha256-[A-Za-z0-9+/]{43}='", rules["script-src"])
    assert rules["style-src"].startswith("'sha256-")
    assert not [rule for rule in rules.values() if "unsafe" in rule]
    assert len(root.all("style")) == 1


def test_test_log_s_filters_have_labels(pytester: pytest.Pytester, folder: Path) -> None:
    """Who cannot see where a box stands is told what it shows."""
    run(pytester, folder)
    boxes = pages.read((folder / "report.html").read_text()).one("section", class_="switchproof-log").all("input")
    labels = [box.attributes["aria-label"] for box in boxes]
    assert len(labels) == len(set(labels)) > 5
    assert "Show failed" in labels


def test_environment_tells_versions_only(
    pytester: pytest.Pytester, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a CI variable nor metadata from the command line reaches the report or the terminal."""
    monkeypatch.setenv("CI_REPOSITORY_URL", "https://gitlab-ci-token:s3cr3t@example.org/x.git")
    monkeypatch.setenv("BUILD_TAG", "s3cr3t-too")
    result = run(pytester, folder, arguments="-v --metadata token s3cr3t-three")
    page = (folder / "report.html").read_text()
    assert set(_environment(page)) <= {"Python", "pytest", "switchproof"}
    assert "s3cr3t" not in page + result.stdout.str()


def test_failure_in_the_test_log_keeps_the_conformance_part(pytester: pytest.Pytester, folder: Path) -> None:
    """When pytest-html cannot write, the conformance part is there, says so, and the exit code stays."""

    class Breaks:
        @pytest.hookimpl(optionalhook=True)
        def pytest_html_results_summary(self) -> None:
            raise OSError(28, "No space left on device")

    result = run(pytester, folder, Breaks(), story="canonical")
    root = pages.read((folder / "report.html").read_text())
    assert root.one("h1").text.endswith("Canonical")
    assert "The test log is missing" in root.text
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["WARNING: *No space left on device*"])


@pytest.mark.parametrize(("more", "rows"), [(0, report.LOG_ROWS), (1, 1)])
def test_log_of_many_tests_keeps_those_that_did_not_pass(
    pytester: pytest.Pytester, folder: Path, more: int, rows: int
) -> None:
    """Thousands of rows would keep a browser busy: of many tests only those that tell something have one."""
    session = f"""
import pytest

@pytest.fixture
def heard():
    yield
    print("heard at the end")

@pytest.mark.parametrize("n", range({report.LOG_ROWS + more}))
def test_n(n, request):
    request.getfixturevalue("heard") if n == 3 else None
    assert n != 7
"""
    run(pytester, folder, story="canonical", session=session)
    root = pages.read((folder / "report.html").read_text())
    found = [row for rows in _tests(pages.log_data(root)) for row in rows]
    assert len(found) == rows
    assert [row["testId"].split("::")[-1] for row in found if row["result"] != "Passed"] == ["test_n[7]"]
    log = root.one("section", class_="switchproof-log").text
    assert f"{report.LOG_ROWS + more - 1} Passed" in log
    assert ("Rows of 400 tests that passed are omitted" in log) == bool(more)


def test_odd_page_of_pytest_html_is_left_out(pytester: pytest.Pytester, folder: Path) -> None:
    """A test log of an unknown form is left out rather than pasted in."""

    class Odd:
        def pytest_sessionfinish(self) -> None:
            (folder / ".test-log.html").write_text("<html><body>odd</body></html>")

    run(pytester, folder, Odd(), story="canonical", arguments="-p no:html")
    root = pages.read((folder / "report.html").read_text())
    assert root.one("h1").text.endswith("Canonical")
    assert "unknown form" in root.one("section", class_="switchproof-log").text


def test_report_without_pytest_html(pytester: pytest.Pytester, folder: Path) -> None:
    """Where pytest-html is not loaded, the report is the conformance part alone."""
    run(pytester, folder, story="canonical", arguments="-p no:html")
    assert pages.read((folder / "report.html").read_text()).one("h1").text.endswith("Canonical")


def test_broken_rendering_never_changes_the_exit_code(pytester: pytest.Pytester, folder: Path) -> None:
    """An error of the report is told, and the session ends with the code that the hosts deserve."""

    class Unsafe:
        def pytest_sessionfinish(self, session: pytest.Session) -> None:
            session.exitstatus = 10

    result = run_with(pytester, folder, "object()", Unsafe())
    assert result.ret == 10
    result.stdout.fnmatch_lines(["WARNING: *report.html could not be written*"])


def test_run_that_never_began_has_no_report(pytester: pytest.Pytester, folder: Path) -> None:
    """Without a record there is nothing to report."""
    run_with(pytester, folder, "None")
    assert not (folder / "report.html").exists()


def test_pytest_html_s_own_last_line_is_gone(pytester: pytest.Pytester, folder: Path) -> None:
    """The terminal does not name a file that is gone."""
    assert "Generated html report" not in run(pytester, folder).stdout.str()


def test_another_place_for_the_report_is_refused(pytester: pytest.Pytester, folder: Path) -> None:
    """`--html` is refused before anything runs, as the evidence would not be beside it."""
    result = run(pytester, folder, arguments="--html=elsewhere.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--report-dir*"])


def _tests(data: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return list(data["tests"].values())


def _environment(page: str) -> dict[str, str]:
    environment = pages.log_data(pages.read(page))["environment"]
    assert isinstance(environment, dict)
    return {key: stdlib_html.unescape(value) for key, value in environment.items()}
