"""`switchproof reports render` makes a run's page again, from its files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.reports.__main__ import main
from switchproof.reports.page import conformance
from tests.reports import pages, stories
from tests.reports.runs import keep


@pytest.mark.parametrize("name", ["", "record.json", "events.jsonl"])
def test_the_page_is_made_again(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Record and events give the page that the run itself wrote, beside it, and its place is printed."""
    place = keep(tmp_path, stories.rolled_back())
    assert main(["render", str(place / name)]) == 0
    assert capsys.readouterr().out == f"{place / 'conformance.html'}\n"
    assert (place / "conformance.html").read_text() == (place / "report.html").read_text()


def test_a_killed_run_has_a_page(tmp_path: Path) -> None:
    """What was journaled until a run was killed is a whole page that says so."""
    place = keep(tmp_path, stories.killed())
    assert main(["render", str(place)]) == 0
    header = pages.read((place / "conformance.html").read_text()).one("header", class_="verdict")
    assert header.one("h1").text.endswith("Inconclusive")
    assert "a was in converge" in header.text


def test_the_page_goes_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--output names a file, or standard output; nothing else is written."""
    place = keep(tmp_path, stories.canonical("a"))
    there = sorted(place.iterdir())
    assert main(["render", str(place), f"--output={tmp_path / 'page.html'}"]) == 0
    capsys.readouterr()
    assert main(["render", str(place), "--output", "-"]) == 0
    assert capsys.readouterr().out == (tmp_path / "page.html").read_text()
    assert sorted(place.iterdir()) == there
    assert conformance.render(stories.canonical("a").record()) in (tmp_path / "page.html").read_text()


def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No run, or no place for the page, ends with code 4 and a sentence that names it."""
    assert main(["render", str(tmp_path / "none")]) == 4
    assert "none: no run's folder" in capsys.readouterr().err
    place = keep(tmp_path, stories.canonical("a"))
    assert main(["render", str(place), f"--output={tmp_path / 'no' / 'page.html'}"]) == 4
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "page.html: cannot be written: No such file or directory" in told
