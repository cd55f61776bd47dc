"""The record says of a run what its events prove, and never more."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.contract import Clause, ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.record import events as ev
from switchproof.deploy.record import facts
from switchproof.deploy.record.fold import NOT_RUN, fold
from switchproof.deploy.record.record import Earlier, PhaseTime, Record, read_record, write_record
from tests.reports import stories
from tests.reports.story import CHECKS, OLD, SHA, UNITS, Story
from tests.schema import validate

CANONICAL = stories.canonical().events
FINISHED = [number for number, event in enumerate(CANONICAL) if isinstance(event, ev.CheckFinished)]
BAD = [Verdict.FAILED, Verdict.BLOCKED, Verdict.INCONCLUSIVE]


def clause(record: Record, name: Clause, host: str = "a") -> tuple[Verdict, list[Verdict]]:
    found = next(result for result in record.host(host).clauses if result.id is name)
    return found.verdict, [check.verdict for check in found.checks]


def test_run_in_which_everything_passed_is_canonical() -> None:
    """Every expected check passed on every host, the run ended by itself, the hosts are converged: canonical."""
    record = fold(CANONICAL)
    assert record.verdict is RunVerdict.CANONICAL
    assert record.run.exit_code == 0
    assert record.revision.sha == SHA
    for host in record.hosts:
        assert (host.verdict, host.state) == (Verdict.PASSED, HostState.CONVERGED)
        assert [result.id for result in host.clauses] == list(Clause)
        assert (host.before and host.before.generation, host.after and host.after.generation) == (41, 42)
        (converge,) = (phase for phase in host.phases if phase.phase == "converge")
        assert converge.finished == converge.started + dt.timedelta(seconds=12.3)


def test_what_the_runner_built_stands_in_the_record_in_order() -> None:
    """One entry for each configuration; a run whose hosts build has none."""
    builds = [
        facts.Build(configuration=name, toplevel=SHA, nix="nix (Nix) 2.34.8", paths=3, seconds=1.5)
        for name in ("web", "db")
    ]
    told: list[ev.AnyEvent] = [ev.SystemBuilt(build=build) for build in builds]
    assert fold([*CANONICAL[:1], *told, *CANONICAL[1:]]).builds == builds
    assert fold(CANONICAL).builds == []


@pytest.mark.parametrize("missing", FINISHED)
def test_silence_never_passes(missing: int) -> None:
    """Without any one of its checks a canonical run is not canonical, and the check stands there as not run."""
    lost = CANONICAL[missing]
    assert isinstance(lost, ev.CheckFinished)
    record = fold(CANONICAL[:missing] + CANONICAL[missing + 1 :])
    assert record.verdict is RunVerdict.INCONCLUSIVE
    result = next(result for result in record.host(lost.host).clauses if result.id is lost.clause)
    assert [check.message for check in result.checks if check.id == lost.id] == [NOT_RUN]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("number", FINISHED)
def test_one_bad_check_is_enough(number: int, bad: Verdict) -> None:
    """A canonical run with any one check not passed is not canonical."""
    events = list(CANONICAL)
    events[number] = msgspec.structs.replace(events[number], verdict=bad)
    record = fold(events)
    assert record.verdict is (RunVerdict.NON_CANONICAL if bad is Verdict.FAILED else RunVerdict.INCONCLUSIVE)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("number", FINISHED)
@pytest.mark.parametrize("last", [True, False])
def test_of_a_check_that_reports_twice_the_worse_counts(number: int, bad: Verdict, last: bool) -> None:
    """A check that passed and did not pass, in whatever order, has not passed."""
    other = msgspec.structs.replace(CANONICAL[number], verdict=bad)
    events = [*CANONICAL[:-1], other, CANONICAL[-1]] if last else [*CANONICAL[:1], other, *CANONICAL[1:]]
    record = fold(events)
    assert record.verdict is not RunVerdict.CANONICAL
    assert sum(len(result.checks) for host in record.hosts for result in host.clauses) == len(FINISHED)


@given(st.lists(st.integers(1, len(CANONICAL) - 1), unique=True))
def test_part_of_a_canonical_run_is_canonical_only_with_every_check_and_the_end(lost: list[int]) -> None:
    """Whatever is taken from a run's events, what is left is canonical only if all checks, states and the end are."""
    left = [event for number, event in enumerate(CANONICAL) if number not in lost]
    needed = {*FINISHED, *(n for n, e in enumerate(CANONICAL) if isinstance(e, ev.HostLeft | ev.RunFinished))}
    assert (fold(left).verdict is RunVerdict.CANONICAL) == (not needed & set(lost))


