"""`switchproof script`: the host's script for people, wherever the command is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof import command
from switchproof.deploy.host.by_hand import by_hand
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.loading import load_contract


def test_the_script_of_a_target_file_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """An isolated installation has no Python to ask for a module; the command has the script."""
    assert command.main(["script", str(TARGETS / "ovh.toml")]) == 0
    assert capsys.readouterr().out == by_hand(load_contract(TARGETS / "ovh.toml", {}))


def test_no_script_is_printed_for_a_wrong_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output, which becomes the script, stays empty; one sentence names the file."""
    (tmp_path / "x.toml").write_text("no TOML", encoding="utf-8")
    for path in (tmp_path / "x.toml", tmp_path / "missing.toml"):
        assert command.main(["script", str(path)]) == 4
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith(f"switchproof script: {path}: ")
