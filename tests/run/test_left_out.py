"""What nix leaves out of a commit's source, as people are told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.contract import HostState
from tests.run.drives import Drive
from tests.run.hosts import Host, Turn


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("submodules\n", ["The commit has submodules (.gitmodules)."]),
        ("submodules\nlfs\n", ["The commit has submodules", "The commit has files of Git LFS"]),
        ("something else", []),
    ],
)
def test_what_is_left_out_is_warned_of_before_anything_changes(tmp_path: Path, said: str, words: list[str]) -> None:
    """The deploy goes on, as a configuration may need none of it; what a host makes up is no warning."""
    host = Host("a", turns={"resolve": [Turn({"left_out": said})]})
    drive = Drive(tmp_path, host)
    drive.fleet.commit("a")
    assert [question.verb for question in host.asked] == ["resolve"]
    assert [drive.words.count(each) for each in words] == [1] * len(words)
    assert drive.words.count("The commit has") == len(words)
    assert drive.run() == {"a": HostState.CONVERGED}
