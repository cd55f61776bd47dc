"""Where a run's files stand."""

from __future__ import annotations

import datetime as dt
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from switchproof.deploy.record.record import read_record, write_record
from switchproof.reports import files
from tests.reports import stories
from tests.reports.story import BEGIN, SHA


def test_run_name_says_when_what_where_and_which() -> None:
    """A run's folder is named for its start in UTC, its mode, its provider and its commit."""
    at = dt.datetime(2026, 11, 23, 16, 12, 3, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert files.run_name(at, "deploy", "lab", SHA) == "20261123T151203Z-deploy-lab-1a2b3c4"
    assert files.run_name(at, "audit", "lab", None) == "20261123T151203Z-audit-lab"


def test_run_name_stays_in_its_folder() -> None:
    """A provider's name cannot lead out of the folder of runs."""
    assert "/" not in files.run_name(BEGIN, "deploy", "../../etc", None)


def test_runs_of_one_second_have_their_own_folders(tmp_path: Path) -> None:
    """Runs that begin in the same second, even at once, share no folder."""
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: files.make_folder(tmp_path / "runs", "name"), range(8)))
    assert len(set(folders)) == 8
    assert {folder.name for folder in folders} == {"name", *(f"name-{number}" for number in range(2, 9))}


def test_record_and_junit_are_written_and_latest_points_there(tmp_path: Path) -> None:
    """After a run its record can be read back, its JUnit XML parses, and `latest` is the run, even moved."""
    runs = tmp_path / "reports" / "runs"
    for name in ("one", "two"):
        folder = files.make_folder(runs, name)
        write_record(stories.rolled_back().record(), folder / "record.json")
        files.write(stories.rolled_back().record(), folder, tmp_path / "reports" / "latest")
    assert read_record(folder / "record.json") == stories.rolled_back().record()
    ET.parse(folder / "junit.xml")  # noqa: S314 - our own output
    assert sorted(path.name for path in folder.iterdir()) == ["junit.xml", "record.json"]
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert (moved / "reports" / "latest" / "record.json").samefile(moved / "reports" / "runs" / "two" / "record.json")
    assert sorted(path.name for path in (moved / "reports").iterdir()) == ["latest", "runs"]


def test_folder_in_the_way_of_latest_is_not_touched(tmp_path: Path) -> None:
    """Something that is no link is neither replaced nor half replaced; the run's files are there all the same."""
    latest = tmp_path / "latest"
    latest.mkdir()
    (latest / "precious").touch()
    folder = files.make_folder(tmp_path / "runs", "one")
    with pytest.raises(OSError, match="latest"):
        files.write(stories.canonical().record(), folder, latest)
    assert (latest / "precious").exists()
    assert (folder / "junit.xml").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "runs"]


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be written whole stays as it was."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
