"""The last lines on the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from switchproof.command import arguments
from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.record.events import PromotedFrom
from switchproof.reports.advice import RETURN
from switchproof.reports.reading import EXIT_MEANINGS
from switchproof.reports.terminal import summary
from tests.reports import stories
from tests.reports.endings import ENDINGS
from tests.reports.story import CHECKS, SHA, Story

FOLDER = Path("reports/runs/20261123T151203Z-deploy-ovh-1a2b3c4")
STORIES = [
    stories.canonical,
    stories.rolled_back,
    stories.unsafe,
    stories.inconclusive,
    stories.killed,
    stories.drill,
    stories.returned,
]


def lines(story: Story) -> list[str]:
    return summary.render(story.record(), FOLDER).splitlines()


@pytest.mark.parametrize("story", [*STORIES, stories.hostile])
def test_plain_text_keeps_to_eighty_columns(story: type[Story]) -> None:
    """Without colour there is no escape, and only paths and commands may be longer than 80 columns."""
    for line in lines(story()):
        assert "\x1b" not in line
        assert len(line) <= 80 or "pytest --" in line or "/evidence/" in line


@pytest.mark.parametrize("story", STORIES)
def test_table_is_aligned(story: type[Story]) -> None:
    """Every verdict stands below the name of its clause."""
    shown = lines(story())
    head = next(index for index, line in enumerate(shown) if line.startswith("host "))
    starts = [shown[head].index(clause) for clause in Clause]
    record = story().record()
    for line, host in zip(shown[head + 1 :], record.hosts[:1], strict=False):
        for start, clause in zip(starts, host.clauses, strict=True):
            assert line[start:].startswith(clause.verdict)


@pytest.mark.parametrize(
    ("story", "command"),
    [
        (stories.canonical, f"switchproof audit --provider=ovh --sha={SHA}"),
        (stories.inconclusive, "switchproof audit --provider=ovh"),
        (stories.unsafe, "switchproof rollback --provider=lab 41 --host=a"),
    ],
)
def test_the_next_command_is_of_the_kind_that_started_the_run(story: type[Story], command: str) -> None:
    """A run of the command names the command, which works where plain pytest does not, and in words that it takes."""
    record = story().record()
    record.run.options["args"] = "switchproof deploy --provider=ovh"
    assert command in [line.strip() for line in summary.render(record, FOLDER).splitlines()]
    _, verb, *words = command.split()
    assert arguments(verb, words)


def test_colour_changes_no_character() -> None:
    """With colour the same text is there, with escapes around it."""
    record = stories.unsafe().record()
    coloured = summary.render(record, FOLDER, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == summary.render(record, FOLDER)


def test_what_let_a_deploy_through_is_told() -> None:
    """A deploy that passed the gate says which run and which signer let it through, inert and within the width."""
    record = stories.canonical().record()
    assert "Promoted" not in summary.render(record, FOLDER)
    record.promoted_from = PromotedFrom(
        record="runs/20261122T090000Z-deploy-ovh-1a2b3c4/record.json",
        run="20261122T090000Z-deploy-ovh-1a2b3c4",
        signer="ci@\x1b[2Jstaging",
        statement_sha256="ab" * 32,
    )
    shown = summary.render(record, FOLDER)
    assert "\x1b" not in shown
    assert "Promoted from run 20261122T090000Z-deploy-ovh-1a2b3c4, signed by ci@" in " ".join(shown.split())
    assert "(statement abababababab)" in " ".join(shown.split())
    assert "\n  runs/20261122T090000Z-deploy-ovh-1a2b3c4/record.json\n" in shown


def test_long_host_name_has_its_own_line() -> None:
    """A host whose name leaves no room for five verdicts keeps its whole name, on a line above them."""
    name = "production-hypervisor-in-gravelines-17.example.org"
    shown = lines(stories.canonical(name))
    assert name in shown
    assert shown[shown.index(name) + 1].split() == ["passed"] * 5


def test_unsafe_host_is_what_comes_next() -> None:
    """An unsafe host is named with where its diagnostics are and how to bring it back."""
    shown = " ".join(" ".join(lines(stories.unsafe())).split())
    assert "Exit 10: not canonical, and some host is unsafe" in shown
    assert f"Look at host a now. Its diagnostics: {FOLDER}/evidence/a/" in shown
    assert "pytest --provider=lab --rollback=41 --host=a" in shown


def test_inconclusive_run_asks_for_an_audit() -> None:
    """After an inconclusive run the audit of the same provider is the next command."""
    assert "  pytest --provider=ovh --audit" in lines(stories.inconclusive())


def test_commands_keep_targets_and_hosts() -> None:
    """A command to copy names the same target file and the same hosts as the run did."""
    story = stories.canonical("a", "b", options={"targets": "my hosts.toml", "host": "a,@edge"})
    command = lines(story)[-1]
    assert command.endswith(f"--audit --sha={SHA} '--targets=my hosts.toml' --host=a --host=@edge")


def test_lock_holder_is_named() -> None:
    """Whoever is locked out is told who holds the lock."""
    story = Story("a").resolved().clauses("a", Clause.REVISION)
    held = "Held by ci@runner-7 (run 42) since 15:02:11Z."
    story.check("a", Clause.CONVERGE, "switched", Verdict.INCONCLUSIVE, held)
    story.left("a", HostState.UNCHANGED, held).ended(ExitCode.LOCKED)
    shown = " ".join(" ".join(lines(story)).split())
    assert "Exit 75: another deploy holds a host's lock" in shown
    assert f"Nothing was touched. {held}" in shown
    assert shown.count(held) == 1
    assert "When no run holds the hosts any longer, run again." in shown


def test_cause_is_followed_by_last_words_file_and_remedy() -> None:
    """Whoever sees only the terminal reads why a unit failed, which file has the rest, and what to try."""
    story = Story("a").resolved().connected("a").clauses("a", Clause.REVISION)
    said = [
        "2026-11-23T15:12:03+00:00 a job[7]: ls: /data: No such file",
        "x" * 99,
        "y",
    ]
    quoted = "\n  ".join(["the last words of job.service:", *said]) + "\nthe last words of web.service:\n  no room"
    story.check(
        "a",
        Clause.CONVERGE,
        "no-new-failures",
        Verdict.FAILED,
        f"job.service failed in the switch\n{quoted}",
        evidence=("evidence/a/converge.log", "evidence/a/diagnostics/journal/job.service.txt"),
        remedy="Read the journal of job.service.",
    )
    story.left("a", HostState.ROLLED_BACK, "It went back.").ended(ExitCode.SAFE_FAILURE)
    shown = lines(story)
    start = shown.index("the last words of job.service:")
    assert shown[start + 1] == "  job[7]: ls: /data: No such file"
    assert shown[start + 2] == f"  {'x' * 77}…"
    assert shown[start + 3] == "  y"
    assert shown[start + 4] == f"Read: {FOLDER}/evidence/a/diagnostics/journal/job.service.txt"
    assert shown[start + 5] == "Try: Read the journal of job.service."
    assert shown[start + 6] == ""


def test_interrupted_run_says_so_and_nothing_of_what_it_cut_off() -> None:
    """Whoever pressed Ctrl-C is not told of lost connections and checks that did not run, which follow from that."""
    story = Story("a", "b").resolved().connected("a").clauses("a", Clause.REVISION).clauses("b", Clause.REVISION)
    for host in ("a", "b"):
        story.check(
            host, Clause.CONVERGE, "switched", Verdict.INCONCLUSIVE, f"lost in act {ord(host)}", remedy="Wait."
        )
        story.left(host, HostState.ROLLED_BACK, "It went back.")
    shown = " ".join(lines(story.ended(ExitCode.INTERRUPTED, interrupted="ended by SIGINT")))
    assert "Nothing is proven: the run was interrupted (ended by SIGINT)." in shown
    assert "lost in act" not in shown
    assert "No host needs help now. To do what was interrupted, run the same command again." in shown


def test_host_that_is_about_to_go_back_is_to_be_waited_for() -> None:
    """A rollback would be refused while a host waits for its confirmation, so an audit does not name one."""
    story = Story("a", mode="audit").resolved().clauses("a", Clause.REVISION)
    story.check("a", Clause.CONVERGE, RETURN, Verdict.FAILED, "the host returns to /nix/store/x", title="No return")
    story.left("a", HostState.FOUND_UNHEALTHY, "Not every clause passed.").ended(ExitCode.SAFE_FAILURE)
    shown = " ".join(" ".join(lines(story)).split())
    assert "a will go back unless the run that switched it confirms. Wait until then, and audit again:" in shown
    assert "--rollback" not in shown


def test_quiet_states_need_no_reason() -> None:
    """A state's reason is told where the host is neither converged nor unchanged."""
    shown = lines(stories.rolled_back())
    assert "b is converged" in shown
    assert "a is rolled back: It runs the toplevel it had before, verified by every check." in shown


