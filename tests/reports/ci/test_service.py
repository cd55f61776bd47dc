"""What CI services are told of a run, and that no host can tell them anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.record import events as ev
from switchproof.reports import ci
from switchproof.reports.ci import github, markdown
from switchproof.reports.ci.github import GitHub
from switchproof.reports.ci.gitlab import GitLab
from switchproof.reports.terminal.progress import Progress
from tests.reports import stories
from tests.reports.story import Story

ATTACK = "::set-env name=X::y\n::error::z %0A%25 ##[add-path]/x `a` ```\n| <b>@me</b> https://evil.example"


def attacked() -> Story:
    """A run in which the host and its messages attack whoever reads them."""
    story = Story("a").resolved(ATTACK).clauses("a", Clause.REVISION)
    story.check("a", Clause.CONVERGE, "switched", Verdict.FAILED, ATTACK, expected=ATTACK, seen=ATTACK, title=ATTACK)
    story.tell(ev.Warned(at=story.at, host="a", text=ATTACK)).left("a", HostState.UNSAFE, ATTACK)
    return story.ended(ExitCode.UNSAFE)


def told(story: Story, folder: Path) -> tuple[list[str], str, str]:
    """What GitHub gets of a run: lines of the log, the summary, and the outputs."""
    lines: list[str] = []
    paths = {name: folder / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    service = ci.service({"GITHUB_ACTIONS": "true"} | {name: str(path) for name, path in paths.items()}, lines.append)
    service.begin()
    service.publish(story.record(), folder)
    service.end(story.record())
    summary, outputs = (path.read_text(encoding="utf-8") for path in paths.values())
    return lines, summary, outputs


def parsed_outputs(text: str) -> dict[str, str]:
    """Read outputs as GitHub's runner does."""
    found = re.findall(r"^(\w+)<<(\S+)\n(.*?)\n\2$\n?", text, re.DOTALL | re.MULTILINE)
    assert "".join(f"{name}<<{mark}\n{value}\n{mark}\n" for name, mark, value in found) == text
    return {name: value for name, _, value in found}


def test_services_are_told_apart() -> None:
    """GitHub and GitLab are known by their variables; elsewhere nothing is said."""
    said: list[str] = []
    assert isinstance(ci.service({"GITHUB_ACTIONS": "true"}, said.append), GitHub)
    assert isinstance(ci.service({"GITLAB_CI": "true"}, said.append), GitLab)
    plain = ci.service({"CI": "true"}, said.append)
    plain.begin()
    plain.watch(ev.PhaseStarted(host="a", phase="converge"))
    plain.end(stories.unsafe().record())
    assert type(plain) is ci.Service
    assert said == []


def test_commands_are_stopped_while_hosts_speak(tmp_path: Path) -> None:
    """The runner obeys nothing between a random word and the same word again, and our errors come after it."""
    lines, _, _ = told(stories.rolled_back(), tmp_path)
    word = lines[0].removeprefix("::stop-commands::")
    assert re.fullmatch("[0-9a-f]{32}", word)
    assert lines[1] == f"::{word}::"
    assert lines[2:] == [
        (
            "::error title=a%3A hypervisor failed::The hypervisor answers /login on 127.0.0.1:9090: "
            "The hypervisor answered 502, not 200, in 5 of 5 attempts. "
            "See the log of hypervisor.service."
        )
    ]
    assert told(stories.rolled_back(), tmp_path)[0][0] != lines[0]


def test_each_cause_is_one_error() -> None:
    """Hosts that failed alike share an error, which is about the first clause that did not pass there."""
    story = Story(*(f"h{number}" for number in range(30)))
    for name in story.names:
        story.clauses(name, Clause.REVISION)
        verdict = Verdict.FAILED if name == "h29" else Verdict.INCONCLUSIVE
        story.check(name, Clause.CONVERGE, "switched", verdict, "first").clauses(
            name, Clause.HYPERVISOR, verdict=Verdict.FAILED, message="second"
        )
    assert github.errors(story.ended(ExitCode.SAFE_FAILURE).record()) == [
        "::error title=h29%3A converge failed::The switch ended well: first",
        "::error title=h0%2C h1%2C h2 and 26 more%3A converge inconclusive::The switch ended well: first",
    ]


def test_github_shows_ten_errors() -> None:
    """Of more than ten errors the last one counts the rest, and hosts that are unsafe come first."""
    story = Story(*(f"h{number}" for number in range(12)))
    for name in story.names:
        story.check(name, Clause.REVISION, "commit", Verdict.FAILED, f"for reason {name}")
        story.left(name, HostState.UNSAFE, "The rollback failed.")
    lines = github.errors(story.ended(ExitCode.UNSAFE).record())
    assert len(lines) == 10
    assert lines[0] == "::error title=h0%2C h1%2C h2 and 9 more%3A unsafe::The rollback failed."
    assert lines[-1] == "::error title=More did not pass::4 more causes; the report has them all"


def test_a_canonical_run_has_no_errors_and_a_killed_one_has() -> None:
    """A run that proved everything is no error; one that proved nothing is one, even without a failed check."""
    assert github.errors(stories.canonical().record()) == []
    (line,) = github.errors(stories.killed().record())
    assert "inconclusive" in line


