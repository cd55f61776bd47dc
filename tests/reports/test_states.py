"""What is said of the hosts is true: a split fleet, an unhealthy host, a partial run and a report with holes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.contract import ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.record import facts
from switchproof.deploy.record.record import Record
from switchproof.deploy.run.leaving import audited_state
from switchproof.reports import advice, reading, text
from switchproof.reports.terminal import summary
from tests.reports import stories

NEW, OLD = "1a2b3c4d5e6f", "0f0f0f0f0f0f"


def split_fleet() -> Record:
    record = stories.rolled_back().record()
    host = record.host("a")
    assert host.before
    record.host("b").before = msgspec.structs.replace(host.before, generation=7)
    host.before = msgspec.structs.replace(host.before, revision=OLD + "0" * 28)
    return record


def audited(state: HostState) -> Record:
    record = stories.rolled_back().record()
    record.run.mode, record.verdict, record.run.exit_code = "audit", RunVerdict.NON_CANONICAL, 1
    for host in record.hosts:
        host.rollback, host.state = None, state
    return record


def test_a_split_fleet_is_called_split() -> None:
    """Where one host runs the new system and another the old one, terminal and page name both, with commits."""
    record = split_fleet()
    words = f"b runs {NEW} (new); a runs {OLD} (old)"
    assert reading.split(record) == f"the fleet is split: {words}"
    assert f"The fleet is split: {words}." in reading.aftermath(record)
    shown = " ".join(summary.render(record, Path("run")).split())
    assert f"Exit 1: not canonical; the fleet is split: {words}" in shown
    assert "safe" not in shown
    assert any("--rollback" in step.command and "--host=b" in step.command for step in advice.next_steps(record))


@pytest.mark.parametrize("story", [stories.canonical, stories.drill], ids=["canonical", "drill"])
def test_a_whole_fleet_is_not_called_split(story: object) -> None:
    """Hosts that all run the new system are not split."""
    assert callable(story)
    assert reading.split(story().record()) == ""


def test_an_audit_never_calls_an_unhealthy_host_safe() -> None:
    """Terminal and advice say that the host was found unhealthy, that nothing was changed, and what to do."""
    record = audited(HostState.FOUND_UNHEALTHY)
    shown = " ".join(summary.render(record, Path("run")).split())
    assert "Exit 1: found unhealthy: a and b; nothing was changed" in shown
    assert "a and b need help. Fix the first cause" in shown
    assert "pytest --provider=ovh --rollback --host=a" in shown
    for lie in ("safe", "No host needs help", "unchanged"):
        assert lie not in shown
    assert reading.aftermath(record) == "Both hosts were found unhealthy."


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.PASSED, HostState.FOUND_HEALTHY),
        (Verdict.WAIVED, HostState.FOUND_HEALTHY),
        (Verdict.FAILED, HostState.FOUND_UNHEALTHY),
        (Verdict.BLOCKED, HostState.UNKNOWN),
        (Verdict.INCONCLUSIVE, HostState.UNKNOWN),
    ],
)
def test_an_audit_says_what_it_found(verdict: Verdict, state: HostState) -> None:
    """Only a host whose every clause passed or is waived was found healthy."""
    assert audited_state(verdict)[0] is state


def test_a_canonical_run_states_the_bound_of_its_soak() -> None:
    """The terminal says for how long health was watched, as a later failure was not seen."""
    record = stories.canonical().record()
    record.run.options["soak_s"] = "15"
    assert "stayed healthy over 15 s; what fails later is not seen." in " ".join(
        summary.render(record, Path("run")).split()
    )


@pytest.mark.parametrize(("keep", "says"), [("yes", "stay up"), ("", "those that this run started are gone")])
def test_the_lab_s_hosts_are_gone_only_if_they_are(keep: str, says: str) -> None:
    """With --lab-keep the last line says that the hosts stay up, and how to take them down."""
    record = stories.canonical().record()
    record.provider, record.run.options["lab_keep"] = "lab", keep
    (step,) = advice.next_steps(record)
    assert says in step.text
    assert bool(step.command) is bool(keep)


def test_a_plan_that_was_not_made_says_why_first() -> None:
    """A plan without an outcome is not called planned, and its reason stands in the first sentence."""
    record = stories.rolled_back().record()
    record.run.mode, record.run.exit_code = "plan", ExitCode.USAGE
    first, second, *_ = summary.render(record, Path("run")).splitlines()
    assert not first.startswith("PLANNED")
    assert "hypervisor" in second


def test_exit_4_says_what_was_refused() -> None:
    """The first sentence is the refusal, and the exit code's words name its kind alone of all that 4 may mean."""
    record = stories.canonical().record()
    record.verdict, record.run.exit_code = RunVerdict.INCONCLUSIVE, ExitCode.USAGE
    for part in (part for host in record.hosts for part in host.clauses):
        for check in part.checks:
            check.verdict, check.started = Verdict.INCONCLUSIVE, None
    message = "--provider=lab: The lab cannot start hosts here. The lab needs root."
    record.run.refusal = facts.Refusal(kind="the lab cannot start hosts here", message=message)
    shown = " ".join(summary.render(record, Path("run")).split())
    assert f"Nothing was touched: {message}" in shown
    assert "Exit 4: nothing was touched: the lab cannot start hosts here Correct what was refused" in shown
    assert "was expected and did not run" not in shown


def test_a_report_with_holes_says_so() -> None:
    """The terminal names what the disk did not take, and calls nothing proven."""
    record = stories.canonical().record()
    record.run.unreported, record.run.exit_code = "record.json: No space left on device", 11
    record.verdict = RunVerdict.INCONCLUSIVE
    shown = " ".join(summary.render(record, Path("run")).split())
    assert (
        "Report: incomplete, because the disk did not take all of it (record.json: No space left on device)" in shown
    )
    assert "Nothing is proven: the report could not be written completely" in shown


@pytest.mark.parametrize(
    ("said", "limit", "line"),
    [
        (
            "the switch failed; in the host's words:\n  error: x\n  at y",
            80,
            "the switch failed; in the host's words: error: x at y",
        ),
        ("a" * 50 + " " + "b" * 50, 23, "a" * 10 + " … " + "b" * 10),
        ("", 10, ""),
    ],
)
def test_messages_are_shortened_from_the_middle(said: str, limit: int, line: str) -> None:
    """A message of several lines keeps its beginning and its end."""
    assert text.brief(said, limit) == line


def test_a_message_without_end_is_shortened_at_once() -> None:
    """Shortening looks at the ends alone, whatever a host sent."""
    assert len(text.brief("x y\n" * 10_000_000, 400)) <= 400
