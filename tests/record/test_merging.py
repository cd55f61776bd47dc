"""Parts of an audit become one run that is complete, or inconclusive with the reason by name."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from switchproof.deploy.contract import ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record import facts
from switchproof.deploy.record.events import (
    AnyEvent,
    CheckFinished,
    EvidenceKept,
    RevisionResolved,
    RunFinished,
    RunStarted,
)
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.merging import Part, merge, read_part
from switchproof.deploy.record.record import Record
from switchproof.reports import reading
from tests.reports.stories import canonical
from tests.schema import validate

HOSTS = ("a", "b", "c", "d", "e")


def part(index: int, count: int = 2, **changes: Any) -> Part:
    """An audit of every host of a part, in which all passed."""
    events = canonical(*HOSTS[index - 1 :: count], mode="audit").events
    begun = events[0]
    assert isinstance(begun, RunStarted)
    shard = facts.Shard(index=index, count=count, hosts=HOSTS, targets_sha256="5" * 64)
    events[0] = msgspec.structs.replace(begun, **({"id": f"run-{index}", "shard": shard} | changes))
    return read_part(f"runs/{index}", events)


def merged(*parts: Part) -> Record:
    """The record of the parts, which its schema takes."""
    record = fold(merge(parts, "merged"))
    validate(msgspec.json.encode(record))
    return record


def altered(one: Part, *events: AnyEvent) -> Part:
    """The same part with other events than its first."""
    return read_part("runs/altered", [one.events[0], *events])


def test_all_parts_are_one_run_of_all_hosts() -> None:
    """Every check of every host stands in the record, and it says of which runs it was made."""
    record = merged(part(2), part(1))
    assert (record.verdict, record.run.exit_code) == (RunVerdict.CANONICAL, ExitCode.CANONICAL)
    assert [host.name for host in record.hosts] == list(HOSTS)
    assert all(host.verdict is Verdict.PASSED for host in record.hosts)
    assert record.run.merged is not None
    assert [(each.run, each.shard) for each in record.run.merged.runs] == [("run-1", 1), ("run-2", 2)]
    assert record.revision.sha == part(1).record.revision.sha
    assert record.run.shard is None


def test_run_lasts_from_the_first_beginning_to_the_last_end() -> None:
    """Its times are those of its parts."""
    parts = part(1), part(2)
    record = merged(*parts)
    assert record.run.started == min(each.record.run.started for each in parts)
    assert record.run.finished == max(each.record.run.finished for each in parts if each.record.run.finished)


def test_missing_part_is_named_and_its_hosts_are_inconclusive() -> None:
    """What nobody looked at is not left out: it has every check, and none of them passed."""
    record = merged(part(1))
    assert (record.verdict, record.run.exit_code) == (RunVerdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)
    assert "shard 2/2 is missing" in reading.sentence(record)
    for host in record.hosts:
        wanted = (Verdict.PASSED, 9) if host.name in HOSTS[::2] else (Verdict.INCONCLUSIVE, 9)
        assert (host.verdict, sum(len(clause.checks) for clause in host.clauses)) == wanted
    assert record.hosts[1].state is HostState.UNKNOWN
    assert "None of the merged parts" in record.hosts[1].state_reason


@pytest.mark.parametrize(
    ("changes", "what", "of_one", "of_other"),
    [
        ({"contract_sha256": "c" * 64}, "has the contract with digest", "aaaaaaaaaaaa", "cccccccccccc"),
        ({"requested": "v2"}, "was asked for revision", "main", "v2"),
        ({"requested": None}, "was asked for revision", "main", "none"),
        (
            {"shard": facts.Shard(index=2, count=2, hosts=HOSTS, targets_sha256="6" * 64)},
            "has the target file with digest",
            "555555555555",
            "666666666666",
        ),
    ],
)
def test_parts_that_differ_prove_nothing_together(
    changes: dict[str, Any], what: str, of_one: str, of_other: str
) -> None:
    """Both values are named, each with its part; of a digest twelve digits are enough."""
    record = merged(part(1, contract_sha256="a" * 64), part(2, **({"contract_sha256": "a" * 64} | changes)))
    assert record.verdict is RunVerdict.INCONCLUSIVE
    assert record.run.merged is not None
    assert record.run.merged.problems == (
        f"shard 2/2 (run run-2) {what} {of_other}, shard 1/2 (run run-1) {what} {of_one}",
    )
    assert record.run.merged.problems[0] in reading.sentence(record)


@pytest.mark.parametrize(("hours", "verdict"), [(24, RunVerdict.CANONICAL), (25, RunVerdict.INCONCLUSIVE)])
def test_parts_of_different_days_prove_nothing_together(hours: int, verdict: RunVerdict) -> None:
    """Hosts that were healthy last week may have changed since; the sentence says how far the parts are apart."""
    later = part(2)
    moved = [msgspec.structs.replace(event, at=event.at + dt.timedelta(hours=hours)) for event in later.events]
    record = merged(part(1), read_part("runs/2", moved))
    assert record.verdict is verdict
    assert ("began 25 h after shard 1/2" in reading.sentence(record)) == (hours > 24)


def test_part_that_names_evidence_of_another_is_refused() -> None:
    """It would stand in the merged run in the place of what the other part saw of its own host."""
    first, second = part(1), part(2)
    kept = EvidenceKept(
        at=first.events[1].at, host="a", title="log", path="evidence/a/log.txt", sha256="0" * 64, bytes=1
    )
    stolen = msgspec.structs.replace(kept, host="b")
    with pytest.raises(UsageError, match=r"names evidence of another part: evidence/a/log\.txt"):
        merge([altered(first, *first.events[1:], kept), altered(second, *second.events[1:], stolen)], "merged")


def test_parts_of_different_commits_prove_nothing_together() -> None:
    """A fleet of two commits is not one commit that holds."""
    other = part(2)
    events = [
        msgspec.structs.replace(event, sha="9" * 40) if isinstance(event, RevisionResolved) else event
        for event in other.events[1:]
    ]
    record = merged(part(1), altered(other, *events))
    assert record.verdict is RunVerdict.INCONCLUSIVE
    assert record.revision.sha is None
    assert "is of commit 999999999999" in reading.sentence(record)


def test_part_that_was_killed_is_named() -> None:
    """A part without an end proves nothing, whatever its checks came to."""
    other = part(2)
    record = merged(part(1), altered(other, *other.events[1:-1]))
    assert record.verdict is RunVerdict.INCONCLUSIVE
    assert "shard 2/2 (run run-2) did not finish" in reading.sentence(record)


def test_host_that_failed_is_not_hidden_by_a_missing_part() -> None:
    """A failure is certain, and what is missing cannot mend it."""
    one = part(1)
    events = [
        msgspec.structs.replace(event, verdict=Verdict.FAILED, message="it answers 502")
        if isinstance(event, CheckFinished) and (event.host, event.id) == ("a", "answers")
        else event
        for event in one.events[1:]
    ]
    record = merged(altered(one, *events))
    assert (record.verdict, record.run.exit_code) == (RunVerdict.NON_CANONICAL, ExitCode.SAFE_FAILURE)


def test_waiver_that_one_part_does_not_need_is_judged_by_all_of_them() -> None:
    """In a part it may still be needed elsewhere; where no part needed it, the whole fails for it."""
    at = part(1).begun.at
    waiver = facts.Waiver(check="answers", host=None, reason="known", owner="ops", expires=at, expired=False)
    one, other = part(1, waivers=(waiver,)), part(2, waivers=(waiver,))
    assert one.record.verdict is RunVerdict.CANONICAL
    assert merged(one, other).verdict is RunVerdict.NON_CANONICAL


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((part(1), part(1, id="run-9")), "are the same part: name one of them"),
        ((part(1), part(2, 3)), "they are not parts of one audit"),
        ((part(1), part(2, provider="other")), "they are not parts of one audit"),
    ],
)
def test_what_is_not_of_one_audit_is_refused(parts: tuple[Part, ...], reason: str) -> None:
    """There is no record of it at all."""
    with pytest.raises(UsageError, match=reason):
        merge(parts, "merged")


def test_run_of_all_hosts_is_not_a_part() -> None:
    """Only runs with --shard are merged."""
    with pytest.raises(UsageError, match="is not a part of an audit"):
        read_part("runs/1", canonical("a", mode="audit").events)


def test_events_that_are_no_run_are_not_a_part() -> None:
    """The message names the part by its folder, and says what is wrong with its events."""
    with pytest.raises(
        UsageError, match="runs/1: cannot be read as a run: the journal does not start with the start"
    ):
        read_part("runs/1", part(1).events[1:])


def test_evidence_that_leads_out_of_its_folder_is_refused() -> None:
    """A part comes from another machine, and a path in it is only read below its folder."""
    one = part(1)
    bad = EvidenceKept(at=one.begun.at, host="a", title="x", path="evidence/../../secret", sha256="0" * 64, bytes=1)
    with pytest.raises(UsageError, match="names evidence outside of its folder"):
        altered(one, *one.events[1:], bad)


def test_host_in_two_parts_is_refused() -> None:
    """Its state and evidence would be those of one part, and its checks those of both."""
    other = facts.Shard(index=2, count=2, hosts=("b", "a"), targets_sha256="5" * 64)
    events = canonical("a", mode="audit").events
    begun = events[0]
    assert isinstance(begun, RunStarted)
    events[0] = msgspec.structs.replace(begun, id="run-2", shard=other)
    with pytest.raises(UsageError, match=r"host a is in shard 1/2 \(run run-1\) and in shard 2/2 \(run run-2\)"):
        merge([part(1), read_part("runs/2", events)], "merged")


def test_parts_of_different_selections_prove_nothing_together() -> None:
    """Shard 2 of the first four hosts is not shard 2 of all five, although every host was looked at."""
    smaller = facts.Shard(index=2, count=2, hosts=HOSTS[:4], targets_sha256="5" * 64)
    record = merged(part(1), part(2, shard=smaller))
    assert record.verdict is RunVerdict.INCONCLUSIVE
    assert "shard 2/2 (run run-2) is of another selection of hosts than shard 1/2" in reading.sentence(record)


@pytest.mark.parametrize(
    "changes",
    [
        {"hosts": ()},
        {"hosts": ("a",)},
        {"hosts": ("e",), "shard": facts.Shard(index=0, count=2, hosts=HOSTS, targets_sha256="5" * 64)},
        {"shard": facts.Shard(index=3, count=2, hosts=HOSTS, targets_sha256="5" * 64)},
        {"shard": facts.Shard(index=1, count=10**9, hosts=HOSTS, targets_sha256="5" * 64)},
    ],
)
def test_part_without_the_hosts_of_its_shard_is_refused(changes: dict[str, Any]) -> None:
    """A part that left out a host, or all of them, is not complete."""
    events = part(1).events
    begun = msgspec.structs.replace(part(1).begun, **changes)
    expected = tuple(want for want in begun.expected if want.host in begun.hosts)
    kept = [event for event in events[1:] if getattr(event, "host", None) in {None, *begun.hosts}]
    with pytest.raises(UsageError, match="is not of the hosts of shard"):
        read_part("runs/1", [msgspec.structs.replace(begun, expected=expected), *kept])


def test_part_that_ended_with_a_defect_proves_nothing() -> None:
    """Its own exit code said so, and a merge must not turn that into success."""
    other = part(2)
    events = [
        msgspec.structs.replace(event, exit_code=ExitCode.INTERNAL) if isinstance(event, RunFinished) else event
        for event in other.events[1:]
    ]
    record = merged(part(1), altered(other, *events))
    assert (record.verdict, record.run.exit_code) == (RunVerdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)
    assert "shard 2/2 (run run-2) ended with a defect of Switchproof (exit code 3)" in reading.sentence(record)


def test_events_that_no_run_writes_are_refused_in_a_sentence() -> None:
    """A time without its zone cannot be put in order, and a name with a NUL cannot be opened."""
    one = part(1)
    bad = EvidenceKept(at=one.begun.at, host="a", title="x", path="evidence/a\0b", sha256="0" * 64, bytes=1)
    with pytest.raises(UsageError, match="names evidence that cannot be a file"):
        altered(one, *one.events[1:], bad)
    begun = msgspec.structs.replace(one.begun, at=one.begun.at.replace(tzinfo=None))
    with pytest.raises(UsageError, match="has times without a time zone"):
        read_part("runs/1", [begun, *one.events[1:]])


def ended(one: Part, **changes: Any) -> Part:
    """The same part with another end."""
    return altered(one, *one.events[1:-1], msgspec.structs.replace(one.events[-1], **changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"interrupted": "SIGTERM"}, "was interrupted: SIGTERM"),
        ({"unreported": "the disk is full"}, "has an incomplete report: the disk is full"),
        ({"selected": "-k login"}, "skipped checks: -k login"),
        (
            {"exit_code": ExitCode.USAGE, "refusal": facts.Refusal(kind="an option", message="name a host")},
            "was refused: name a host",
        ),
    ],
)
def test_part_that_did_not_end_well_proves_nothing(changes: dict[str, Any], reason: str) -> None:
    """The merged run says of which part, and why, although every check that ran passed."""
    record = merged(part(1), ended(part(2), **changes))
    assert record.verdict is RunVerdict.INCONCLUSIVE
    assert record.run.merged is not None
    assert record.run.merged.problems == (f"shard 2/2 (run run-2) {reason}",)


def test_first_part_may_be_the_missing_one() -> None:
    """Every number from 1 to that of the parts is asked for."""
    run = merged(part(2, 3)).run.merged
    assert run is not None
    assert (run.count, run.problems) == (3, ("shard 1/3 is missing", "shard 3/3 is missing"))


def test_hosts_that_nobody_looked_at_lack_the_checks_of_the_first_host() -> None:
    """Hosts may have different checks of the team's own, and of an unseen host nobody knows which."""
    one = part(1)
    fewer = tuple(want for want in one.begun.expected if want.host == "a" or want.id != "live")
    begun = merge([read_part("runs/1", [msgspec.structs.replace(one.begun, expected=fewer), *one.events[1:]])], "m")[
        0
    ]
    assert isinstance(begun, RunStarted)
    checks = {name: [want.id for want in begun.expected if want.host == name] for name in HOSTS}
    assert checks["b"] == checks["d"] == checks["a"]
    assert checks["c"] == checks["e"] == [check for check in checks["a"] if check != "live"]


def test_first_part_speaks_for_the_whole_run() -> None:
    """Who started the audit, and with which options, is told as in the part with the lowest number."""
    record = merged(part(2, owner="eve@b", options={"soak": "1"}), part(1, owner="ada@a", options={"soak": "5"}))
    assert (record.run.owner, record.run.options) == ("ada@a", {"soak": "5"})


def test_values_that_were_hidden_are_counted_in_all_parts() -> None:
    """A value that two parts hid was hidden as often as both say together."""
    one, other = ended(part(1), redactions={"A": 2, "B": 1}), ended(part(2), redactions={"A": 3, "C": 4})
    assert merged(one, other).redactions == {"A": 5, "B": 1, "C": 4}


def test_merged_run_ends_no_earlier_than_what_a_part_without_an_end_told() -> None:
    """The last thing that a killed part told is later than the end of the others."""
    one, other = part(1), part(2)
    late = one.events[-1].at + dt.timedelta(hours=1)
    told = msgspec.structs.replace(other.events[-2], at=late)
    record = merged(one, altered(other, *other.events[1:-2], told))
    assert record.run.finished == late