@given(st.permutations(CANONICAL[1:]))
def test_order_in_which_hosts_report_decides_nothing(events: list[ev.AnyEvent]) -> None:
    """Hosts report at the same time, so the verdicts are the same in any order."""
    assert fold([CANONICAL[0], *events]).verdict is RunVerdict.CANONICAL


@pytest.mark.parametrize("end", range(1, len(CANONICAL)))
def test_killed_run_is_never_canonical(end: int) -> None:
    """A journal that ends before the run did makes a whole record of a run that proves nothing."""
    record = fold(CANONICAL[:end])
    assert record.verdict is RunVerdict.INCONCLUSIVE
    assert record.run.finished is None
    assert all([result.id for result in host.clauses] == list(Clause) for host in record.hosts)


def test_interrupted_run_is_never_canonical() -> None:
    """A run that was told to end proves nothing, even if every check had passed by then; a failure stays one."""
    story = stories.canonical()
    story.events.pop()
    assert story.ended(ExitCode.INTERRUPTED, interrupted="SIGTERM").record().verdict is RunVerdict.INCONCLUSIVE
    story = stories.rolled_back()
    story.events.pop()
    record = story.ended(ExitCode.INTERRUPTED, interrupted="SIGTERM").record()
    assert (record.verdict, record.run.interrupted) == (RunVerdict.NON_CANONICAL, "SIGTERM")


@pytest.mark.parametrize("state", [HostState.ROLLED_BACK, HostState.UNSAFE, HostState.UNKNOWN])
def test_state_that_contradicts_the_checks_is_never_canonical(state: HostState) -> None:
    """A run that leaves a host in no proven state is not canonical, whatever its checks say."""
    story = stories.canonical()
    story.events.pop()
    story.left("b", state, "It is so.").ended(ExitCode.CANONICAL)
    assert story.record().verdict is RunVerdict.INCONCLUSIVE


@pytest.mark.parametrize("verdict", BAD)
def test_check_that_nobody_expected_counts(verdict: Verdict) -> None:
    """A check that ran without being expected stands in the record, and keeps the run from being canonical."""
    story = stories.canonical()
    end = story.events.pop()
    story.check("a", Clause.RUNTIME, "surprise", verdict, title="A surprise").tell(end)
    record = story.record()
    assert record.verdict is not RunVerdict.CANONICAL
    assert clause(record, Clause.RUNTIME) == (verdict, [Verdict.PASSED, Verdict.PASSED, verdict])


def test_check_belongs_to_its_clause_host_and_leg() -> None:
    """A check that passed elsewhere, on another leg or under another clause, proves nothing here."""
    for change in ({"host": "b"}, {"leg": "back"}, {"clause": Clause.RUNTIME}, {"id": "other"}):
        events = list(CANONICAL)
        events[FINISHED[0]] = msgspec.structs.replace(events[FINISHED[0]], **change)
        record = fold(events)
        assert record.verdict is RunVerdict.INCONCLUSIVE, change
        assert clause(record, Clause.REVISION)[1][0] is Verdict.INCONCLUSIVE, change


def test_two_checks_of_one_name_must_both_report() -> None:
    """If the contract calls twice for a check of one name, one report is not enough."""
    begun = CANONICAL[0]
    assert isinstance(begun, ev.RunStarted)
    twice = msgspec.structs.replace(begun, expected=(*begun.expected, begun.expected[0]))
    assert fold([twice, *CANONICAL[1:]]).verdict is RunVerdict.INCONCLUSIVE
    assert fold([twice, *CANONICAL[1:-1], CANONICAL[FINISHED[0]], CANONICAL[-1]]).verdict is RunVerdict.CANONICAL


