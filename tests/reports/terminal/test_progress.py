"""What is shown while a run is under way."""

from __future__ import annotations

import io
import os
import re
import threading

import pytest

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record import events as ev
from switchproof.reports.terminal.activity import Board
from switchproof.reports.terminal.progress import Progress
from tests.reports.story import HOSTILE, Story

LINE = re.compile(r"\d\d:\d\d:\d\dZ ")


def shown(story: Story) -> list[str]:
    stream = io.StringIO()
    progress = Progress(stream, interactive=False)
    for event in story.events:
        progress(event)
    return stream.getvalue().splitlines()


def test_phases_are_dated_lines() -> None:
    """Without a terminal a phase is a line when it begins and a line with its seconds when it ends."""
    assert shown(Story("a").tick(8).phase("a", "converge", 12.3))[1:] == [
        "15:12:11Z a converge started",
        "15:12:23Z a converge 12.3 s",
    ]


def test_commit_that_is_meant_is_told() -> None:
    """What was asked for is told with its commit and subject; an audit of what is there names what runs."""
    audit = ev.RevisionResolved(at=Story().at, requested="", sha="a" * 40, subject="")
    (asked,) = shown(Story("a").resolved())[1:]
    (found,) = shown(Story("a").tell(audit))[1:]
    assert re.search(r"Z main is [0-9a-f]{40}: Serve the new login page$", asked)
    assert found.endswith(f"Z what runs is {'a' * 40}")


def test_problem_of_a_phase_is_told() -> None:
    """A phase that did not end well says why."""
    assert shown(Story("a").phase("a", "converge", 2, problem="status 4"))[-1].endswith("2.0 s, problem: status 4")


def test_log_is_told_once_a_second() -> None:
    """A fast log shows at most a line a second, says how many it held back, and always shows its last lines."""
    story = Story("a").tell(ev.PhaseStarted(at=Story().at, host="a", phase="converge"))
    for number in range(100):
        story.tell(ev.LogLine(at=story.at, host="a", text=f"line {number}")).tick(0.03)
    story.tell(ev.PhaseFinished(at=story.at, host="a", phase="converge", seconds=3))
    log = [line.split("Z ", 1)[1] for line in shown(story)[2:-1]]
    assert log[:3] == ["a | line 0", "a (33 lines not shown) | line 34", "a (33 lines not shown) | line 68"]
    assert log[3:] == ["a (26 lines not shown) | line 95", *(f"a | line {number}" for number in range(96, 100))]


def test_failed_checks_are_told() -> None:
    """A check that failed or gave no answer is a line; one that passed or was blocked is none."""
    story = Story("a").clauses("a", Clause.REVISION).clauses("a", Clause.RUNTIME, verdict=Verdict.BLOCKED)
    story.check("a", Clause.HYPERVISOR, "answers", Verdict.FAILED, "502, not 200")
    (line,) = shown(story)[1:]
    assert line.endswith("a FAILED hypervisor: The hypervisor answers /login on 127.0.0.1:9090: 502, not 200")


def test_legs_and_warnings_are_told() -> None:
    """Phases and failed checks of later legs name the leg; a warning is told whole, and is not to be overlooked."""
    story = Story("a").phase("a", "converge", 2, leg="again").phase("a", "wait", 3, leg="back")
    story.phase("a", "rollback", 4, leg="back")
    story.check("a", Clause.RUNTIME, "live", Verdict.FAILED, "502", leg="again")
    story.tell(ev.Warned(at=story.at, host="a", text="It went back by itself. " + "x" * 300))
    told = [line.split("Z ", 1)[1] for line in shown(story)[1:] if "started" not in line]
    assert told[:3] == ["a converge (again) 2.0 s", "a wait (rollback) 3.0 s", "a rollback 4.0 s"]
    assert told[3].startswith("a (again) FAILED runtime: live")
    assert told[4].startswith("a NOTE WELL: It went back by itself. xxx")


