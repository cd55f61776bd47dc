"""Every output of a run gives the same verdict, exit code, failed hosts and causes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.record.events import CheckFinished, RunStarted
from switchproof.deploy.record.record import Record
from switchproof.reports import causes, reading
from switchproof.reports.ci import github, junit, markdown
from switchproof.reports.kept import index
from switchproof.reports.page import conformance
from switchproof.reports.terminal import summary
from tests.reports import endings, pages, stories
from tests.reports.endings import ENDINGS
from tests.reports.runs import keep
from tests.reports.story import Story

FOLDER = Path("reports/runs/20261123T151203Z-deploy-ovh-1a2b3c4")


@pytest.fixture(params=ENDINGS)
def ending(request: pytest.FixtureRequest) -> str:
    """A way in which a run can end."""
    name: str = request.param
    return name


@pytest.fixture
def record(ending: str) -> Record:
    """The record of a run that ended so."""
    return ENDINGS[ending]().record()


def words(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def terminal(record: Record) -> str:
    return words(summary.render(record, FOLDER))


def html(record: Record) -> str:
    return re.sub(r" (?=[,.;:])", "", words(pages.read(conformance.render(record)).text))


def suites(record: Record) -> list[tuple[dict[str, str], ET.Element]]:
    root = ET.fromstring(junit.render(record))  # noqa: S314 - our own output
    return [
        ({each.get("name", ""): each.get("value", "") for each in suite.iter("property")}, suite) for suite in root
    ]


def red(suite: ET.Element) -> bool:
    return any(suite.find(f"testcase/{tag}") is not None for tag in ("failure", "error"))


def test_the_verdict_is_one_word(ending: str, record: Record, tmp_path: Path) -> None:
    """Terminal, report, list of runs, summary, JUnit and CI's output have the same word."""
    word = reading.verdict_word(record)
    keep(tmp_path, ENDINGS[ending]())
    listed = pages.read(index.write(tmp_path, tmp_path).read_text(encoding="utf-8")).text
    assert summary.render(record, FOLDER).startswith(f"{word.upper()}  ")
    assert f" {word.upper()}: {record.run.mode}" in words(markdown.render(record).splitlines()[0])
    assert word in html(record).lower()
    if record.run.finished:
        assert f"{reading.SHAPES[word]} {word}" in words(listed)
    assert f"\n{word}\n" in github.outputs(record, FOLDER)
    assert {properties["run-verdict"] for properties, _ in suites(record)} == {word}


def test_the_exit_code_is_one_number(record: Record) -> None:
    """Terminal, report, summary and JUnit have the same exit code, and the same words for it."""
    code, meaning = record.run.exit_code, words(reading.exit_meaning(record))
    assert f"Exit {'code' if code is None else int(code)}: {meaning}" in terminal(record)
    assert meaning in html(record)
    number = "" if code is None else f"exit {int(code)}, "
    assert f"{number}{meaning};" in words(markdown.render(record))
    if code is not None:
        assert f"exit code {int(code)}, " in html(record)
        assert {properties["exit-code"] for properties, _ in suites(record)} == {str(int(code))}


def test_only_exit_code_0_is_green(record: Record) -> None:
    """A run that ends with another code has a red case in JUnit and an error on GitHub; one with 0 has neither."""
    is_good = record.run.exit_code == ExitCode.CANONICAL
    assert any(red(suite) for _, suite in suites(record)) is not is_good
    assert bool(github.errors(record)) is not is_good


def test_the_reason_is_one_sentence(record: Record) -> None:
    """The numbers of failed hosts and causes stand in one sentence, which the outputs for people share."""
    sentence = words(reading.sentence(record))
    assert sentence in terminal(record)
    assert sentence in html(record)
    assert sentence in words(markdown.render(record))


def test_failed_hosts_and_causes_are_the_same_number(record: Record) -> None:
    """JUnit is red for the hosts of the causes, names each cause, and GitHub has an error for each."""
    named = causes.explaining(record)
    hosts = {host for cause in named for host in cause.hosts}
    of_suites = {(suite.get("hostname", ""), known["cause"]) for known, suite in suites(record) if "cause" in known}
    assert {host for host, _ in of_suites} == hosts
    assert len({what for _, what in of_suites}) >= len(named) or not named
    forward = {suite.get("hostname") for _, suite in suites(record) if red(suite) and suite.get("hostname")}
    assert hosts <= forward
    errors = [line for line in github.errors(record) if ": unsafe::" not in line.replace("%3A", ":")]
    assert len(errors) == (max(len(named), 1) if record.run.exit_code != ExitCode.CANONICAL else 0)
    for cause in named:
        assert words(cause.check.message.partition("\n")[0]) in terminal(record)


def test_forty_hosts_are_counted_alike() -> None:
    """Where sixteen of forty hosts failed, each output for people counts them and names each cause."""
    record = ENDINGS["fleet"]().record()
    counted = "16 of 40 hosts failed, for 4 causes"
    for shown in (terminal(record), html(record), words(markdown.render(record))):
        assert counted in shown
        assert (
            len(set(re.findall(r"the disk is full|the unit is masked|the port is taken|the key is gone", shown))) == 4
        )
    assert len(github.errors(record)) == 4
    assert len(markdown.render(record).splitlines()) < 140
    for shown in (terminal(record), words(markdown.render(record))):
        assert "24 hosts passed every clause" in shown
        assert "h1, h2, h3 and 13 more" in shown
    assert len(summary.render(record, FOLDER).splitlines()) < 30