def test_clause_of_which_nothing_was_expected_is_inconclusive() -> None:
    """A run whose checks leave out a clause is never canonical: the clause stands there without a check."""
    begun = CANONICAL[0]
    assert isinstance(begun, ev.RunStarted)
    fewer = tuple(check for check in begun.expected if check.clause is not Clause.HYPERVISOR)
    events = [e for e in CANONICAL if not (isinstance(e, ev.CheckFinished) and e.clause is Clause.HYPERVISOR)]
    record = fold([msgspec.structs.replace(begun, expected=fewer), *events[1:]])
    assert record.verdict is RunVerdict.INCONCLUSIVE
    assert clause(record, Clause.HYPERVISOR) == (Verdict.INCONCLUSIVE, [])


def test_rolled_back_host_was_not_canonical_and_its_way_back_is_told() -> None:
    """A rollback has its own five clauses and verdict, and never makes good what failed before."""
    host = stories.rolled_back().record().host("a")
    assert host.verdict is Verdict.FAILED
    assert host.rollback
    assert (host.rollback.verdict, host.rollback.to) == (Verdict.PASSED, OLD)
    assert [result.id for result in host.rollback.clauses] == list(Clause)
    assert stories.rolled_back().record().host("b").rollback is None


def test_way_back_that_stops_halfway_is_inconclusive_or_failed() -> None:
    """A rollback whose checks did not all run has not passed."""
    back = stories.unsafe().record().host("a").rollback
    assert back
    assert back.verdict is Verdict.FAILED
    story = stories.rolled_back()
    story.events = [
        e for e in story.events if not (isinstance(e, ev.CheckFinished) and e.leg == "back" and e.id == "runs")
    ]
    back = story.record().host("a").rollback
    assert back
    assert back.verdict is Verdict.INCONCLUSIVE


def test_drill_has_three_legs() -> None:
    """A passed drill is canonical, and each of its legs has all five clauses of its own."""
    record = stories.drill().record()
    assert (record.verdict, record.run.mode) == (RunVerdict.CANONICAL, "drill")
    for host in record.hosts:
        assert host.rollback
        assert host.again
        for leg in (host.clauses, host.rollback.clauses, host.again.clauses):
            assert [result.id for result in leg] == list(Clause)
            assert {check.verdict for result in leg for check in result.checks} == {Verdict.PASSED}


DRILL = stories.drill("a").events


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("number", [n for n, event in enumerate(DRILL) if isinstance(event, ev.CheckFinished)])
def test_drill_is_canonical_only_if_all_three_legs_passed(number: int, bad: Verdict) -> None:
    """One check of any leg that did not pass, or did not run, keeps a drill from being canonical."""
    events = list(DRILL)
    events[number] = msgspec.structs.replace(events[number], verdict=bad)
    assert fold(events).verdict is (RunVerdict.NON_CANONICAL if bad is Verdict.FAILED else RunVerdict.INCONCLUSIVE)
    assert fold(DRILL[:number] + DRILL[number + 1 :]).verdict is RunVerdict.INCONCLUSIVE


@pytest.mark.parametrize("lost", [("back",), ("again",), ("back", "again")])
def test_drill_without_a_leg_is_not_canonical(lost: tuple[str, ...]) -> None:
    """A drill that never went back, or never deployed again, has not passed, whatever else did."""
    events = [
        event
        for event in DRILL
        if getattr(event, "leg", None) not in lost and not (isinstance(event, ev.RollbackBegun) and "back" in lost)
    ]
    record = fold(events)
    assert record.verdict is RunVerdict.INCONCLUSIVE
    assert (record.host("a").again is None) == ("again" in lost)
    assert (record.host("a").rollback is None) == ("back" in lost)


