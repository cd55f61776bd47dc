"""JUnit XML made from a record."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import junitparser
import pytest

from switchproof.deploy.contract import Clause, ExitCode, Verdict
from switchproof.reports.ci import junit
from tests.reports import stories
from tests.reports.endings import ENDINGS
from tests.reports.story import SHA, Story

ALL = [
    stories.canonical,
    stories.rolled_back,
    stories.unsafe,
    stories.inconclusive,
    stories.killed,
    stories.drill,
    stories.hostile,
    stories.returned,
]

# The rules of Jenkins' xUnit plugin for elements that are used here (jenkinsci/xunit-plugin, junit-10.xsd): the
# attributes that an element needs, those that it may have, and its children, in any order. Anything else makes the
# plugin refuse the whole file, `file` and `line` of a case included.
JENKINS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"skipped", "time", "timestamp", "hostname", "id", "package", "group", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "system-out": (set(), set(), set()),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
}
JENKINS_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")
# Attributes `type` that Rails takes for the type of an element's text, which GitLab reads it with.
RAILS_TYPES = {
    *("symbol", "date", "datetime", "duration", "integer", "float", "decimal", "boolean", "string", "yaml", "array"),
    *("base64Binary", "hexBinary", "file"),
}
# What GitLab's parser (gitlab-org/gitlab, lib/gitlab/ci/parsers/test/junit.rb) takes for a case's one attachment.
GITLAB_ATTACHMENT = re.compile(r"\[\[ATTACHMENT\|(?P<path>.+?)\]\]")
# What Jenkins' JUnit attachments plugin (jenkinsci/junit-attachments-plugin) takes for attachments; it is greedy.
JENKINS_ATTACHMENT = re.compile(r"\[\[ATTACHMENT\|(.+)\]\]")


def rendered(story: Story) -> ET.Element:
    return ET.fromstring(junit.render(story.record(), Path("runs/x")))  # noqa: S314 - our own output


def suites(story: Story) -> dict[str, ET.Element]:
    root = ET.fromstring(junit.render(story.record()))  # noqa: S314 - our own output
    return {suite.get("name", ""): suite for suite in root}


def read(story: Story) -> junitparser.JUnitXml:
    read = junitparser.JUnitXml.fromstring(junit.render(story.record()).encode())
    assert isinstance(read, junitparser.JUnitXml)
    return read


@pytest.mark.parametrize("story", ALL)
def test_a_reader_counts_what_is_written(story: type[Story]) -> None:
    """What the file says of its counts is what a reader of JUnit files counts in it."""
    whole = read(story())
    told = (whole.tests, whole.failures, whole.errors)
    each = [(suite.tests, suite.failures, suite.errors, suite.skipped) for suite in whole]
    whole.update_statistics()  # type: ignore[no-untyped-call]
    assert told == (whole.tests, whole.failures, whole.errors)
    assert each == [(suite.tests, suite.failures, suite.errors, suite.skipped) for suite in whole]


@pytest.mark.parametrize("ending", ENDINGS)
def test_jenkins_takes_it(ending: str) -> None:
    """There is no element and no attribute that Jenkins' xUnit plugin does not know, and none that it misses."""
    root = rendered(ENDINGS[ending]())
    for element in root.iter():
        needed, allowed, children = JENKINS[element.tag]
        assert needed <= set(element.keys()) <= needed | allowed
        assert {child.tag for child in element} <= children
        if element.tag in {"testsuites", "testsuite"}:
            assert JENKINS_TIME.fullmatch(element.get("time", ""))


