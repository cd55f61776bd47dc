"""Why a run is not canonical: hosts that failed alike are told together."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.reports import causes, reading
from switchproof.reports.page.conformance import render
from switchproof.reports.terminal import summary
from tests.reports import stories
from tests.reports.pages import read
from tests.reports.story import Story

CRASHED = (
    "hypervisor.service failed 5 times with exit-code {n}\nnot active: hypervisor.service auto-restart\ntry: read it"
)


def fleet(**failures: tuple[Clause, str, Verdict, str]) -> Story:
    """Make a run of twelve hosts on which some checks failed; every other check passed."""
    names = [f"h{number}" for number in range(1, 13)]
    story = Story(*names).resolved()
    for name in names:
        clause, check, verdict, message = failures.get(name, (None, "", Verdict.PASSED, ""))
        for one in Clause:
            if one is clause:
                story.check(name, one, check, verdict, message=message)
            else:
                story.clauses(name, one)
        story.left(name, HostState.ROLLED_BACK if name in failures else HostState.CONVERGED, "every check passed")
    return story.ended(ExitCode.SAFE_FAILURE)


SPLIT = {
    "h2": (Clause.HYPERVISOR, "answers", Verdict.FAILED, "it answers HTTP 500 after 0.2 s at choiros-h2"),
    "h3": (Clause.CONVERGE, "switched", Verdict.FAILED, "the switch failed"),
    "h5": (Clause.HYPERVISOR, "answers", Verdict.FAILED, "it answers HTTP 500 after 12.9 s at choiros-h5"),
    "h7": (Clause.HYPERVISOR, "answers", Verdict.FAILED, "nobody listens on 127.0.0.1:9090"),
    "h9": (Clause.RUNTIME, "live", Verdict.INCONCLUSIVE, "ss did not answer"),
}


def test_hosts_that_failed_alike_are_one_cause() -> None:
    """The same check with one message, but for times and the hosts' own names, is one cause of all its hosts."""
    found = causes.causes_of(fleet(**SPLIT).record())
    assert [(cause.hosts, cause.check.id) for cause in found] == [
        (("h3",), "switched"),
        (("h2", "h5"), "answers"),
        (("h7",), "answers"),
        (("h9",), "live"),
    ]


def test_hosts_that_answered_differently_are_two_causes() -> None:
    """A status, a port or an exit code says what happened: no host is said to have answered as another did."""
    messages = (
        "it answers HTTP 500 after 0.2 s",
        "it answers HTTP 404 after 0.2 s",
        "it answers HTTP 500 after 31 s",
    )
    failures = {
        f"h{number}": (Clause.HYPERVISOR, "answers", Verdict.FAILED, message)
        for number, message in enumerate(messages, 1)
    }
    found = causes.causes_of(fleet(**failures).record())
    assert [cause.hosts for cause in found] == [("h1", "h3"), ("h2",)]


def test_the_sentence_counts_hosts_and_causes_before_it_names_the_first() -> None:
    """A fleet that failed for several causes is not told as one host's failure."""
    said = reading.sentence(fleet(**SPLIT).record())
    assert said.startswith(
        "Not canonical: 4 of 12 hosts failed and 1 gave no answer, for 4 causes; first, on host h3, clause converge,"
    )


def test_one_cause_of_several_hosts_names_them_all() -> None:
    """Where hosts failed alike there is one cause, and one sentence for it."""
    alike = dict.fromkeys(("h2", "h4", "h6"), SPLIT["h7"])
    said = reading.sentence(fleet(**alike).record())
    assert said.startswith("Not canonical: 3 of 12 hosts failed, for one cause: on hosts h2, h4 and h6, clause hyper")


def test_a_sentence_holds_the_cause_and_not_what_follows_it() -> None:
    """Of a message with cause, symptom and remedy, the sentence has the first line."""
    said = reading.sentence(fleet(h1=(Clause.HYPERVISOR, "active", Verdict.FAILED, CRASHED.format(n=1))).record())
    assert said.endswith("failed: hypervisor.service failed 5 times with exit-code 1.")


def test_the_terminal_shows_failing_hosts_and_counts_the_others() -> None:
    """Of more hosts than a screen holds, those that passed are one line of the table and one line of states."""
    shown = summary.render(fleet(**SPLIT).record(), Path("run"))
    assert "7 hosts passed every clause" in shown
    assert "\nh1  " not in shown
    assert "\nh1, h4, h6 and 4 more are converged\n" in shown
    assert "- hosts h2 and h5: clause hypervisor" in shown


def test_the_page_lists_causes_with_a_link_to_each_host_s_check() -> None:
    """The first screen has every cause, and each of its hosts leads to the check that failed there."""
    root = read(render(fleet(**SPLIT).record()))
    listed = root.one("ol", class_="causes").all("li")
    assert [[link.text for link in item.all("a")] for item in listed] == [["h3"], ["h2", "h5"], ["h7"], ["h9"]]
    ids = {one.attributes.get("id") for one in root.all()}
    assert {link.attributes["href"].removeprefix("#") for item in listed for link in item.all("a")} <= ids


def test_one_host_has_no_list_of_causes() -> None:
    """Where a single host failed, the sentence names the cause; what to try stands below it."""
    root = read(render(stories.rolled_back().record()))
    assert not root.all("ol", class_="causes")
    assert "Try: See the log of hypervisor.service" in root.one("section", class_="why").text


@pytest.mark.parametrize("hosts", [("a",), ("a", "b")], ids=["one-host", "several-hosts"])
def test_last_words_stand_with_the_cause(hosts: tuple[str, ...]) -> None:
    """Whoever reads only the top of the page reads why the unit failed."""
    story = Story(*hosts).resolved()
    for host in hosts:
        message = "failed: job.service\nthe last words of job.service:\n  ls: /data: No such file\n"
        story.clauses(host, Clause.REVISION).check(host, Clause.CONVERGE, "switched", Verdict.FAILED, message)
        story.left(host, HostState.ROLLED_BACK, "It went back.")
    root = read(render(story.ended(ExitCode.SAFE_FAILURE).record()))
    (quoted,) = root.one("section", class_="why").all("pre")
    assert quoted.text == "the last words of job.service: ls: /data: No such file"