def test_second_deploy_never_speaks_for_the_first() -> None:
    """What passes on the leg again makes good nothing that failed on the way forward, and the other way round."""
    story = stories.drill("a", again=Verdict.FAILED)
    host = story.record().host("a")
    assert host.again
    assert (host.verdict, host.again.verdict) == (Verdict.FAILED, Verdict.FAILED)
    assert {result.verdict for result in host.clauses} == {Verdict.PASSED}
    swapped = [
        msgspec.structs.replace(event, leg={"forward": "again", "again": "forward"}.get(event.leg, event.leg))
        if isinstance(event, ev.CheckFinished)
        else event
        for event in story.events
    ]
    host = fold(swapped).host("a")
    assert host.again
    assert host.again.verdict is Verdict.PASSED
    assert [result.id for result in host.clauses if result.verdict is Verdict.FAILED] == [Clause.DIAGNOSTICS]


def _with_last(verdict: Verdict | None, *others: tuple[Clause, str, Verdict]) -> Record:
    """A run of one host whose contract ends with a check that waits for all others."""
    keeps = ev.ExpectedCheck(host="a", leg="forward", clause=Clause.CONVERGE, id="keeps", title="Keeps", last=True)
    story = Story("a").resolved()
    (first, *_) = story.events
    assert isinstance(first, ev.RunStarted)
    story.events[0] = msgspec.structs.replace(first, expected=(*first.expected, keeps))
    bad = {(clause, check): found for clause, check, found in others}
    for clause, checks in CHECKS.items():
        for check, _ in checks:
            story.check("a", clause, check, bad.get((clause, check), Verdict.PASSED))
    if verdict is not None:
        story.check("a", Clause.CONVERGE, "keeps", verdict, title="Keeps")
    return story.left("a", HostState.CONVERGED, "").ended(ExitCode.CANONICAL).record()


def test_last_check_blocked_by_another_clause_says_nothing_of_its_own() -> None:
    """Where another clause failed, the check that waits for all others is blocked, and its own clause has passed."""
    record = _with_last(Verdict.BLOCKED, (Clause.HYPERVISOR, "answers", Verdict.FAILED))
    assert clause(record, Clause.CONVERGE)[0] is Verdict.PASSED
    assert clause(record, Clause.CONVERGE)[1][-1] is Verdict.BLOCKED
    assert record.verdict is RunVerdict.NON_CANONICAL


@pytest.mark.parametrize("verdict", [*BAD, None])
def test_last_check_must_pass_all_the_same(verdict: Verdict | None) -> None:
    """Blocked, failed or never run, the check that waits for all others keeps the run from being canonical."""
    assert _with_last(Verdict.PASSED).verdict is RunVerdict.CANONICAL
    assert _with_last(verdict).verdict is not RunVerdict.CANONICAL


def test_warning_stands_with_its_host() -> None:
    """What everyone must hear of a host stands with the host, and decides nothing."""
    record = stories.returned().record()
    assert record.verdict is RunVerdict.CANONICAL
    assert record.host("a").warnings == ["It went back by itself at 2026-11-23T14:00:00Z: not confirmed."]


def test_phase_ends_on_the_leg_on_which_it_began() -> None:
    """A phase that runs on the way forward and on the way back ends each where it began."""
    story = Story("a").phase("a", "observe", 2.0)
    story.tell(ev.PhaseStarted(at=story.at, host="a", phase="observe", leg="back"))
    story.tell(ev.PhaseFinished(at=story.at, host="a", phase="observe", leg="forward", seconds=1.0, problem="lost"))
    first, second = story.record().host("a").phases
    assert (first.leg, first.problem, first.finished is None) == ("forward", None, False)
    assert (second.leg, second.problem, second.finished) == ("back", None, None)


@pytest.mark.parametrize(
    "event",
    [
        ev.HostLeft(host="z", state=HostState.CONVERGED, reason=""),
        ev.RollbackBegun(host="z", reason="", to=""),
        ev.Noted(host="z", text=""),
        ev.Warned(host="z", text=""),
        ev.PhaseStarted(host="z", phase="observe"),
        msgspec.structs.replace(CANONICAL[FINISHED[0]], host="z"),
    ],
)
def test_events_of_an_unknown_host_are_refused(event: ev.AnyEvent) -> None:
    """A journal that tells of a host that the run does not have is no journal of this run, and says which host."""
    with pytest.raises(ValueError, match="host 'z'; the run has a, b"):
        fold([*CANONICAL, event])


