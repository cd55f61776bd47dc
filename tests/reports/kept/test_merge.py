"""`switchproof reports merge` makes one folder of the runs of parts, with all of their evidence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.contract import ExitCode, RunVerdict
from switchproof.deploy.record.events import AnyEvent, EvidenceKept
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.journal import read_events
from switchproof.deploy.record.record import read_record
from switchproof.reports.kept import merge
from tests.record.test_merging import part


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """The folders of both parts of an audit, with their evidence."""
    folders = []
    for index in (1, 2):
        folder = tmp_path / f"part-{index}"
        lines: list[AnyEvent] = []
        for event in part(index).events:
            if isinstance(event, EvidenceKept):
                body = f"{index}: {event.path}".encode()
                (folder / event.path).parent.mkdir(parents=True, exist_ok=True)
                (folder / event.path).write_bytes(body)
                digest = hashlib.sha256(body).hexdigest()
                lines.append(msgspec.structs.replace(event, sha256=digest, bytes=len(body)))
            else:
                lines.append(event)
        (folder / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        folders.append(str(folder))
    return folders


def merged(tmp_path: Path) -> Path:
    """The folder of the merged run."""
    (folder,) = (tmp_path / "merged").glob("2*")
    return folder


def test_parts_become_a_run_like_any_other(
    tmp_path: Path, runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Record, report, JUnit and events are there, and every file of evidence."""
    assert merge.command([*runs, f"--report-dir={tmp_path / 'merged'}"]) == ExitCode.CANONICAL
    folder = merged(tmp_path)
    record = read_record(folder / "record.json")
    assert record.verdict is RunVerdict.CANONICAL
    assert msgspec.json.encode(fold(read_events(folder / "events.jsonl"))) == msgspec.json.encode(record)
    assert {path.name for path in folder.iterdir()} >= {"report.html", "junit.xml", "evidence"}
    assert len(record.evidence) == 10
    for kept in record.evidence:
        assert hashlib.sha256((folder / kept.path).read_bytes()).hexdigest() == kept.sha256
    assert "CANONICAL" in capsys.readouterr().out


def test_evidence_that_was_changed_on_the_way_makes_the_run_inconclusive(
    tmp_path: Path, runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file is held against the digest that its run noted, and one that is lost is named, too."""
    (Path(runs[0]) / "evidence/a/closure.txt").write_text("something else")
    (Path(runs[1]) / "evidence/b/closure.txt").unlink()
    assert merge.command([*runs, f"--report-dir={tmp_path / 'merged'}"]) == ExitCode.INCONCLUSIVE
    said = " ".join(capsys.readouterr().out.split())
    assert "has evidence that was changed: evidence/a/closure.txt" in said
    assert "lacks its evidence evidence/b/closure.txt" in said


def test_link_in_a_part_is_not_followed(tmp_path: Path, runs: list[str]) -> None:
    """A part may come from a machine that is not trusted with the files of this one."""
    (tmp_path / "secret").write_text("secret")
    file = Path(runs[0]) / "evidence/a/closure.txt"
    file.unlink()
    file.symlink_to(tmp_path / "secret")
    assert merge.command([*runs, f"--report-dir={tmp_path / 'merged'}"]) == ExitCode.INCONCLUSIVE
    assert not (merged(tmp_path) / "evidence/a/closure.txt").exists()


@pytest.mark.parametrize("missing", ["nowhere", "."])
def test_what_is_not_a_run_is_refused_before_anything_is_written(
    tmp_path: Path, runs: list[str], capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """One sentence says what is not there."""
    assert merge.command([runs[0], str(tmp_path / missing), f"--report-dir={tmp_path / 'merged'}"]) == ExitCode.USAGE
    assert "no events.jsonl is there" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()
