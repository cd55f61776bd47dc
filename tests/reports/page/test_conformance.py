"""What the conformance part of the report says and how it says it."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from itertools import pairwise

import pytest

from switchproof.deploy.contract import Clause, ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.record.record import Record
from switchproof.reports.page import conformance, layout
from switchproof.reports.reading import SHAPES
from tests.reports import pages, stories
from tests.reports.story import CHECKS, OLD

STORIES = [
    stories.canonical,
    stories.rolled_back,
    stories.unsafe,
    stories.inconclusive,
    stories.killed,
    stories.hostile,
    stories.drill,
    stories.returned,
]


def page(record: Record) -> pages.Element:
    return pages.read(layout.standalone(record))


def _told(check: pages.Element) -> dict[str, pages.Element]:
    """What a check says, by its name."""
    (said,) = [each for each in check.children if isinstance(each, pages.Element) and each.tag == "dl"]
    names = [each for each in said.children if isinstance(each, pages.Element)]
    return {name.text: what for name, what in zip(names[::2], names[1::2], strict=True)}


@pytest.fixture(params=STORIES, ids=lambda story: story.__name__)
def told(request: pytest.FixtureRequest) -> Record:
    record = request.param().record()
    assert isinstance(record, Record)
    return record


def test_verdict_comes_first_in_words_and_shape(told: Record) -> None:
    """Before anything else the report says the verdict, in a word and with a shape beside it."""
    part = page(told).one(class_="switchproof")
    first, second = [child for child in part.children if isinstance(child, pages.Element)][:2]
    header = second if told.emulated else first
    assert header.tag == "header"
    assert header.one("h1").text.endswith(told.verdict.capitalize())
    assert len(header.one("h1").one("span", class_="shape").text) == 1


def test_ids_are_unique_and_links_lead_somewhere(told: Record) -> None:
    """Every id stands once, and every link within the page has its target."""
    root = page(told)
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", one) for one in ids)
    targets = [link.attributes["href"] for link in root.all("a")]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    labels = {one.attributes["aria-labelledby"] for one in root.all() if "aria-labelledby" in one.attributes}
    assert labels <= set(ids)


def test_nothing_runs_and_nothing_is_fetched(told: Record) -> None:
    """The page holds no script but its filter, no event handler and nothing that a browser would fetch."""
    root = page(told)
    assert [script.text for script in root.all("script")] == [" ".join(conformance.script().split())]
    assert not [element for element in root.all() if element.tag in {"img", "iframe", "link", "object"}]
    for element in root.all():
        assert not [name for name in element.attributes if name.startswith("on") or name == "src"]
        target = element.attributes.get("href", "#")
        assert target.startswith(("#", "./", "../", "https://github.com/choiros/")), target
        assert ".." not in target.removeprefix("../").split("/")
        if target.startswith("../"):
            assert re.fullmatch(r"\.\./[A-Za-z0-9-]+/report\.html", target)
    policy = _policy(root)
    assert policy.startswith("default-src 'none'")
    digest = base64.b64encode(hashlib.sha256(conformance.script().encode()).digest()).decode()
    assert f"; script-src 'sha256-{digest}'; " in policy
    assert "url(" not in "".join(style.text for style in root.all("style"))


def test_only_the_page_s_own_style_counts(told: Record) -> None:
    """The policy names the digest of the one style sheet, no element brings a style of its own."""
    shown = layout.standalone(told)
    (style,) = re.findall(r"<style>(.*?)</style>", shown, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in _policy(pages.read(shown)).split("; "))
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert not [element for element in pages.read(shown).all() if "style" in element.attributes]


def _policy(root: pages.Element) -> str:
    (policy,) = [
        meta.attributes["content"]
        for meta in root.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    return policy


def test_styles_keep_to_their_part() -> None:
    """Every rule of the fragment's style sheet begins with its own class, but for those of paper."""
    for selectors in re.findall(r"(?:^|[{};])\s*([^{};]+?)\s*\{", conformance.style()):
        if not selectors.startswith("@"):
            assert selectors.startswith(".switchproof"), selectors


