"""What a run says at its beginning, before any host is asked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from switchproof.deploy.providers import load
from switchproof.deploy.record import facts
from switchproof.session.beginning import notes_of

LAB = (Path(__file__).parents[2] / "deploy" / "targets" / "lab.toml").read_text(encoding="utf-8")


def test_secrets_that_are_not_set_are_noted(tmp_path: Path) -> None:
    """A misspelled name, or one that a CI job does not pass on, hides nothing: the run says which."""
    path = tmp_path / "lab.toml"
    path.write_text(f'secrets = ["SET", "EMPTY", "MISSPELLED"]\n{LAB}', encoding="utf-8")
    environ = {"SET": "a-value", "EMPTY": ""}
    (note,) = notes_of(load(path, environ), (), environ)
    assert note.endswith("are not set, so nothing hides their values: EMPTY, MISSPELLED")
    assert list(notes_of(load(path, {}), (), {"SET": "a", "EMPTY": "b", "MISSPELLED": "c"})) == []


def test_expired_waivers_are_noted(tmp_path: Path) -> None:
    """A waiver that counts no longer is named; one that counts is not."""
    (tmp_path / "lab.toml").write_text(LAB, encoding="utf-8")
    end = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    waived = [
        facts.Waiver(check=check, host=None, reason="known", owner="ops", expires=end, expired=expired)
        for check, expired in (("runtime/live/old", True), ("runtime/live/new", False))
    ]
    (note,) = notes_of(load(tmp_path / "lab.toml", {}), waived, {})
    assert "runtime/live/old" in note