def test_host_text_never_begins_a_line_and_commands_nothing() -> None:
    """Whatever a host says, every line begins with our time, and neither a terminal nor CI takes it for a command."""
    story = Story("a").tell(ev.LogLine(at=Story().at, host="a", text=f"one\r::error::two\u2028three {HOSTILE}"))
    story.check("a", Clause.RUNTIME, "live", Verdict.FAILED, f"{HOSTILE}\n::stop-commands::x")
    story.tell(ev.Noted(at=story.at, host="a", text="##[add-path]/tmp"))
    lines = shown(story)
    assert all(LINE.match(line) for line in lines)
    assert not [line for line in lines if "\x1b" in line or "##[" in line or "\u202e" in line]


@pytest.mark.parametrize("interactive", [True, False])
def test_terminal_that_went_away_stops_nothing(interactive: bool) -> None:
    """A closed or broken stream is no error."""

    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    for stream in (Broken(), io.StringIO()):
        progress = Progress(stream, interactive=interactive)
        progress.start()
        if not isinstance(stream, Broken):
            stream.close()
        for event in Story("a").phase("a", "converge", 1).check("a", Clause.RUNTIME, "live", Verdict.FAILED).events:
            progress(event)
        progress.stop()


def test_stream_without_unicode_shows_what_it_can() -> None:
    """A character that the stream's encoding lacks is replaced."""
    raw = io.BytesIO()
    progress = Progress(io.TextIOWrapper(raw, encoding="ascii"), interactive=False)
    progress(ev.Noted(host=None, text="größer"))
    assert raw.getvalue().endswith(b"run note: gr??er\n")


def test_live_table_shows_hosts_and_inert_text() -> None:
    """On a terminal each host has a row, and markup from a host's log is only text."""
    stream = io.StringIO()
    progress = Progress(stream, interactive=True)
    for event in Story("a", "b").tell(ev.PhaseStarted(host="a", phase="converge")).events:
        progress(event)
    progress(ev.LogLine(host="a", text="[red]building[/red]"))
    progress.start()
    progress.stop()
    assert "[red]building[/red]" in stream.getvalue()
    assert re.search(r"b +waiting", stream.getvalue())