def test_tables_can_be_read_aloud(told: Record) -> None:
    """Every table has a caption, and every heading of a row or column says which it is."""
    root = page(told)
    assert root.one("html").attributes["lang"] == "en"
    assert len(root.all("h1")) == 1
    for table in root.all("table"):
        assert table.one("caption").text
        assert all(head.attributes["scope"] in {"row", "col", "rowgroup"} for head in table.all("th"))
    for drawing in root.all("svg"):
        assert drawing.attributes.get("aria-label") or drawing.attributes.get("aria-hidden") == "true"


def test_headings_skip_no_level(told: Record) -> None:
    """Below each heading the next one is at most one level deeper, so that they can be walked through."""
    levels = [int(element.tag[1]) for element in page(told).all() if re.fullmatch("h[1-6]", element.tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_host_and_clause_has_its_cell(told: Record) -> None:
    """The first table has a row for each leg of each host and a worded cell for each clause."""
    rows = [row for body in page(told).one("table", class_="matrix").all("tbody") for row in body.all("tr")]
    expected = []
    for host in told.hosts:
        expected.append([host.name, *(clause.verdict for clause in host.clauses)])
        if host.rollback:
            expected.append([f"{host.name} (rollback)", *(clause.verdict for clause in host.rollback.clauses)])
        if host.again:
            expected.append([f"{host.name} (again)", *(clause.verdict for clause in host.again.clauses)])
    assert [row.one("th").text for row in rows] == [row[0] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert [cell.text.split()[-1] for cell in row.all("td")[: len(Clause)]] == wanted[1:]


def test_failed_check_stands_open() -> None:
    """A failed check is open with expected beside seen, its whole message and its evidence."""
    root = page(stories.rolled_back().record())
    (failed,) = root.all("details", class_="v-failed")
    assert "open" in failed.attributes
    told = _told(failed)
    assert told["Expected"].text == "status 200 body contains “Sign in”"
    assert told["Seen"].text == "status 502 body: Bad Gateway"
    assert "See the log of hypervisor.service." in failed.text
    kept, gone = failed.one("ul", class_="files").all("li")
    assert kept.all("a")[0].attributes["href"] == "./evidence/a/hypervisor.json"
    assert "812 bytes" in kept.text
    assert "not kept" in gone.text


def test_passed_checks_are_folded() -> None:
    """Where everything passed, every check is there and none is open."""
    checks = page(stories.canonical().record()).all("details", class_="check")
    assert len(checks) == 2 * sum(len(each) for each in CHECKS.values())
    assert not [check for check in checks if "open" in check.attributes]


def test_emulated_run_says_so() -> None:
    """An emulated run is marked beside its verdict, another one is not."""
    emulated, real = layout.standalone(stories.unsafe().record()), layout.standalone(stories.canonical().record())
    root = pages.read(emulated)
    assert root.one("header").one("p", class_="emulation").text.startswith("Emulated:")
    assert root.one("p", class_="mark").text.startswith("Emulated")
    assert "(emulated)" in root.one("head").one("title").text
    assert root.one(class_="switchproof").attributes["class"].split() == ["switchproof", "emulated"]
    assert "a kernel, boot loader and disk" in root.text
    assert "mulated" not in re.sub(r"<style>.*?</style>", "", real, flags=re.DOTALL)


def test_hostile_text_is_shown_and_does_nothing() -> None:
    """Markup from a host is read as text; control codes and marks that reorder text are gone."""
    shown = layout.standalone(stories.hostile().record())
    root = pages.read(shown)
    assert "</script><img src=x onerror=alert(1)>" in root.one("header").text
    assert "{{ 7*7 }}" in root.one("header").text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)


def test_megabyte_line_is_cut_and_said_to_be() -> None:
    """A huge text is cut in the report, and the report says by how much."""
    shown = layout.standalone(stories.hostile().record())
    assert len(shown) < 100_000
    assert "994,000 of 1,000,000 characters not shown" in shown


def test_rollback_stands_beside_what_it_undid() -> None:
    """The way back has its own part with the reason, the system and all five clauses."""
    root = page(stories.rolled_back().record())
    (back,) = [leg for leg in root.all("section", class_="leg") if leg.one("h3").text.startswith("Way back")]
    assert OLD in back.text
    assert "The clause hypervisor failed." in back.text
    assert [clause.one("h4").text.split()[0] for clause in back.all("section", class_="clause")] == list(Clause)


def test_legs_of_a_drill_stand_side_by_side() -> None:
    """A drill has a row for each host with its three legs, what each came to and how long it took."""
    story = stories.drill("a", "b", again=Verdict.FAILED)
    story.events = [e for e in story.events if (getattr(e, "host", None), getattr(e, "leg", None)) != ("b", "again")]
    table = next(each for each in page(story.record()).all("table") if "side by side" in each.one("caption").text)
    assert [head.text for head in table.one("thead").all("th")] == ["Host", "deploy", "rollback", "again"]
    rows = [[cell.text for cell in row.all() if cell.tag in {"th", "td"}] for row in table.one("tbody").all("tr")]
    assert rows == [
        ["a", "✓ passed , 16.3 s", "✓ passed , 6.0 s", "✗ failed , 3.0 s"],
        ["b", "✓ passed , 16.3 s", "✓ passed , 6.0 s", "never begun"],
    ]
    assert not [each for each in page(stories.canonical().record()).all("caption") if "side by side" in each.text]
    assert [leg.one("h3").text for leg in page(story.record()).all("section", class_="leg")][:3] == [
        "First deploy ✓ passed",
        "Way back, on purpose ✓ passed",
        "Second deploy ✗ failed",
    ]


def test_failure_of_a_drill_s_last_leg_is_linked() -> None:
    """The sentence of a drill names the leg that failed and links to its checks."""
    root = page(stories.drill("a", again=Verdict.FAILED).record())
    assert "on host a (again), clause diagnostics" in root.one("header").text
    target = root.one("header").one("a").attributes["href"].removeprefix("#")
    (failed,) = root.all("details", class_="v-failed")
    assert failed.one("dl", id=target).all("a")[0].text == "emitted"


def test_warning_is_told_with_its_host() -> None:
    """That a host went back by itself stands in its part of the report."""
    root = page(stories.returned().record())
    assert "It went back by itself at" in root.one("details", class_="host").text
    assert root.one("section", class_="warnings").one("li").text.startswith("a : It went back by itself at")


def test_ten_hosts_are_quick() -> None:
    """Ten hosts render in well under a second."""
    record = stories.canonical(*(f"host-{number}" for number in range(10))).record()
    conformance.render(record)
    began = time.process_time()
    conformance.render(record)
    assert time.process_time() - began < 0.5


def test_shapes_differ() -> None:
    """No two verdicts and no two states share a shape."""
    for kind in (Verdict, HostState):
        assert len({SHAPES[one] for one in kind}) == len(kind)
    assert {SHAPES.get(one, "?") for one in RunVerdict} == {"✓", "~", "✗", "?"}


@pytest.mark.parametrize(("verdict", "word"), [(Verdict.PASSED, "Ready"), (Verdict.FAILED, "Unready")])
def test_a_preflight_shows_only_the_clause_that_it_looks_at(verdict: Verdict, word: str) -> None:
    """Clauses without a check are not called inconclusive under the word Ready."""
    code = ExitCode.CANONICAL if verdict is Verdict.PASSED else ExitCode.SAFE_FAILURE
    told = stories.preflight(code, ("a", "room", verdict, ""), ("b", "room", verdict, "")).record()
    root = page(told)
    assert root.one("h1").text.endswith(word)
    assert [head.text for head in root.one("table", class_="matrix").one("thead").all("th")][1] == "converge"
    assert len(root.all("section", class_="clause")) == len(told.hosts)
    assert "inconclusive" not in root.one("main").text.partition("What was not seen")[0].partition("How to read")[0]
