"""JUnit XML made from a record."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from deploy.contract import Clause, ExitCode
from reports import junit
from tests.reports import stories
from tests.reports.stories import Story


def suites(story: Story) -> dict[str, ET.Element]:
    root = ET.fromstring(junit.render(story.record()))  # noqa: S314 - our own output
    return {suite.get("name", ""): suite for suite in root}


@pytest.mark.parametrize(
    "story", [stories.canonical, stories.rolled_back, stories.unsafe, stories.inconclusive, stories.killed]
)
def test_counts_are_right(story: type[Story]) -> None:
    """A suite counts its own cases, and the whole counts those of all suites."""
    root = ET.fromstring(junit.render(story().record()))  # noqa: S314
    for name, path in {"tests": "", "failures": "/failure", "errors": "/error", "skipped": "/skipped"}.items():
        assert int(root.get(name, "")) == len(root.findall(f"testsuite/testcase{path}"))
        for suite in root:
            assert int(suite.get(name, "")) == len(suite.findall(f"testcase{path}"))


def test_verdicts_have_their_elements() -> None:
    """Failed is a failure, blocked is skipped and says so, inconclusive is an error, passed is nothing."""
    cases = {case.get("name"): case for case in suites(stories.rolled_back())["a"].iter("testcase")}
    failed = cases["The hypervisor answers /login on 127.0.0.1:9090"]
    assert failed.get("classname") == "a.hypervisor"
    assert [child.tag for child in failed] == ["failure"]
    assert "Seen: status 502" in (failed[0].text or "")
    assert "evidence/a/hypervisor.json" in (failed[0].text or "")
    blocked = cases["live listens on 8080 and answers"]
    assert [(child.tag, child.get("message")) for child in blocked] == [("skipped", "Blocked by hypervisor on a.")]
    assert not list(cases["The switch ended well"])
    lost = next(suites(stories.inconclusive())["b"].iter("error"))
    assert lost.get("message") == "The connection was lost after 41 s."


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
    """A suite says its verdict, the state of its host and which commit it was."""
    suite = suites(stories.rolled_back())["a"]
    known = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert known == {
        "verdict": "failed",
        "state": "rolled-back",
        "sha": stories.SHA,
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