@pytest.mark.parametrize("events", [[], CANONICAL[1:], CANONICAL[-1:]])
def test_journal_begins_with_the_start(events: list[ev.AnyEvent]) -> None:
    """Events without the start of their run make no record."""
    with pytest.raises(ValueError, match="does not start with the start"):
        fold(events)


def test_journal_holds_one_run() -> None:
    """Events of a second run are not counted for the first."""
    with pytest.raises(ValueError, match="holds two runs"):
        fold(CANONICAL + CANONICAL)


def test_run_without_hosts_proves_nothing() -> None:
    """No hosts, no verdict."""
    begun = msgspec.structs.replace(CANONICAL[0], hosts=(), expected=())
    assert fold([begun, CANONICAL[-1]]).verdict is RunVerdict.INCONCLUSIVE


def test_notes_and_evidence_stand_where_they_belong() -> None:
    """A note of a host stands with the host, one of the run with the run; evidence keeps its digest."""
    record = stories.rolled_back().record()
    assert record.notes == ["The flake has uncommitted changes."]
    assert record.host("a").notes == ["The clock is 3 s behind."]
    assert [(kept.path, kept.bytes) for kept in record.evidence] == [
        ("evidence/a/closure.txt", 131),
        ("evidence/a/hypervisor.json", 812),
        ("evidence/a/journal.txt", 1_234_567),
    ]
    assert record.redactions == {"url-password": 2, "AWS_TOKEN": 1}


def test_clause_lasts_from_its_first_check_to_the_end_of_its_last() -> None:
    """A clause's times are those of its checks; one that never ran has none."""
    result = stories.rolled_back().record().host("a").clauses[1]
    assert result.started
    assert result.finished == result.started + dt.timedelta(seconds=0.75)
    assert stories.killed().record().host("a").clauses[1].started is None


def test_timeline_is_in_the_order_of_time_and_knows_its_legs() -> None:
    """What happened stands in order, whenever it was told, each on the leg that the host was on."""
    timeline = stories.rolled_back().record().host("a").timeline
    assert [moment.at for moment in timeline] == sorted(moment.at for moment in timeline)
    told = [(moment.kind, moment.leg) for moment in timeline if not moment.kind.startswith(("watch", "healthy"))]
    assert told == [
        ("connected", "forward"),
        ("switch-begun", "forward"),
        ("switch-ended", "forward"),
        ("lost", "forward"),
        ("connected-again", "forward"),
        ("rollback-begun", "back"),
        ("rollback-ended", "back"),
    ]


def test_endpoint_is_healthy_from_its_last_row_of_good_answers_on() -> None:
    """The timeline marks health only where a watch ended with good answers, from the first of them on."""
    timeline = stories.rolled_back().record().host("a").timeline
    (began, _, _) = [moment for moment in timeline if moment.kind == "watch-begun" and moment.leg == "back"]
    healthy = [moment for moment in timeline if moment.kind == "healthy"]
    assert {(moment.leg, moment.at - began.at) for moment in healthy} == {("back", dt.timedelta(seconds=4.3))}


def test_units_stand_beside_what_they_were() -> None:
    """A unit with another definition is redefined, one with another invocation restarted."""
    units = stories.canonical("a").record().host("a").units
    assert [unit.name for unit in units] == list(UNITS)
    assert all(unit.redefined and unit.restarted for unit in units)
    back = stories.rolled_back().record().host("a").units
    assert all(unit.restarted and not unit.redefined for unit in back)


def test_attempts_of_a_check_are_those_of_its_endpoint_and_leg() -> None:
    """A check that names an endpoint finds the attempts of its own leg."""
    host = stories.rolled_back().record().host("a")
    forward, back = host.watch("forward", "hypervisor"), host.watch("back", "hypervisor")
    assert forward
    assert back
    assert (forward.settled, back.settled, host.watch("again", "hypervisor")) == ("unhealthy", "healthy", None)


