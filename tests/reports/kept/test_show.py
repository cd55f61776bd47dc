"""`switchproof reports show` tells what a run proved, from its files alone."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.record.record import write_record
from switchproof.reports.__main__ import COMMANDS, main
from switchproof.reports.ci import markdown
from tests.reports import stories
from tests.reports.story import Story


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with its record and its events."""
    return kept(tmp_path / "run", stories.rolled_back(), record=True)


def kept(folder: Path, story: Story, *, record: bool) -> Path:
    folder.mkdir()
    if record:
        write_record(story.record(), folder / "record.json")
    lines = [msgspec.json.encode(event) for event in story.events]
    (folder / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n{" * (not record))
    return folder


@pytest.mark.parametrize("name", ["", "record.json", "events.jsonl"])
def test_the_verdict_table_is_shown(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A run is named by its folder or by one of its files."""
    assert main(["show", str(folder / name)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("NON-CANONICAL  deploy of 1a2b3c4d5e6f, 2 hosts of ovh")
    assert "\x1b" not in shown


def test_a_killed_run_is_told_from_its_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was killed in the middle of a line has no record, and is shown all the same."""
    assert main(["show", str(kept(tmp_path / "run", stories.killed(), record=False))]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("INCONCLUSIVE")
    assert "a was in converge" in " ".join(shown.split())


def test_json_is_the_record_and_markdown_the_summary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The formats for machines and for pages hold the same run."""
    assert main(["show", str(folder), "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((folder / "record.json").read_text())
    assert main(["show", str(folder), "--format=markdown"]) == 0
    assert capsys.readouterr().out == markdown.render(stories.rolled_back().record())


def test_latest_is_the_newest_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`latest` is where the newest run's link stands, wherever the command is called."""
    monkeypatch.chdir(tmp_path)
    latest = tmp_path / "reports" / "latest"
    latest.parent.mkdir()
    latest.symlink_to(folder)
    assert main(["show", "latest"]) == 0
    assert "2 hosts of ovh" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{}", "no JSON", '{"event": "noted"}'])
def test_what_is_no_run_is_said_in_one_sentence(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing or a broken file ends with code 4 and a sentence that names it."""
    assert main(["show", str(tmp_path)]) == 4
    assert f"{tmp_path}: no run's folder" in capsys.readouterr().err
    for name in ("record.json", "events.jsonl"):
        (tmp_path / name).write_text(content)
        assert main(["show", str(tmp_path / name)]) == 4
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert name in said


def test_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Help lists the commands; without one, or with an unknown one, the code is 4 and they are listed as well."""
    assert main(["--help"]) == 0
    assert "  show " in capsys.readouterr().out
    for words, problem in ((["no-such"], "'no-such' is not a command"), ([], "a command is missing")):
        assert main(words) == 4
        shown = capsys.readouterr().err
        assert problem in shown
        assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("command", ["compare", "index", "list", "render", "show"])
def test_an_unknown_option_is_exit_code_4(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of `reports` ends with the code of wrong usage, and names the option."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--bogus"])
    assert ended.value.code == 4
    assert "unknown option --bogus" in capsys.readouterr().err


def test_no_line_is_a_command_in_a_step_of_github(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a step of GitHub the runner is told to obey nothing of what is shown, under a word that no host can know."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for how in ("text", "json", "markdown"):
        assert main(["show", str(folder), f"--format={how}"]) == 0
        first, *_, last = capsys.readouterr().out.splitlines()
        word = first.removeprefix("::stop-commands::")
        assert len(word) == 32
        assert last == f"::{word}::"


def test_json_commands_no_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Characters that command a terminal or turn text around are escaped in JSON, which means the same."""
    path = folder / "record.json"
    record = json.loads(path.read_text())
    record["hosts"][0]["state_reason"] = "a\x9b31m\u202eb\u2028"
    path.write_text(json.dumps(record, ensure_ascii=False))
    assert main(["show", str(folder), "--format=json"]) == 0
    shown = capsys.readouterr().out
    assert "a\\u009b31m\\u202eb\\u2028" in shown
    assert json.loads(shown)["hosts"][0]["state_reason"] == record["hosts"][0]["state_reason"]
