"""`switchproof reports list`: every kept run as a line of text."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.reports.__main__ import main
from switchproof.reports.kept import listing
from switchproof.reports.kept.runs import read_kept
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


def test_a_narrow_terminal_gets_rows_that_fit(tmp_path: Path) -> None:
    """On 80 columns a row has run, verdict and hosts; time, mode, provider and commit are in the run's name."""
    keep(tmp_path, stories.canonical(*(f"host-{number}" for number in range(9))))
    keep(tmp_path, stories.rolled_back(), 1)
    runs = read_kept(tmp_path)
    wide, narrow = (listing.render(runs, tmp_path, columns).splitlines()[:-2] for columns in (None, 80))
    assert max(len(line) for line in wide) > 80
    assert max(len(line) for line in narrow) <= 80
    assert narrow[0].split() == ["run", "verdict", "hosts"]
    assert narrow[1].startswith("20261123T161203Z-deploy-ovh-1a2b3c4  non-canonical  a rolled-back")
    assert narrow[2].endswith("…")
    assert listing.render(runs, tmp_path, 300) == listing.render(runs, tmp_path)