@pytest.mark.parametrize("ending", ["refused", "locked"])
def test_hosts_that_were_not_asked_have_no_table(ending: str) -> None:
    """Where nothing was touched, the terminal shows the reason and no rows of answers that nobody asked for."""
    shown = terminal(ENDINGS[ending]().record())
    assert "Nothing was touched" in shown
    assert "inconclusive" not in shown


def test_a_plan_shows_the_same_change_once() -> None:
    """Hosts that would change alike share its lines; the paths of their own systems are in the report."""
    story = endings.plan()
    same = ENDINGS["planned"]().record()
    for shown in (terminal(same), words(markdown.render(same))):
        assert "b and c would change" in shown
        assert shown.count("would restart web.service") == 1
        assert "/nix/store" not in shown
    for number, event in enumerate(story.events):
        if isinstance(event, CheckFinished) and event.host == "c":
            story.events[number] = msgspec.structs.replace(
                event, seen="runs /nix/store/old\nwould restart db.service"
            )
    for shown in (terminal(story.record()), words(markdown.render(story.record()))):
        assert "b would change" in shown
        assert "c would change" in shown
        assert shown.count("runs /nix/store/old") == 2


def test_a_terminal_names_eleven_causes_and_counts_the_rest() -> None:
    """Where every host has a cause of its own, the terminal still ends on one screen."""
    story = Story(*(f"h{number}" for number in range(30)))
    for name in story.names:
        story.check(name, Clause.REVISION, "commit", Verdict.FAILED, f"for reason {name}")
        story.left(name, HostState.UNCHANGED, "Nothing was begun.")
    shown = summary.render(story.ended(ExitCode.SAFE_FAILURE).record(), FOLDER)
    assert "30 of 30 hosts failed, for 30 causes; first, on host h0," in words(shown)
    assert shown.count("\n- host h") == 10
    assert "\n- and 19 more causes, in the report\n" in shown


@pytest.mark.parametrize(
    "ending", ["found-healthy", "found-unhealthy", "found-nothing", "found-unhealthy-and-nothing"]
)
def test_an_audit_says_what_was_found(ending: str) -> None:
    """No output of an audit calls a host unchanged, converged or safe; it was found healthy or found unhealthy."""
    record = ENDINGS[ending]().record()
    shown = [terminal(record), words(markdown.render(record))]
    for text in shown:
        for host in record.hosts:
            if host.state is not HostState.UNKNOWN:
                assert f"{host.name} was {host.state.replace('-', ' ')}" in text.replace("**", "")
    for text in [*shown, html(record), github.outputs(record, FOLDER), junit.render(record)]:
        assert not re.search(r"\b(un)?safe\b|unchanged|converged\b(?! to)", text.replace(" unsafe until ", ""))


@pytest.mark.parametrize("ending", ["ready", "unready", "interrupted-preflight", "planned"])
def test_a_look_ahead_does_not_speak_of_what_it_does_not_ask(ending: str, tmp_path: Path) -> None:
    """A preflight and a plan ask nothing for four clauses, and no output names those."""
    record = ENDINGS[ending]().record()
    keep(tmp_path, ENDINGS[ending]())
    page = index.write(tmp_path, tmp_path).read_text(encoding="utf-8")
    listed = re.sub(r"(?s)<style>.*</style>", "", page)  # the style sheet names every verdict
    shown = [terminal(record), junit.render(record), markdown.render(record), "\n".join(github.errors(record))]
    shown += [html(record), pages.read(listed).text]
    for text in shown:
        assert not re.search(r"hypervisor|runtime|diagnostics|blocked", text)


@pytest.mark.parametrize("ending", ["ready", "planned"])
def test_a_look_ahead_that_found_nothing_shows_nothing_inconclusive(ending: str) -> None:
    """Under the word *ready* no host is inconclusive for a clause that was never asked."""
    assert "inconclusive" not in html(ENDINGS[ending]().record())


def test_a_plan_that_failed_has_a_table_of_what_it_asked() -> None:
    """The terminal's table of a plan has a column for each clause with a check, and no other."""
    story = endings.plan()
    story.events.pop()
    story.check("b", Clause.CONVERGE, "changes", Verdict.FAILED, "the build failed", title="The plan is made")
    shown = terminal(story.ended(ExitCode.SAFE_FAILURE).record())
    assert "host converge b failed c passed" in shown


def test_each_row_of_a_look_ahead_has_a_cell_for_each_column() -> None:
    """A host without any check has an inconclusive cell where other hosts have a verdict, not a shorter row."""
    story = stories.preflight(
        ExitCode.INTERRUPTED, ("a", "room", Verdict.PASSED, ""), ("b", "room", Verdict.PASSED, "")
    )
    story.events = [event for event in story.events if not (isinstance(event, CheckFinished) and event.host == "b")]
    started = story.events[0]
    assert isinstance(started, RunStarted)
    story.events[0] = msgspec.structs.replace(started, expected=started.expected[:1])
    rows = pages.read(conformance.render(story.record())).one("table", class_="matrix").all("tbody")
    assert [row.all("td")[0].text.split()[-1] for row in rows] == ["passed", "inconclusive"]