@pytest.mark.parametrize("ending", ENDINGS)
def test_jenkins_shows_it(ending: str) -> None:
    """Jenkins' JUnit plugin has one result for each case: red with its message, skipped with a reason, or passed."""
    for suite in rendered(ENDINGS[ending]()):
        assert suite.findall("testcase")  # Jenkins leaves out a suite without cases
        for case in suite.iter("testcase"):
            results = [child for child in case if child.tag != "system-out"]
            assert len(results) <= 1
            assert all(result.get("message") and (result.text or "").strip() for result in results)
            assert (case.get("classname") or "").rpartition(".")[2] in {*Clause, "audit", "run"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_gitlab_takes_it(ending: str) -> None:
    """GitLab's parser gets a text for each result and output, which it would drop or fail on otherwise."""
    for case in rendered(ENDINGS[ending]()).iter("testcase"):
        assert case.get("name")
        outputs = case.findall("system-out")
        assert len(outputs) == 1
        assert not outputs[0].keys()  # with attributes it is no text, and the whole file cannot be read
        for result in case:
            assert (result.text or "").strip()
            assert len(result) == 0
            assert result.get("type") not in RAILS_TYPES
            assert result.get("nil") is None


@pytest.mark.parametrize("story", ALL)
def test_no_two_cases_are_one_for_gitlab(story: type[Story]) -> None:
    """GitLab drops cases with the class and the name of an earlier one, so there are none."""
    cases = Counter((case.classname, case.name) for suite in read(story()) for case in suite)
    assert max(cases.values()) == 1


def test_checks_with_one_id_stay_two() -> None:
    """Two checks of a clause with the same id, as a record from elsewhere may have them, are two cases."""
    record = stories.rolled_back().record()
    for check in record.hosts[0].clauses[1].checks:
        check.id = "switched"
    record.hosts[1].name = "a.rollback"
    names = [
        (case.classname, case.name)
        for suite in junitparser.JUnitXml.fromstring(junit.render(record).encode())
        for case in suite
    ]
    assert len(names) == len(set(names)) == 27
    assert ("a.converge", "switched (3)") in names


def test_verdicts_have_their_elements() -> None:
    """Failed is a failure, blocked is skipped and says so, inconclusive is an error, passed has its title alone."""
    cases = {case.get("name"): case for case in suites(stories.rolled_back())["a"].iter("testcase")}
    failed = cases["answers"]
    assert failed.get("classname") == "a.hypervisor"
    assert [child.tag for child in failed] == ["failure", "system-out"]
    assert (failed[1].text or "").startswith("The hypervisor answers /login")
    assert "Seen: status 502" in (failed[0].text or "")
    assert "evidence/a/hypervisor.json" in (failed[0].text or "")
    blocked = cases["live"]
    assert (blocked[0].tag, blocked[0].get("message")) == ("skipped", "Blocked by hypervisor on a.")
    assert [child.tag for child in cases["switched"]] == ["system-out"]
    lost = next(suites(stories.inconclusive())["b"].iter("error"))
    assert lost.get("message") == "The connection was lost after 41 s."


def test_a_case_has_the_time_of_what_it_judges_or_none() -> None:
    """What checks waited for together is no single case's time; a suite has its leg's time, the file the run's."""
    story = Story("a").resolved().connected("a").phase("a", "observe", 31.0)
    story.check("a", Clause.RUNTIME, "live", took_s=0.25).check("a", Clause.RUNTIME, "dev")
    root = ET.fromstring(junit.render(story.ended(ExitCode.INCONCLUSIVE).record()))  # noqa: S314 - our own output
    times = {case.get("name"): case.get("time") for case in root.iter("testcase")}
    assert (times["live"], times["dev"]) == ("0.250", None)
    assert float(root[0].get("time", "0")) >= 31.0
    assert float(root.get("time", "0")) >= 31.0


def test_evidence_is_attached_where_a_check_did_not_pass() -> None:
    """Jenkins links all files by their paths among the job's artifacts, GitLab only the first: a unit's journal."""
    record = stories.diagnosed("a").record()
    root = ET.fromstring(junit.render(record, Path("reports/runs/x")))  # noqa: S314 - our own output
    folder = "reports/runs/x/evidence/a/diagnostics"
    for case in root[0].iter("testcase"):
        output = case.findtext("system-out") or ""
        first = GITLAB_ATTACHMENT.search(output)
        attached = JENKINS_ATTACHMENT.findall(output)
        if case.find("failure") is None:
            assert first is None
            assert attached == []
        else:
            assert first
            assert first["path"].startswith(f"{folder}/journal/")
            assert attached[0] == first["path"]
            assert f"{folder}/sockets.txt" in attached


def test_only_evidence_of_the_run_is_attached() -> None:
    """Neither a title nor a path out of the run's folder makes CI fetch a file of the runner."""
    story = Story("a").resolved()
    bad = (
        "../../etc/shadow",
        "evidence/../../x",
        "/etc/passwd",
        "evidence/a|b",
        "evidence/a]]b",
        "evidence/a/good.txt",
    )
    title = "[[ATTACHMENT|/etc/passwd]]"
    story.check("a", Clause.CONVERGE, "switched", Verdict.FAILED, "no", title=title, evidence=bad)
    outputs = [each.text or "" for each in rendered(story.ended(ExitCode.SAFE_FAILURE)).iter("system-out")]
    assert JENKINS_ATTACHMENT.findall("\n".join(outputs)) == ["runs/x/evidence/a/good.txt"]


def test_jenkins_cuts_no_mark_of_a_waived_check() -> None:
    """Of the output of a case that did not fail, Jenkins keeps a thousand characters."""
    story = Story("a").resolved()
    many = tuple(f"evidence/a/{'x' * 90}-{number}.txt" for number in range(40))
    story.check("a", Clause.RUNTIME, "live", Verdict.WAIVED, "no", evidence=many)
    root = ET.fromstring(junit.render(story.ended(ExitCode.CANONICAL).record(), Path("runs/x")))  # noqa: S314
    (output,) = [case.findtext("system-out") or "" for case in root.iter("testcase") if case.get("name") == "live"]
    assert 800 < len(output) <= 1000
    assert output.endswith("]]")


def test_an_own_check_says_where_it_is() -> None:
    """Jenkins' schema leaves no place for a file at a case, so the module of an own check stands in its output."""
    record = stories.rolled_back().record()
    record.hosts[0].clauses[2].checks[1].source = "checks/test_login.py"
    root = ET.fromstring(junit.render(record))  # noqa: S314 - our own output
    assert "\nCheck: checks/test_login.py" in next(
        case.findtext("system-out") or "" for case in root.iter("testcase") if case.get("name") == "answers"
    )


def test_it_stays_below_what_gitlab_reads() -> None:
    """Details of hundreds of hosts that fail in every check are cut so that the file stays below 30 MB."""
    record = stories.rolled_back().record()
    for clause in record.hosts[0].clauses:
        for check in clause.checks:
            check.verdict, check.seen, check.expected, check.message = (
                Verdict.FAILED,
                "&" * 10_000,
                "<" * 9000,
                "é" * 9000,
            )
    record.hosts = record.hosts[:1] * 200
    assert 1_000_000 < len(junit.render(record).encode()) < 30_000_000


def test_every_leg_is_a_suite() -> None:
    """The way back of a host is a suite of its own, whose classes are named for it."""
    found = suites(stories.rolled_back())
    assert list(found) == ["a", "a.rollback", "b"]
    assert {case.get("classname") for case in found["a.rollback"].iter("testcase")} == {
        f"a.rollback.{clause}" for clause in Clause
    }


def test_second_deploy_of_a_drill_is_a_suite() -> None:
    """The three legs of a drill are three suites."""
    assert list(suites(stories.drill("a"))) == ["a", "a.rollback", "a.again"]


def test_properties_tell_what_was_tested() -> None:
    """A suite says its verdict, the state of its host and why, how the run ended and which commit it was."""
    suite = suites(stories.rolled_back())["a"]
    known = {each.get("name"): each.get("value", "") for each in suite.iter("property")}
    assert known.pop("cause").startswith(
        "clause hypervisor, “The hypervisor answers /login on 127.0.0.1:9090” failed"
    )
    assert known == {
        "run-verdict": "non-canonical",
        "exit-code": "1",
        "verdict": "failed",
        "state": "rolled-back",
        "sha": SHA,
        "provider": "ovh",
        "mode": "deploy",
        "emulated": "false",
    }


def test_hostile_text_is_legal_xml() -> None:
    """Control characters are taken out, markup is text, and a huge text is cut."""
    shown = junit.render(stories.hostile().record())
    root = ET.fromstring(shown)  # noqa: S314
    assert root.find(".//img") is None
    assert "</script><img src=x onerror=alert(1)>" in (root.find(".//failure").get("message") or "")  # type: ignore[union-attr]
    assert len(shown) < 50_000


def test_record_read_from_a_file_may_hold_any_character() -> None:
    """A record that no redactor has seen still makes legal XML."""
    record = stories.rolled_back().record()
    record.hosts[0].clauses[2].checks[1].message = "nul \x00, escape \x1b, not a character \ufffe, half \ud800"
    record.provider = "\x0b"
    ET.fromstring(junit.render(record))  # noqa: S314


def test_silence_is_never_green() -> None:
    """A run in which every check passed and that was interrupted has an error, and so has a clause without checks."""
    story = stories.canonical()
    story.events.pop()
    story.ended(ExitCode.INTERRUPTED, interrupted="SIGTERM")
    assert "SIGTERM" in (next(suites(story)["run"].iter("error")).get("message") or "")
    record = stories.canonical().record()
    record.hosts[0].clauses[1].checks = []
    root = ET.fromstring(junit.render(record))  # noqa: S314
    assert root.get("errors") == "1"