def test_warning_is_told_after_the_states() -> None:
    """That a host went back by itself is told at the end of every run that hears of it, whatever its verdict."""
    shown = " ".join(" ".join(lines(stories.returned())).split())
    assert "CANONICAL" in shown
    assert "a: It went back by itself at 2026-11-23T14:00:00Z: not confirmed." in shown


def test_drill_tells_its_three_legs() -> None:
    """A drill's sentence counts the checks of all legs, and the table has a row for each."""
    shown = lines(stories.drill("a"))
    said = " ".join(" ".join(shown).split())
    assert "held on 1 host, deployed, gone back and deployed again: 27 of 27 checks passed." in said
    assert [line.split()[0:2] for line in shown if line.startswith("a (")] == [["a", "(rollback)"], ["a", "(again)"]]


def test_every_exit_code_has_a_meaning() -> None:
    """No exit code of the contract is left without a meaning."""
    assert set(ExitCode) <= set(EXIT_MEANINGS)


def test_host_that_nobody_could_log_in_to_is_not_to_be_audited() -> None:
    """After a failed login the next step is the remedy of that, as an audit would get no further."""
    story = Story("a")
    remedy = "Give the key that the host accepts with IdentityFile in ssh_config."
    for check, _ in CHECKS[Clause.REVISION]:
        story.check("a", Clause.REVISION, check, Verdict.INCONCLUSIVE, "a: no key was accepted.", remedy=remedy)
    story.left("a", HostState.UNCHANGED, "Nothing was started on this host.").ended(ExitCode.INCONCLUSIVE)
    shown = " ".join(summary.render(story.record(), FOLDER).split())
    assert f"No host was reached, so nothing was touched. {remedy}" in shown
    assert "--audit" not in shown


