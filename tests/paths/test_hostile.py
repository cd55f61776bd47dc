"""A repository made to mislead or to exhaust its reader is not understood, and never clean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchproof.deploy.paths import files, patience
from switchproof.deploy.paths.sources import Surveyor
from switchproof.deploy.paths.survey import Survey, SurveyVerdict

BAD = "ship:\n\tssh root@host nixos-rebuild switch\n"


def not_understood(folder: Path) -> Survey:
    found = Surveyor(folder).survey()
    assert found.verdict is SurveyVerdict.NOT_UNDERSTOOD, found
    return found


@pytest.mark.parametrize("name", ["justfile", "Makefile", ".gitlab-ci.yml", ".github/workflows/x.yml"])
@pytest.mark.parametrize("kind", ["link", "broken", "large", "fifo", "binary"])
def test_what_is_there_and_cannot_be_read_is_not_understood(tmp_path: Path, name: str, kind: str) -> None:
    """A link out of the repository or to nothing, a file that is too large, a FIFO or no text is told by its path."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(BAD)
    place = tmp_path / "repository" / name
    place.parent.mkdir(parents=True)
    match kind:
        case "link":
            place.symlink_to(elsewhere)
        case "broken":
            place.symlink_to(tmp_path / "nowhere")
        case "large":
            place.write_text("x" * (files.LARGEST + 1))
        case "fifo":
            os.mkfifo(place)
        case "binary":
            place.write_bytes(b"a:\n\0")
    found = not_understood(tmp_path / "repository")
    assert {note.place.file for note in found.not_understood} == {name}


def test_a_fifo_among_git_s_files_keeps_nobody(tmp_path: Path) -> None:
    """The commit of a repository whose HEAD is a FIFO is not known."""
    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / ".git" / "HEAD")
    assert Surveyor(tmp_path).survey().commit is None


def doubled(depth: int) -> str:
    lines = [f"A{number} = $(A{number + 1})$(A{number + 1})" for number in range(depth)]
    return "\n".join([*lines, f"A{depth} = xxxxxxxxxx", "ship:", "\techo $(A0)", ""])


def dependent(depth: int) -> str:
    rows = [f"t{number}: u{number} v{number} w{number}" for number in range(depth)]
    for kind in "uvw":
        rows += [f"{kind}{number}: t{number + 1}" for number in range(depth)]
    return "\n".join([*rows, f"t{depth}:", "\techo x", ""])


WORKFLOW = "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: |\n"
HOSTILE = {
    "shell": {".github/workflows/x.yml": WORKFLOW + "          A=xxxxxxxxxx\n" + "          A=$A$A\n" * 60},
    "dependencies": {"Makefile": dependent(17)},
    "expressions": {".github/workflows/x.yml": WORKFLOW + "          echo " + "${{ " * 100_000 + "\n"},
    "doubling": {
        ".github/workflows/x.yml": "on: push\nenv:\n  V0: "
        + "x" * 1000
        + "\n"
        + "".join(f"  V{n + 1}: ${{{{ env.V{n} }}}}${{{{ env.V{n} }}}}\n" for n in range(60))
        + "jobs:\n  a:\n    runs-on: x\n    steps:\n      - run: echo ${{ env.V60 }}\n"
    },
    "variables": {"Makefile": doubled(60)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_repository_without_end_is_read_to_an_end(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that double and recipes that depend on each other many times over end the survey."""
    monkeypatch.setattr(patience, "STEPS", 20_000)
    for path, text in HOSTILE[name].items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = Surveyor(tmp_path).survey()
    if name in {"dependencies", "shell"}:
        assert found.verdict is SurveyVerdict.NOT_UNDERSTOOD


def test_the_time_of_a_survey_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over, each entry point that is left is not understood."""
    monkeypatch.setattr(patience, "LIMIT_S", -1.0)
    (tmp_path / "Makefile").write_text(dependent(5))
    found = not_understood(tmp_path)
    assert "the survey stops after" in found.entry_points[0].not_understood[0].words