def test_events_may_come_from_many_threads() -> None:
    """Threads that emit while the table redraws neither block each other nor lose a headline."""
    stream = io.StringIO()
    progress = Progress(stream, interactive=True)
    progress.start()

    def work(host: str) -> None:
        for number in range(200):
            progress(ev.LogLine(host=host, text=f"line {number}"))
        progress(ev.PhaseFinished(host=host, phase="converge", seconds=1))

    threads = [threading.Thread(target=work, args=(f"host-{number}",), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    progress.stop()
    assert not [thread for thread in threads if thread.is_alive()]
    assert all(f"host-{number} converge 1.0 s" in stream.getvalue() for number in range(8))


def test_one_cause_is_shown_once_and_whole() -> None:
    """However many checks give no answer for it, a cause is one line a host, whole on the first host."""
    said = f"{'no key was accepted, ' * 14}. Give the right key."
    story = Story("a", "b")
    for host, check in (("a", "full"), ("a", "noted"), ("b", "full")):
        story.check(host, Clause.REVISION, check, Verdict.INCONCLUSIVE, said, title=check)
    told = [line.split("Z ", 1)[1] for line in shown(story) if "INCONCLUSIVE" in line]
    assert told[0].endswith("Give the right key.")
    assert told[1:] == ["b INCONCLUSIVE revision: full: as on a"]


def test_a_failed_check_shows_the_first_line_of_its_message() -> None:
    """Quoted logs are for the summary and the evidence; a line that only introduces them is shown with them."""
    story = Story("a", "b")
    for host in story.names:
        said = f"job failed on {host}\nthe last words of job:\n  no"
        story.check(host, Clause.CONVERGE, "runs", Verdict.FAILED, said)
    story.check("a", Clause.CONVERGE, "switched", Verdict.FAILED, "the switch failed:\n  no room")
    told = [line.partition(" FAILED converge: ")[2] for line in shown(story)[1:]]
    assert [line.rpartition(": ")[2] for line in told[:2]] == ["job failed on a", "job failed on b"]
    assert told[2] == "The switch ended well: the switch failed: no room"


def test_two_checks_with_one_message_show_it_once() -> None:
    """Of an endpoint that does not answer, two checks fail for the same reason."""
    story = Story("a")
    for check in ("active", "answers"):
        story.check("a", Clause.HYPERVISOR, check, Verdict.FAILED, "no answer")
    first, second = (line.partition(" FAILED hypervisor: ")[2] for line in shown(story)[1:])
    assert (first, second) == (
        "hypervisor.service is active: no answer",
        "The hypervisor answers /login on 127.0.0.1:9090: as above",
    )


def waits(*states: tuple[float, str], hosts: int = 1) -> list[str]:
    """The lines of a host that waits, with what it reports some seconds after the last report."""
    story = Story("a", *(f"b{number}" for number in range(1, hosts)))
    story.tell(ev.PhaseStarted(at=Story().at, host="a", phase="observe"))
    for seconds, state in states:
        story.tick(seconds).tell(ev.LogLine(at=story.at, host="a", text=f"waiting: {state}"))
    return [line.split("| waiting: ", 1)[1] for line in shown(story)[2:]]


SOAK = [f"web: healthy ({left} s of the soak left)" for left in range(14, 0, -2)]


def test_a_log_says_every_two_seconds_what_is_waited_for_and_how_long_yet() -> None:
    """A log shows each line about a wait, though only its countdown changes and it comes a little early."""
    assert waits(*((1.9, line) for line in SOAK)) == SOAK


def test_many_hosts_that_wait_do_not_flood_a_log() -> None:
    """Of forty hosts each says every four seconds that nothing has changed; another state is shown at once."""
    lines = ["web: code 503 (at most 60 s left)", *SOAK]
    assert waits(*((2.0, line) for line in lines), hosts=40) == [lines[0], *SOAK[::2]]


def test_a_wait_names_endpoints_in_the_same_state_together() -> None:
    """What is waited for fits into a line of the live table, whose end may be cut."""
    (line,) = waits((0, "web: healthy (9 s of the soak left); live: no answer; api: healthy (9 s of the soak left)"))
    assert line == "live: no answer; web, api: healthy (9 s of the soak left)"
    assert waits((0, "a job to end")) == ["a job to end"]


class Terminal(io.StringIO):
    """A terminal."""

    def fileno(self) -> int:
        return 99


def test_lines_are_wrapped_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a long line goes on below its text, and no word but a long path is cut."""
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((60, 20)))
    stream = Terminal()
    progress = Progress(stream, interactive=True)
    path = "/nix/store/" + "x" * 60
    progress(ev.Noted(at=Story().at, host=None, text=f"{'twelve words ' * 6}{path}"))
    assert stream.getvalue().splitlines() == [
        "15:12:03Z run note: twelve words twelve words twelve words",
        "          twelve words twelve words twelve words",
        f"          {path}",
    ]


def test_build_without_output_is_told_with_what_it_builds_and_for_how_long() -> None:
    """Lines that were held back are told as soon as nothing follows them, and a silent build once a minute."""
    story = Story("a").tell(ev.PhaseStarted(at=Story().at, host="a", phase="converge"))
    board = Board()
    path = f"/nix/store/{'0' * 32}-linux-6.12.drv"
    for line in ("these derivations will be built:", f"building '{path}'...", "unpacking"):
        story.tell(ev.LogLine(at=story.at, host="a", text=line))
    for event in story.events:
        board.lines(event)
    quiet = [[line.text.split("Z ", 1)[1] for line in board.quiet(story.tick(s).at)] for s in (0.5, 1, 58.5, 30, 30)]
    assert quiet == [
        [],
        [f"a | building '{path}'...", "a | unpacking"],
        ["a still building linux-6.12, for 1 min 00 s"],
        [],
        ["a still building linux-6.12, for 2 min 00 s"],
    ]
    said = "stopping the following units: hypervisor.service"
    board.lines(ev.LogLine(at=story.tick(0).at, host="a", text=f"activating the configuration...\n{said}"))
    assert [line.text.split("Z ", 1)[1] for line in board.quiet(story.tick(60).at)][
        -1
    ] == "a still switching, for 1 min 00 s"
