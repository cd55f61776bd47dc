"""`switchproof reports list`: every kept run as a line of text."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.reports.__main__ import main
from tests.reports import stories
from tests.reports.runs import keep


def test_runs_are_listed_with_the_newest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line has the verdict, the hosts and the folder; killed and unreadable runs are listed too."""
    over = keep(tmp_path, stories.canonical("a"), 1)
    killed = keep(tmp_path, stories.killed(), 2)
    broken = keep(tmp_path, stories.canonical("a"), 3)
    (broken / "record.json").write_text("{", encoding="utf-8")
    assert main(["list", str(tmp_path)]) == 0
    heading, *lines, empty, hint = capsys.readouterr().out.splitlines()
    assert heading.startswith("started (UTC)")
    assert [line.split()[-1] for line in lines] == [broken.name, killed.name, over.name]
    assert ["unreadable" in lines[0], " killed " in lines[1], " canonical " in lines[2]] == [True, True, True]
    assert "a converged" in lines[2]
    assert not empty
    assert hint.endswith(f"switchproof reports show {tmp_path / killed.name}")


def test_a_folder_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"No run is kept in {tmp_path}.\n"


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(tmp_path / "none")]) == 4
    assert "none: no such folder" in capsys.readouterr().err


def test_a_long_list_of_hosts_is_cut_with_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(tmp_path, stories.canonical("a", "b", "c", "d", "e", "f"), 1)
    assert main(["list", str(tmp_path)]) == 0
    assert "d converged, and 2 more" in capsys.readouterr().out