def test_a_preflight_shows_each_finding_once_with_its_hosts() -> None:
    """All findings come at once, with no table of clauses that a preflight does not look at."""
    room, clock = "1 MiB is free", "no answer"
    found = [("a", "room", Verdict.FAILED, room), ("b", "room", Verdict.FAILED, room)]
    found += [("b", "clock", Verdict.INCONCLUSIVE, clock), ("b", "units", Verdict.PASSED, "")]
    shown = lines(stories.preflight(ExitCode.SAFE_FAILURE, *found))
    assert f"failed  a and b: {room}" in shown
    assert f"inconclusive  b: {clock}" in shown
    assert not any("hypervisor" in line or "units" in line for line in shown)
    assert shown[-1] == "Nothing was changed. Correct what was found, and run the preflight again."


def test_durations_are_of_phases() -> None:
    """The option `--durations` shows which host spent its time in which phase, the longest first."""
    story = Story("a", "b").phase("a", "connect", 0.1).phase("a", "converge", 12.3).phase("b", "observe", 31.0)
    record = story.phase("b", "rollback", 4.0, leg="back").ended(ExitCode.SAFE_FAILURE).record()
    assert summary.durations(record, 2).splitlines() == [
        "slowest 2 phases:",
        "   31.00 s  b observe",
        "   12.30 s  a converge",
    ]
    assert summary.durations(record, 0, at_least_s=1.0).splitlines()[-1] == "    4.00 s  b rollback"


def test_no_summary_has_two_blank_lines_in_a_row() -> None:
    """Parts that a mode does not have leave no gap."""
    for story in ENDINGS.values():
        assert "\n\n\n" not in summary.render(story().record(), FOLDER)