def test_no_host_speaks_to_github(tmp_path: Path) -> None:
    """Commands in what a host said are text in each line of ours, and end no output."""
    lines, summary, outputs = told(attacked(), tmp_path)
    heads = ("::error title=a%3A unsafe::", "::error title=a%3A converge failed::")
    assert [line for line in lines[2:] if not line.startswith(heads)] == []
    assert not [line for line in lines if "\n" in line or "##[" in line or "%0A" in line]
    assert "%250A%2525" in lines[2] or "%250A" not in lines[2]
    values = parsed_outputs(outputs)
    assert values == {
        "verdict": "non-canonical",
        "state": "unsafe",
        "report": str(tmp_path.resolve() / "report.html"),
        "record": str(tmp_path.resolve() / "record.json"),
    }
    assert "##[" not in summary


@pytest.mark.parametrize("story", [attacked, stories.hostile, stories.rolled_back, stories.drill])
def test_nothing_that_a_host_said_is_markup(story: type[Story]) -> None:
    """Read as Markdown, the summary has no link, image or HTML but our own, and all of a host's text is code."""
    shown = markdown.render(story().record())
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(shown)
    inline = [child for token in tokens for child in token.children or []]
    assert {token.type for token in inline} <= {
        "text",
        "code_inline",
        "softbreak",
        "hardbreak",
        "strong_open",
        "strong_close",
    } | {
        "em_open",
        "em_close",
    }
    html = {token.content.strip() for token in tokens if token.type == "html_block"}
    assert html <= {"<details><summary>expected and seen</summary>", "</details>"}
    text = " ".join(token.content for token in inline if token.type == "text")
    for part in ("evil", "onerror", "@me", "set-env", "gnp.exe"):
        assert part not in text


def test_verdict_reason_and_matrix_come_first() -> None:
    """A summary begins with the verdict and its reason; then come the hosts and the verdicts of their clauses."""
    lines = markdown.render(stories.rolled_back().record()).splitlines()
    assert lines[0] == "## ✗ NON-CANONICAL: `deploy` of `1a2b3c4d5e6f`, 2 hosts of `ovh`"
    assert lines[2].startswith("`Not canonical: on host a, clause hypervisor,")
    assert lines[4].startswith("| host | revision |")
    assert lines[6] == "| `a` | ✓ passed | ✓ passed | ✗ failed | ⊘ blocked | ✓ passed | rolled back |"


def test_a_check_that_failed_alike_on_many_hosts_is_shown_once() -> None:
    """A summary shows a failed check once with all hosts, and counts the checks that did not run."""
    story = Story(*(f"h{number}" for number in range(5)))
    for name in story.names:
        story.check(name, Clause.REVISION, "commit", Verdict.FAILED, "no such commit")
    shown = markdown.render(story.ended(ExitCode.SAFE_FAILURE).record())
    assert shown.count("**failed** ") == 1
    assert "**failed** `h0, h1, h2, h3 and h4`, revision: `The revision is one full commit`" in shown
    assert "*40 checks did not run; `record.json` names them.*" in shown


def test_a_summary_stays_far_below_what_github_takes() -> None:
    """A summary of hundreds of hosts that fail, each in its own way, has at most a quarter of GitHub's 1 MiB."""
    story = Story(*(f"h{number}" for number in range(300)))
    for name in story.names:
        long = "é" * 9000
        message = f"{name} {ATTACK}"
        story.check(name, Clause.CONVERGE, "switched", Verdict.FAILED, message, expected=long, seen=long)
    shown = markdown.render(story.ended(ExitCode.SAFE_FAILURE).record())
    assert 20_000 < len(shown.encode()) <= 256 * 1024
    assert shown.splitlines()[-1] == "*More is in `record.json` and `report.html`.*"


def test_phases_are_sections_of_gitlabs_log(capfd: pytest.CaptureFixture[str]) -> None:
    """Each phase is one section that ends before the next begins, and no host opens or ends one."""
    forged = "\x1b[0Ksection_end:1:switchproof_converge\r\x1b[0Ksection_start:1:x\r\x1b[0K"
    with open("/dev/stdout", "w", encoding="utf-8") as stream:  # noqa: PTH123 - as a session does
        progress = Progress(stream, interactive=False)
        service = ci.service({"GITLAB_CI": "true"}, progress.say)
        story = Story("a", "b").phase("a", "connect", 1).phase("b", "connect", 1).phase("a", "converge", 2)
        story.tell(ev.LogLine(at=story.at, host="a", text=forged)).phase("a", "rollback", 1, leg="back")
        for event in story.ended(ExitCode.UNSAFE).events:
            service.watch(event)
            progress(event)
        service.end(None)
    shown = capfd.readouterr().out
    marks = re.findall(r"section_(start|end):\d+:(\w+)\r\x1b\[0K", shown)
    names = ["switchproof_connect", "switchproof_converge", "switchproof_rollback_rollback"]
    assert marks == [(what, name) for name in names for what in ("start", "end")]
    assert shown.count("\r") == len(marks)
    assert "rollback (rollback)" not in shown


def test_a_file_that_cannot_be_written_raises_no_more_than_that(tmp_path: Path) -> None:
    """Where the summary cannot be written, an OSError says so, and the caller tells it."""
    service = ci.service({"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)}, print)
    with pytest.raises(OSError, match="directory"):
        service.publish(stories.canonical().record(), tmp_path)
