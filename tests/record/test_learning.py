"""What a run tells beside its verdicts stands in the record as it was told, where and when it belongs."""

from __future__ import annotations

import datetime as dt

import pytest

from switchproof.deploy.contract import ExitCode
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from tests.reports.story import BEGIN, SHA, Story


def watched(*samples: tuple[float, bool]) -> list[float]:
    """When the timeline of a host marks health, in seconds after its watch began, by the answers of that watch."""
    story = Story("a")
    answers = tuple(
        facts.Sample(at_s=at, good=good, code=200 if good else 503, seconds=0.0, words="") for at, good in samples
    )
    watch = facts.Watch(
        leg="forward", endpoint="live", settled="healthy", began=story.at, seconds=9.0, limit_s=9.0, samples=answers
    )
    timeline = story.tell(ev.Watched(host="a", watch=watch)).record().host("a").timeline
    return [(moment.at - story.at).total_seconds() for moment in timeline if moment.kind == "healthy"]


@pytest.mark.parametrize(
    ("samples", "healthy"),
    [
        (((0.0, True), (1.0, True)), [0.0]),
        (((0.5, True), (1.5, True)), [0.5]),
        (((0.5, False), (1.5, True), (2.5, True)), [1.5]),
        (((1.0, True), (1.0, False), (2.0, True)), [2.0]),
        (((1.0, True), (2.0, False)), []),
        ((), []),
    ],
    ids=["at-once", "without-a-bad-one", "after-a-bad-one", "beside-a-bad-one", "before-a-bad-one", "none"],
)
def test_endpoint_is_healthy_from_the_first_answer_after_the_last_bad_one(
    samples: tuple[tuple[float, bool], ...], healthy: list[float]
) -> None:
    """A good answer before a bad one, or at the same time, shows no health that lasted."""
    assert watched(*samples) == healthy


def test_what_stands_in_makes_the_run_an_emulated_one() -> None:
    """A run that began as a real one is no longer one as soon as anything was replaced."""
    story = Story("a")
    assert not story.record().emulated
    record = story.tell(ev.Emulated(by="the lab", not_modelled=("a kernel",))).record()
    assert record.emulated
    assert [(each.by, each.not_modelled) for each in record.emulations] == [("the lab", ("a kernel",))]


def test_commit_has_the_author_that_the_repository_names() -> None:
    """A commit without a name has no author, rather than one without a name."""
    resolved = Story("a").resolved().record().revision
    assert (resolved.sha, resolved.author) == (SHA, "Ada Example")
    nameless = ev.RevisionResolved(requested="main", sha=SHA, subject="x", author="")
    assert Story("a").tell(nameless).record().revision.author is None


def test_phase_that_began_twice_ends_once() -> None:
    """The later of two equal phases ends; the earlier one was cut off, and has no end."""
    story = Story("a").tell(ev.PhaseStarted(at=BEGIN, host="a", phase="observe")).tick(5.0)
    first, second = story.phase("a", "observe", 2.0).record().host("a").phases
    assert (first.started, first.finished, first.questions) == (BEGIN, None, 0)
    assert (second.finished, second.questions) == (BEGIN + dt.timedelta(seconds=7.0), 2)


@pytest.mark.parametrize(("code", "is_kept"), [(ExitCode.USAGE, True), (ExitCode.INTERNAL, False)])
def test_only_a_request_that_was_refused_has_a_refusal(code: ExitCode, is_kept: bool) -> None:
    """A run that ended otherwise after a refusal was told did not end for it."""
    refusal = facts.Refusal(kind="the target file", message="name a host")
    ended = ev.RunFinished(exit_code=code, refusal=refusal, redactions={})
    assert Story("a").tell(ended).record().run.refusal == (refusal if is_kept else None)


def test_what_happens_is_of_the_leg_that_the_host_is_on() -> None:
    """Before its first phase a host is on the way forward."""
    story = Story("a").happened("a", "lost")
    story.phase("a", "connect", 1.0).phase("a", "rollback", 1.0, leg="back").tick(1.0).happened("a", "lost")
    lost = [moment.leg for moment in story.record().host("a").timeline if moment.kind == "lost"]
    assert lost == ["forward", "back"]
