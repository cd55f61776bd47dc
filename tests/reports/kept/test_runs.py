"""Which runs a folder keeps, read once and none passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchproof.deploy.record.hold import hold
from switchproof.deploy.record.record import Record
from switchproof.reports.kept import lookup, runs
from switchproof.reports.kept.runs import Kept, read_kept
from tests.reports import stories
from tests.reports.runs import keep


def ends(folder: Path) -> list[tuple[str, str]]:
    return [(run.folder, run.end) for run in read_kept(folder)]


def test_the_newest_comes_first_and_none_is_passed_over(tmp_path: Path) -> None:
    """Over, going on, killed, broken or empty: each run stands in the list with what is known of it."""
    over = keep(tmp_path, stories.canonical("a"), 1)
    killed = keep(tmp_path, stories.killed(), 2)
    broken = keep(tmp_path, stories.canonical("a"), 3)
    (broken / "record.json").write_text('{"schema": "switchproof/record/v1"')
    going_on = keep(tmp_path, stories.killed(), 4)
    empty = tmp_path / "20261124T200000Z-audit-lab-0f0f"
    empty.mkdir()
    (tmp_path / "latest").symlink_to(over)
    (tmp_path / "screenshots").mkdir()
    (tmp_path / "index.html").touch()
    with hold(going_on):
        found = {run.folder: run for run in read_kept(tmp_path)}
    assert [(name, run.end) for name, run in found.items()] == [
        (empty.name, "unreadable"),
        (going_on.name, "going-on"),
        (broken.name, "unreadable"),
        (killed.name, "killed"),
        (over.name, "over"),
    ]
    assert (found[empty.name].mode, found[empty.name].provider) == ("audit", "lab")
    assert found[broken.name].problem.startswith("record.json: cannot be read as a run")
    killed_digest = found[killed.name].digest
    assert killed_digest is not None
    assert killed_digest.took_s is None
    assert "a was in converge" in killed_digest.sentence


def test_a_run_that_begins_is_going_on(tmp_path: Path) -> None:
    """A run that has not told anything yet, but holds its folder, is no wreck."""
    place = tmp_path / "20261124T200000Z-deploy-lab-0f0f"
    place.mkdir()
    (place / "events.jsonl").touch()
    with hold(place):
        assert ends(tmp_path) == [(place.name, "going-on")]
    assert ends(tmp_path) == [(place.name, "unreadable")]


def test_a_folder_of_another_name_counts_for_what_it_holds(tmp_path: Path) -> None:
    """A run that somebody gave a name of his own is one still."""
    place = keep(tmp_path, stories.canonical("a")).rename(tmp_path / "before-the-move")
    assert ends(tmp_path) == [(place.name, "over")]


def test_what_was_read_once_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run's files are read when they are new or have changed, and forgotten when they are gone."""
    read: list[str] = []

    def read_run(name: str) -> Record:
        read.append(Path(name).name)
        return lookup.read_run(name)

    monkeypatch.setattr(runs, "read_run", read_run)
    one, two = (keep(tmp_path, stories.canonical("a"), hours) for hours in (1, 2))
    first = read_kept(tmp_path)
    assert sorted(read) == [one.name, two.name]
    assert read_kept(tmp_path) == first
    assert len(read) == 2
    changed = (one / "record.json").read_text().replace('"main"', '"next"')
    (one / "record.json").write_text(changed)
    os.utime(one / "record.json", ns=(1, 1))
    assert [requested(run) for run in read_kept(tmp_path)] == ["main", "next"]
    assert len(read) == 3
    two.rename(tmp_path.parent / two.name)
    assert [requested(run) for run in read_kept(tmp_path)] == ["next"]


def requested(run: Kept) -> str | None:
    assert run.digest is not None
    return run.digest.requested


@pytest.mark.parametrize("content", [b"", b"{}", b'{"form": 0, "runs": {}}', b"\xff"])
def test_digests_that_are_not_ours_are_made_again(tmp_path: Path, content: bytes) -> None:
    """Whatever stands where the digests are kept, the list is right."""
    keep(tmp_path, stories.canonical("a"))
    (tmp_path / ".digests.json").write_bytes(content)
    assert [requested(run) for run in read_kept(tmp_path)] == ["main"]


def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That digests cannot be kept changes nothing about the list."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    keep(tmp_path, stories.canonical("a"))
    monkeypatch.setattr("switchproof.reports.files.write_text", full)
    assert [run.end for run in read_kept(tmp_path)] == ["over"]
    assert read_kept(tmp_path / "none") == []
