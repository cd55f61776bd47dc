"""Only what a canonical run left a host with counts as proven."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from deploy.contract import ExitCode, HostState
from deploy.earlier import Proven
from deploy.past_runs import proven
from deploy.record import Record, write_record
from tests.reports import stories
from tests.reports.stories import Story


def keep(folder: Path, name: str, record: Record, minutes: int = 0) -> None:
    record.run.id = name
    record.run.started += dt.timedelta(minutes=minutes)
    (folder / name).mkdir()
    write_record(record, folder / name / "record.json")


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
    story = Story("a", mode="audit").clauses("a", *stories.CHECKS).seen("a", "after", stories.NEW, 3)
    keep(tmp_path, "audit", story.left("a", HostState.UNCHANGED, "").ended(ExitCode.CANONICAL).record())
    assert not proven(tmp_path, "ovh", "a")


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    """Neither a missing folder nor a broken record keeps the others from counting."""
    assert not proven(tmp_path / "nowhere", "ovh", "a")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    keep(tmp_path, "good", stories.canonical("a").record())
    assert [each.run for each in proven(tmp_path, "ovh", "a")] == ["good"]
