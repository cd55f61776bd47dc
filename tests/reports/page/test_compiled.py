"""Compiled templates are kept where nobody else can put any, and a report never waits for that."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from switchproof.reports.page.compiled import compiled


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache that is empty; the folder of the templates in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "switchproof" / "templates"


def rendered() -> str:
    """Render a template with the cache as it is."""
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"page": "{{ word }}"}), bytecode_cache=compiled(), autoescape=True
    )
    return environment.get_template("page").render(word="told")


def test_a_template_is_compiled_once(home: Path) -> None:
    """It is kept in a folder that is the user's alone, and read from there."""
    assert rendered() == "told"
    (kept,) = home.iterdir()
    assert home.stat().st_mode & 0o777 == 0o700
    written = kept.stat().st_mtime_ns
    assert rendered() == "told"
    assert kept.stat().st_mtime_ns == written


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_what_others_could_have_written_is_not_run(home: Path, mode: int) -> None:
    """A folder that others may write to is left alone."""
    home.mkdir(parents=True)
    home.chmod(mode)
    assert compiled() is None
    assert rendered() == "told"
    assert list(home.iterdir()) == []


def test_a_file_in_the_way_hinders_nothing(home: Path) -> None:
    """Without a folder for it, a template is compiled in each run."""
    home.parent.mkdir()
    home.touch()
    assert compiled() is None
    assert rendered() == "told"


def test_what_is_kept_and_broken_is_compiled_again(home: Path) -> None:
    """Neither a file that is cut off nor one that cannot be read or written is a problem."""
    rendered()
    (kept,) = home.iterdir()
    kept.write_bytes(kept.read_bytes()[:40])
    assert rendered() == "told"
    kept.unlink()
    kept.mkdir()
    assert rendered() == "told"
