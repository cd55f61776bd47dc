"""The table of real programs names every program that is there, says which are not, and marks what went wrong."""

from __future__ import annotations

from pathlib import Path

from bench.real import find, pairs
from bench.real_cases import CASES, Outcome
from bench.real_page import Table, merge, read, render

OUTCOMES = {
    CASES[0].title: Outcome("canonical", "", "0", "converged", as_it_should=True),
    CASES[1].title: Outcome("inconclusive", "converge", "10", "unsafe", as_it_should=False),
}


def folder_of_programs(below: Path) -> Path:
    """A folder with one program of each kind but the shell script."""
    package = below / "nixos-rebuild-ng-26.05"
    package.mkdir()
    (package / "__init__.py").write_text("def main(): ...\n")
    (below / "switch-to-configuration-24.11.pl").write_text("#! @perl@/bin/perl\n")
    (below / "switch-to-configuration-ng-c43e1423").write_bytes(b"\x7fELF and so on")
    (below / "notes.txt").write_text("nothing\n")
    return below


def test_programs_are_found_by_their_names(tmp_path: Path) -> None:
    """What an entry is and its version come from its name and its first bytes; other files are left alone."""
    found = find(folder_of_programs(tmp_path))
    assert [(program.kind, program.version) for program in found] == [
        ("nixos-rebuild-ng", "26.05"),
        ("switch-to-configuration as a script", "24.11"),
        ("switch-to-configuration as a binary", "c43e1423"),
    ]


def test_programs_of_both_kinds_are_tried_together(tmp_path: Path) -> None:
    """Newest with newest; what is left over meets the stand-in."""
    versions = [
        tuple(program.version if program else None for program in (pair.rebuild, pair.switch))
        for pair in pairs(find(folder_of_programs(tmp_path)))
    ]
    assert versions == [("26.05", "c43e1423"), (None, "24.11")]


def test_the_page_has_a_row_for_what_is_not_there_and_marks_what_went_wrong(tmp_path: Path) -> None:
    """A missing program, a right case and a wrong one each have their row."""
    found = find(folder_of_programs(tmp_path))
    first = pairs(found)[0]
    page = render(found, [first], {first.title: Table("systemd 257", OUTCOMES)}, "- 26.05 is new\n")
    assert "\n- 26.05 is new\n" in page
    assert "| nixos-rebuild as a shell script | not there | | no |" in page
    assert "## nixos-rebuild-ng 26.05 with switch-to-configuration as a binary c43e1423" in page
    assert f"systemd 257. 1 of 2 cases ended as expected; {len(CASES)} exist." in page
    assert "| good: `main` | canonical |  | 0 | converged | yes |" in page
    wrong = "| good: `systemd-upgrade` | inconclusive | converge | 10 | unsafe | **no**: canonical, converged |"
    assert wrong in page


def test_sittings_add_to_the_page(tmp_path: Path) -> None:
    """A page is read back as it was written, and the newer outcome of a case counts; other programs begin anew."""
    found = find(folder_of_programs(tmp_path))
    first, second = pairs(found)
    tables = {pair.title: Table("systemd 257 (257.13), Python 3.13", OUTCOMES) for pair in (first, second)}
    page = render(found, [first, second], tables, "- 26.05 is new\n")
    assert read(page, [first, second]) == tables
    assert read("", [first, second]) == {}
    newer = {CASES[1].title: Outcome("canonical", "", "0", "converged", as_it_should=True)}
    merged = merge(read(page, [first, second]), {first.title: Table("systemd 262", newer)})
    assert merged == {first.title: Table("systemd 262", {**OUTCOMES, **newer}), second.title: tables[second.title]}
    (tmp_path / "switch-to-configuration-ng-c43e1423").write_bytes(b"\x7fELF and something else")
    assert read(page, [first, second]) == {second.title: tables[second.title]}
