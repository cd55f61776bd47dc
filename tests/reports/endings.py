"""Made-up runs for every way in which a run can end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from switchproof.deploy.contract import Clause, ExitCode, HostState, Verdict
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from tests.reports import stories
from tests.reports.story import Story

FLEET = tuple(f"h{number}" for number in range(1, 41))
CAUSES = ("the disk is full", "the unit is masked", "the port is taken", "the key is gone")


def audit(*unhealthy: str, silent: str = "") -> Story:
    """An audit of a and b; some were found unhealthy, and one may have given no answer."""
    story = Story(mode="audit", requested=None).resolved()
    for host in story.names:
        story.clauses(host, Clause.REVISION, Clause.CONVERGE, Clause.HYPERVISOR)
        verdict = Verdict.FAILED if host in unhealthy else Verdict.INCONCLUSIVE if host == silent else Verdict.PASSED
        story.check(host, Clause.RUNTIME, "live", verdict, "" if verdict is Verdict.PASSED else "no answer in 5 s")
        story.check(host, Clause.RUNTIME, "dev").clauses(host, Clause.DIAGNOSTICS)
        if verdict is Verdict.FAILED:
            story.left(host, HostState.FOUND_UNHEALTHY, "Not every clause passed; nothing was changed.")
        elif verdict is Verdict.INCONCLUSIVE:
            story.left(host, HostState.UNKNOWN, "An answer is missing; nothing was changed.")
        else:
            story.left(host, HostState.FOUND_HEALTHY, "Every clause passed; nothing was changed.")
    code = ExitCode.SAFE_FAILURE if unhealthy else ExitCode.INCONCLUSIVE if silent else ExitCode.CANONICAL
    return story.ended(code)


def fleet() -> Story:
    """Sixteen of forty hosts failed for four causes, and went back."""
    story = Story(*FLEET).resolved()
    for number, host in enumerate(FLEET):
        story.clauses(host, Clause.REVISION)
        if number < 16:
            story.check(host, Clause.CONVERGE, "switched", Verdict.FAILED, f"{CAUSES[number % 4]}: see its log")
            for clause in (Clause.HYPERVISOR, Clause.RUNTIME):
                story.clauses(host, clause, verdict=Verdict.BLOCKED, message=f"Blocked by converge on {host}.")
            story.clauses(host, Clause.DIAGNOSTICS).clauses(host, *Clause, leg="back")
            story.left(host, HostState.ROLLED_BACK, "The earlier system is restored and passed every clause.")
        else:
            story.clauses(host, *list(Clause)[1:]).left(host, HostState.CONVERGED, "Every clause passed.")
    return story.ended(ExitCode.SAFE_FAILURE)


def locked() -> Story:
    """Another run has host a."""
    story = Story("a").resolved().clauses("a", Clause.REVISION)
    held = "Held by ci@runner-7 (run 42) since 15:02:11Z."
    story.check("a", Clause.CONVERGE, "switched", Verdict.INCONCLUSIVE, held)
    return story.left("a", HostState.UNCHANGED, held).ended(ExitCode.LOCKED)


def refused() -> Story:
    """The revision does not exist."""
    story = Story()
    refusal = facts.Refusal(kind="no such revision", message="--sha=main: no such revision in the repository.")
    for host in story.names:
        story.left(host, HostState.UNCHANGED, "Nothing was started on this host.")
    story.ended(ExitCode.USAGE)
    story.events[-1] = msgspec.structs.replace(_finished(story), refusal=refusal)
    return story


def interrupted() -> Story:
    """A person pressed Ctrl-C during the switch, and both hosts went back."""
    story = Story().resolved()
    for host in story.names:
        story.clauses(host, Clause.REVISION)
        story.check(host, Clause.CONVERGE, "switched", Verdict.INCONCLUSIVE, "the run was interrupted")
        story.left(host, HostState.ROLLED_BACK, "The earlier system is restored and passed every clause.")
    return story.ended(ExitCode.INTERRUPTED, interrupted="ended by SIGINT")


def interrupted_preflight() -> Story:
    """A person pressed Ctrl-C in a preflight that had found nothing yet."""
    story = stories.preflight(ExitCode.INTERRUPTED, ("a", "room", Verdict.PASSED, ""))
    story.events[-1] = msgspec.structs.replace(_finished(story), interrupted="ended by SIGINT")
    return story


def plan() -> Story:
    """Both hosts would change."""
    story = Story(mode="plan")
    changes = ("b", "c")
    started = story.events[0]
    assert isinstance(started, ev.RunStarted)
    story.events[0] = msgspec.structs.replace(
        started,
        hosts=changes,
        expected=tuple(
            ev.ExpectedCheck(host=host, leg="forward", clause=Clause.CONVERGE, id="changes", title="The plan is made")
            for host in changes
        ),
    )
    story.resolved()
    for host in changes:
        story.check(
            host,
            Clause.CONVERGE,
            "changes",
            title="The plan is made",
            seen="runs /nix/store/old\nwould restart web.service",
            expected="/nix/store/new",
        )
        story.left(host, HostState.UNCHANGED, "Nothing was started on this host.")
    return story.ended(ExitCode.CANONICAL)


def unsigned() -> Story:
    """Every check passed, and the signature that was asked for could not be made."""
    story = stories.canonical()
    story.events[-1] = msgspec.structs.replace(_finished(story), exit_code=ExitCode.UNSIGNED)
    return story


def selected() -> Story:
    """An audit of a few checks only."""
    story = Story("a", mode="audit", requested=None).resolved().clauses("a", Clause.REVISION)
    story.left("a", HostState.UNKNOWN, "Not every check ran.").ended(ExitCode.INCONCLUSIVE)
    story.events[-1] = msgspec.structs.replace(_finished(story), selected="-k revision")
    return story


def ready() -> Story:
    """Nothing refuses a deploy."""
    return stories.preflight(ExitCode.CANONICAL, ("a", "room", Verdict.PASSED, ""), ("b", "room", Verdict.PASSED, ""))


def unready() -> Story:
    """Both hosts lack room, and the clock of one was not seen."""
    return stories.preflight(
        ExitCode.SAFE_FAILURE,
        ("a", "room", Verdict.FAILED, "1 MiB is free"),
        ("b", "room", Verdict.FAILED, "1 MiB is free"),
        ("b", "clock", Verdict.INCONCLUSIVE, "no answer"),
    )


def _finished(story: Story) -> ev.RunFinished:
    event = story.events[-1]
    assert isinstance(event, ev.RunFinished)
    return event


ENDINGS: Mapping[str, Callable[[], Story]] = {
    "canonical": stories.canonical,
    "rolled-back": stories.rolled_back,
    "unsafe": stories.unsafe,
    "inconclusive": stories.inconclusive,
    "killed": stories.killed,
    "drill": stories.drill,
    "drill-failed": lambda: stories.drill("a", again=Verdict.FAILED),
    "found-healthy": audit,
    "found-unhealthy": lambda: audit("a"),
    "found-nothing": lambda: audit(silent="b"),
    "found-unhealthy-and-nothing": lambda: audit("a", silent="b"),
    "went-back": stories.returned,
    "fleet": fleet,
    "locked": locked,
    "refused": refused,
    "interrupted": interrupted,
    "interrupted-preflight": interrupted_preflight,
    "planned": plan,
    "unsigned": unsigned,
    "selected": selected,
    "ready": ready,
    "unready": unready,
}
"""A run for each way to end, by name."""
