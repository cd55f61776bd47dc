"""What a record is said to say."""

from __future__ import annotations

import msgspec
import pytest

from switchproof.deploy.contract import Clause, ExitCode, Verdict
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from switchproof.reports import causes, reading
from switchproof.reports.legs import host_anchor, legs_of
from switchproof.reports.page import layout
from tests.reports import endings, stories
from tests.reports.story import Story


def cause(story: Story) -> tuple[str, Clause, str]:
    found = causes.first_cause(story.record())
    assert found
    assert isinstance(found.clause, Clause)
    return found.host, found.clause, found.check.id


def test_first_cause_follows_the_contract_not_the_hosts() -> None:
    """Of two failed hosts the one that failed in the earlier clause is the first cause."""
    story = Story().check("a", Clause.RUNTIME, "live", Verdict.FAILED)
    assert cause(story.check("b", Clause.CONVERGE, "runs", Verdict.FAILED)) == ("b", Clause.CONVERGE, "runs")


def test_lost_connection_comes_before_what_it_brought_about() -> None:
    """An answer that was not obtained in an earlier clause is the cause, not the failure that followed."""
    story = Story("a").check("a", Clause.CONVERGE, "switched", Verdict.INCONCLUSIVE)
    assert cause(story.check("a", Clause.DIAGNOSTICS, "emitted", Verdict.FAILED))[1] is Clause.CONVERGE


def test_check_that_never_ran_is_a_symptom() -> None:
    """A check that ran and failed is the cause, even where an earlier clause of another host never ran."""
    assert cause(Story().check("b", Clause.RUNTIME, "dev", Verdict.FAILED)) == ("b", Clause.RUNTIME, "dev")


def test_failed_host_comes_before_a_silent_one() -> None:
    """Within one clause a failure says more than a missing answer."""
    story = Story().check("a", Clause.RUNTIME, "live", Verdict.INCONCLUSIVE)
    assert cause(story.check("b", Clause.RUNTIME, "live", Verdict.FAILED))[0] == "b"


def test_canonical_run_has_no_cause() -> None:
    """Where everything passed there is nothing to explain."""
    assert causes.first_cause(stories.canonical().record()) is None


def test_sentence_names_what_stopped_the_run() -> None:
    """Each way of not being canonical has its sentence."""
    assert "9 of 9 checks passed" in reading.sentence(stories.canonical("a").record())
    assert reading.sentence(stories.killed().record()) == (
        "Nothing is proven: the run did not finish (last known: a was in converge)."
    )
    stopped = Story("a").resolved().ended(ExitCode.INTERRUPTED, interrupted="SIGINT")
    assert reading.sentence(stopped.record()) == "Nothing is proven: the run was interrupted (SIGINT)."
    cut = Story("a").resolved().clauses("a", Clause.REVISION)
    cut.check("a", Clause.CONVERGE, "switched", Verdict.INCONCLUSIVE, "a: the connection was lost")
    cut.ended(ExitCode.INTERRUPTED, interrupted="SIGINT")
    assert reading.sentence(cut.record()) == reading.sentence(stopped.record())
    partial = Story("a").resolved().clauses("a", *list(Clause)[:4]).ended(ExitCode.INCONCLUSIVE)
    assert "clause diagnostics" in reading.sentence(partial.record())
    assert "did not run" in reading.sentence(partial.record())


def test_plan_proves_nothing_and_exits_well() -> None:
    """A plan's exit code 0 is not called canonical."""
    story = Story("a", mode="plan").resolved().ended(ExitCode.CANONICAL)
    assert "proves nothing" in reading.sentence(story.record())
    assert "nothing is proven" in reading.exit_meaning(story.record())


READY = ("a", "room", Verdict.PASSED, "")
NO_ROOM = ("b", "room", Verdict.FAILED, "1 MiB is free")
UNSEEN = ("a", "clock", Verdict.INCONCLUSIVE, "no answer")


@pytest.mark.parametrize(
    ("code", "found", "word", "sentence", "meaning"),
    [
        (ExitCode.CANONICAL, [READY], "ready", "refuses a deploy to 1 host; a preflight changes nothing", "ready: "),
        (ExitCode.SAFE_FAILURE, [READY, NO_ROOM], "unready", "A deploy to b would be refused", "unready: "),
        (ExitCode.INCONCLUSIVE, [READY, UNSEEN], "inconclusive", "Nothing is proven: ", "inconclusive: "),
    ],
)
def test_a_preflight_is_never_called_canonical(
    code: ExitCode, found: list[tuple[str, str, Verdict, str]], word: str, sentence: str, meaning: str
) -> None:
    """It says whether a deploy would begin, and nothing of the contract."""
    record = stories.preflight(code, *found).record()
    assert not record.verdict.accepted
    assert reading.verdict_word(record) == word
    assert sentence in reading.sentence(record)
    assert reading.exit_meaning(record).startswith(meaning)


def test_way_back_is_a_cause_only_in_a_drill() -> None:
    """A rollback that fails does not hide why there was one; in a drill each leg counts, in its order."""
    assert cause(stories.unsafe())[1:] == (Clause.CONVERGE, "switched")
    assert causes.first_cause(stories.unsafe().record()).leg == "forward"  # type: ignore[union-attr]
    story = stories.drill("a", again=Verdict.FAILED)
    assert causes.first_cause(story.record()).leg == "again"  # type: ignore[union-attr]
    story.check("a", Clause.RUNTIME, "live", Verdict.FAILED, leg="back")
    assert causes.first_cause(story.record()).leg == "back"  # type: ignore[union-attr]


def test_anchors_are_unique_for_hosts_that_look_alike() -> None:
    """Hosts whose names have the same letters, or end as a leg is called, have different anchors."""
    record = stories.canonical("a.b", "a-b", "a-b-rollback").record()
    record.hosts[0].rollback = stories.rolled_back().record().hosts[0].rollback
    anchors = [leg.anchor for leg in legs_of(record)]
    assert len(set(anchors)) == len(anchors) == 4


def test_anchors_stay_valid_over_runs() -> None:
    """A link to a host, a check or a cause leads there in another run, whatever other hosts that has."""
    many = endings.fleet().record()
    alone = endings.fleet().record()
    alone.hosts = [host for host in alone.hosts if host.name == "h2"]
    (cause,) = causes.causes_of(alone)
    shown, others = layout.standalone(alone), layout.standalone(many)
    assert host_anchor("h2") == "h-h2"
    for anchor in ("h-h2", "h-h2_runtime", "h-h2_converge_switched"):
        assert f'id="{anchor}"' in shown
        assert f'id="{anchor}"' in others
    assert f'id="{cause.anchor}"' in others


def test_a_look_ahead_without_any_check_is_inconclusive() -> None:
    """Leaving out clauses that a preflight does not look at never turns silence into a pass."""
    story = Story("a", mode="preflight", requested=None)
    started = story.events[0]
    assert isinstance(started, ev.RunStarted)
    story.events[0] = msgspec.structs.replace(started, expected=())
    (leg,) = legs_of(story.ended(ExitCode.INTERRUPTED).record())
    assert [clause.id for clause in leg.clauses] == [Clause.CONVERGE]
    assert leg.verdict is Verdict.INCONCLUSIVE


def test_leg_names_are_those_of_the_journal() -> None:
    """The legs of a record are told apart as the journal tells them apart."""
    names: list[facts.Leg] = ["forward", "back", "forward"]
    assert [leg.name for leg in legs_of(stories.rolled_back().record())] == names
