"""What the page of a run with very many hosts leaves out, so that a browser opens it at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.contract import Clause
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.record import Record
from switchproof.reports.page import conformance, excerpts, layout
from tests.reports import pages, stories
from tests.reports.runs import with_files
from tests.reports.story import CHECKS

FAILED = "h0"
HOSTS = [f"h{number}" for number in range(conformance.BRIEF_ABOVE + 1)]
CHECKS_OF_A_HOST = sum(len(checks) for checks in CHECKS.values())


def mixed(hosts: Sequence[str], folder: Path) -> Record:
    """The first host failed with all its diagnostics, and was rolled back; all others passed."""
    good, bad = (fold(story.events) for story in (stories.canonical(*hosts), stories.diagnosed(hosts[0])))
    bad = with_files(bad, folder, lambda _: b"it died\n" * 90)
    return msgspec.structs.replace(bad, hosts=[*bad.hosts, *good.hosts[1:]])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> pages.Element:
    """The page of one host more than a page shows in full."""
    folder = tmp_path_factory.mktemp("many")
    return pages.read(layout.standalone(mixed(HOSTS, folder), folder))


def host(root: pages.Element, name: str) -> pages.Element:
    (found,) = [part for part in root.all("details", class_="host") if part.attributes["data-host"] == name]
    return found


def test_a_passed_host_is_its_verdicts_and_a_line_for_each_check(root: pages.Element) -> None:
    """A browser makes fewer than a hundred nodes of a passed host; each clause and check keeps its id."""
    passed = host(root, "h7")
    assert len(passed.all()) < 100
    lines = passed.all(class_="check")
    assert len(lines) == CHECKS_OF_A_HOST
    assert all(line.text.startswith("✓ passed ") and line.text.endswith(": 200 , 0.25 s") for line in lines)
    assert [clause.attributes["data-clause"] for clause in passed.all(class_="clause")] == [*CHECKS]
    assert not passed.all("table")


def test_a_failed_host_keeps_what_explains_it(root: pages.Element) -> None:
    """The host that failed has its open checks, quotes of its logs, health, system and phases."""
    failed = host(root, FAILED)
    told = [check for check in failed.all("details", class_="check") if "open" in check.attributes]
    assert len(told) == len(CHECKS[Clause.HYPERVISOR]) + len(CHECKS[Clause.RUNTIME])
    headings = [head.text for head in failed.all("h3")]
    assert [words for words in ("Health over time", "Before and after", "Phases") if words not in headings] == []
    assert "it died" in failed.text


def test_the_timeline_is_of_hosts_that_did_not_pass(root: pages.Element) -> None:
    """A drawing of a thousand lanes shows nothing; the hosts in trouble have theirs, and the page says why."""
    (drawing,) = root.all("svg", class_="timeline")
    assert [name.text for name in drawing.all("text", class_="name")] == [FAILED]
    (left_out,) = [each.text for each in root.all("p", class_="meta") if "There are more than" in each.text]
    assert f"more than {conformance.BRIEF_ABOVE} hosts" in left_out
    assert "record.json has them all" in left_out


def test_its_links_lead_somewhere(root: pages.Element) -> None:
    """Every id stands once, and what the matrix and the lines link to is there."""
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    targets = [link.attributes["href"] for link in root.all("a")]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)


def test_up_to_that_number_every_host_is_shown_in_full(tmp_path: Path) -> None:
    """With one host fewer, passed hosts have all that is known of them."""
    root = pages.read(layout.standalone(mixed(HOSTS[:-1], tmp_path), tmp_path))
    assert host(root, "h7").all("table")
    assert len(host(root, "h7").all("details", class_="check")) == CHECKS_OF_A_HOST


def test_of_too_many_files_the_journals_are_quoted(tmp_path: Path) -> None:
    """A quote of a few letters helps nobody: where room is short, what the units themselves said has it."""
    fit = excerpts.PAGE_CHARACTERS // excerpts.LEAST_CHARACTERS
    names = [*(f"status/{number}" for number in range(fit)), *(f"journal/{number}" for number in range(9))]
    record = fold(stories.diagnosed("a").events)
    some = [msgspec.structs.replace(record.evidence[0], path=f"evidence/a/diagnostics/{name}") for name in names]
    record = with_files(msgspec.structs.replace(record, evidence=some), tmp_path, lambda _: b"lost: " + b"x" * 200)
    kept = {evidence.path: evidence for evidence in record.evidence}
    quoted = excerpts.take(tmp_path, kept, kept)
    assert len(quoted) == fit
    assert {path for path in kept if "/journal/" in path} <= set(quoted)
    assert all(excerpt.lines for excerpt in quoted.values())
