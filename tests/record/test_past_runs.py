"""Only what a canonical run left a host with counts as proven."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from switchproof.deploy.contract import ExitCode, HostState
from switchproof.deploy.observe.earlier import Proven
from switchproof.deploy.record.past_runs import last_canonical, proven, read_earlier
from switchproof.deploy.record.record import Record, write_record
from tests.reports import stories
from tests.reports.story import BEGIN, CHECKS, NEW, Story
from tests.schema import validate


def keep(folder: Path, name: str, record: Record, minutes: int = 0) -> None:
    record.run.id = name
    record.run.started += dt.timedelta(minutes=minutes)
    (folder / name).mkdir()
    write_record(record, folder / name / "record.json")
    validate((folder / name / "record.json").read_bytes())


def left_with(toplevel: str) -> Record:
    record = stories.canonical("a").record()
    for host in record.hosts:
        assert host.after
        host.after = msgspec.structs.replace(host.after, toplevel=toplevel)
    return record


def test_newest_canonical_run_comes_first(tmp_path: Path) -> None:
    """Runs are ordered by when they began, not by the names of their folders."""
    keep(tmp_path, "z", left_with("/old"), minutes=1)
    keep(tmp_path, "a", left_with("/new"), minutes=2)
    (tmp_path / "latest").symlink_to("a", target_is_directory=True)
    assert proven(tmp_path, "ovh", "a") == [Proven("/new", "a"), Proven("/old", "z")]


def test_other_hosts_providers_and_verdicts_do_not_count(tmp_path: Path) -> None:
    """What was not canonical, or was about another host or provider, proves nothing of this one."""
    keep(tmp_path, "good", stories.canonical("a").record())
    assert not proven(tmp_path, "ovh", "b")
    assert not proven(tmp_path, "lab", "a")
    (tmp_path / "other").mkdir()
    for story in (stories.rolled_back, stories.unsafe, stories.inconclusive, stories.killed):
        keep(tmp_path / "other", story.__name__, story().record())
    assert not proven(tmp_path / "other", "ovh", "a")


def test_audit_leaves_no_host_with_a_system(tmp_path: Path) -> None:
    """A run that changed nothing does not say what a host was left with."""
    story = Story("a", mode="audit").clauses("a", *CHECKS).seen("a", "after", NEW, 3)
    keep(tmp_path, "audit", story.left("a", HostState.UNCHANGED, "").ended(ExitCode.CANONICAL).record())
    assert not proven(tmp_path, "ovh", "a")


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    """Neither a missing folder nor a broken record keeps the others from counting."""
    assert not proven(tmp_path / "nowhere", "ovh", "a")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    keep(tmp_path, "good", stories.canonical("a").record())
    assert [each.run for each in proven(tmp_path, "ovh", "a")] == ["good"]


LATER = BEGIN + dt.timedelta(days=1)


def test_last_canonical_run_of_the_same_hosts_is_found(tmp_path: Path) -> None:
    """It is the newest canonical one before the time, of this provider and of at least these hosts."""
    keep(tmp_path, "20261123T1", stories.canonical("a", "b").record(), minutes=1)
    keep(tmp_path, "20261123T2", stories.canonical("a").record(), minutes=2)
    keep(tmp_path, "20261123T3", stories.rolled_back().record(), minutes=3)
    keep(tmp_path, "20261123T4", stories.canonical("a", "b", provider="aws").record(), minutes=4)
    keep(tmp_path, "20261124T5", stories.canonical("a", "b").record(), minutes=2 * 24 * 60)
    found = last_canonical(tmp_path, "ovh", ["a", "b"], LATER)
    assert found is not None
    path, record = found
    assert (path.parent.name, record.run.id) == ("20261123T1", "20261123T1")
    assert last_canonical(tmp_path, "ovh", ["c"], LATER) is None
    assert last_canonical(tmp_path / "nowhere", "ovh", ["a"], LATER) is None


def test_earlier_runs_are_told_with_what_did_not_pass(tmp_path: Path) -> None:
    """A run is held against the newest canonical one and the newest of all, and what did not pass there is named."""
    keep(tmp_path, "20261123T1", stories.canonical("a", "b").record(), minutes=1)
    keep(tmp_path, "20261123T3", stories.rolled_back().record(), minutes=3)
    told = read_earlier(tmp_path, "ovh", ["a"], "deploy", LATER)
    assert told.canonical
    assert told.previous
    assert (told.canonical.folder, told.previous.folder) == ("20261123T1", "20261123T3")
    (canonical,), (previous,) = told.canonical.hosts, told.previous.hosts
    assert (canonical.toplevel, canonical.not_passed) == (NEW, {})
    assert previous.not_passed == {"answers": "failed", "live": "blocked", "dev": "blocked"}


def test_usual_time_of_a_phase_is_the_median_of_those_that_ended_well(tmp_path: Path) -> None:
    """Phases of the same mode count that ended without trouble; several of one kind in a run count together."""
    for number, seconds in enumerate([10.0, 20.0, 90.0]):
        story = Story("a").phase("a", "converge", seconds).phase("a", "observe", 1.0).phase("a", "observe", 2.0)
        keep(tmp_path, f"20261123T{number}", story.record(), minutes=number)
    keep(tmp_path, "20261123T8", Story("a").phase("a", "converge", 1.0, problem="lost").record(), minutes=8)
    keep(tmp_path, "20261123T9", Story("a", mode="audit").phase("a", "observe", 60.0).record(), minutes=9)
    told = read_earlier(tmp_path, "ovh", ["a"], "deploy", LATER).typical
    assert {(one.phase, one.median_s, one.runs) for one in told} == {("converge", 20.0, 3), ("observe", 3.0, 3)}