def test_usual_time_of_a_phase_is_that_of_its_host_and_leg() -> None:
    """Another host, another leg and another phase say nothing of it."""
    at = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
    phase = PhaseTime(phase="converge", leg="forward", started=at)
    wanted = facts.Typical(host="a", leg="forward", phase="converge", median_s=3.0, runs=2)
    others = (
        facts.Typical(host="b", leg="forward", phase="converge", median_s=4.0, runs=2),
        facts.Typical(host="a", leg="back", phase="converge", median_s=5.0, runs=2),
        facts.Typical(host="a", leg="forward", phase="observe", median_s=6.0, runs=2),
    )
    assert Earlier(typical=(*others, wanted)).usual("a", phase) == wanted
    assert Earlier(typical=others).usual("a", phase) is None


def test_record_of_before_these_fields_is_still_read(tmp_path: Path) -> None:
    """A record of an older program, without what was added since, reads with nothing in its place."""
    whole = msgspec.json.decode(msgspec.json.encode(stories.rolled_back().record()))
    for name in ("emulations", "earlier"):
        del whole[name]
    for name in ("owner", "ci", "versions"):
        del whole["run"][name]
    for host in whole["hosts"]:
        for name in ("connection", "connections", "clock", "timeline", "watches", "units", "closures"):
            del host[name]
        for clause in host["clauses"]:
            for check in clause["checks"]:
                for name in ("why", "remedy", "command", "endpoint", "took_s", "limit_s"):
                    del check[name]
    (tmp_path / "record.json").write_bytes(msgspec.json.encode(whole))
    validate(msgspec.json.encode(whole))
    record = read_record(tmp_path / "record.json")
    assert (record.host("a").connection, record.host("a").timeline, record.earlier.previous) == (None, [], None)
    assert record.verdict is RunVerdict.NON_CANONICAL


@pytest.mark.parametrize(
    "story", [stories.canonical, stories.rolled_back, stories.killed, stories.hostile, stories.drill]
)
def test_record_is_read_back_as_it_was(story: type[Story], tmp_path: Path) -> None:
    """A record written and read is the same record, and a journal written and read makes the same one."""
    record = story().record()
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"", "truncated"),
        (b"{}", "run"),
        (b"\xff\xfe", ""),
        (b'{"schema": "\xe2\x28"}', ""),
        (b'{"schema": "switchproof/record/v2"}', "schema"),
        (b'{"schema": "switchproof/record/v1", "run": {"id": 7}}', r"\$\.run\.id"),
    ],
)
def test_file_that_is_no_record_is_refused(text: bytes, key: str, tmp_path: Path) -> None:
    """A file that is no record, or one of another version, is refused by file and key."""
    (tmp_path / "record.json").write_bytes(text)
    with pytest.raises(ValueError, match=rf"record\.json: not a record of a run: .*{key}"):
        read_record(tmp_path / "record.json")


def test_record_says_where_hosts_belong_and_what_let_them_change() -> None:
    """The groups of each host and the promotion of the run stand in the record as the run began with them."""
    source = ev.PromotedFrom(record="runs/r/record.json", run="r", signer="ci@staging", statement_sha256="0" * 64)
    begun = msgspec.structs.replace(CANONICAL[0], groups={"a": ("production", "eu")}, promoted_from=source)
    record = fold([begun, *CANONICAL[1:]])
    assert {host.name: host.groups for host in record.hosts} == {"a": ("production", "eu"), "b": ()}
    assert record.promoted_from == source


def test_record_without_a_clause_of_the_contract_is_refused(tmp_path: Path) -> None:
    """A host must have all five on every leg; the file is laid out for readers."""
    record = stories.canonical().record()
    write_record(record, tmp_path / "record.json")
    assert (tmp_path / "record.json").read_text(encoding="utf-8").startswith('{\n  "schema"')
    assert read_record(tmp_path / "record.json") == record
    del record.hosts[0].clauses[-1]
    write_record(record, tmp_path / "record.json")
    with pytest.raises(ValueError, match=f"{record.hosts[0].name} does not have the contract's clauses"):
        read_record(tmp_path / "record.json")
