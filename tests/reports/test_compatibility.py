"""Records of the published schema stay readable: the ones kept here were written by its first version.

They are never made again. A change that breaks a test needs a new version of the schema (docs/records.md).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import asdict

from switchproof.deploy.trust.promotion import Reason, judge_record
from switchproof.reports.__main__ import main
from switchproof.reports.ci import junit, markdown
from switchproof.reports.kept import compare
from switchproof.reports.kept.lookup import read_run
from switchproof.reports.page import layout
from switchproof.reports.terminal import summary
from tests.promotion.runs import DEMAND, staging
from tests.schema import validate

ROOT = Path(__file__).parents[2]
KEPT = Path(__file__).parent / "kept-v1"
RECORDS = sorted(KEPT.glob("*.json"))
PAGE = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")


def lost(before: Any, after: Any, place: str = "$") -> list[str]:
    """Name every value of an older document that a newer one lacks or has changed."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [name for key, value in before.items() for name in lost(value, after.get(key), f"{place}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [name for index, pair in pairs for name in lost(*pair, f"{place}[{index}]")]
    return [] if before == after else [place]


every_record = pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)


@every_record
def test_every_output_can_be_made_of_a_kept_record(path: Path, tmp_path: Path) -> None:
    """It is valid by today's schema, opens, and is shown, drawn and compared."""
    validate(path.read_bytes())
    record = read_run(str(path))
    assert layout.standalone(record, tmp_path)
    assert summary.render(record, tmp_path, colour=False)
    assert markdown.render(record)
    assert junit.render(record)
    assert compare.compare(record, read_run(str(path)), {}).same


@every_record
def test_no_field_of_a_kept_record_is_lost(path: Path) -> None:
    """Read and written again, it has every field and value that it had."""
    before = json.loads(path.read_bytes())
    assert lost(before, json.loads(msgspec.json.encode(read_run(str(path))))) == []


def test_a_run_that_was_killed_can_be_made_of_its_kept_events(tmp_path: Path) -> None:
    """Its events open as the run that they are."""
    shutil.copy(KEPT / "killed.jsonl", tmp_path / "events.jsonl")
    record = read_run(str(tmp_path))
    assert record.run.finished is None
    assert layout.standalone(record, tmp_path)


def test_unknown_fields_are_let_pass(tmp_path: Path) -> None:
    """A record of a later Switchproof opens in this one as far as this one knows it."""
    record = json.loads((KEPT / "canonical.json").read_bytes())
    for part in (record, record["run"], record["hosts"][0], record["hosts"][0]["clauses"][0]["checks"][0]):
        part["of_a_later_version"] = {"some": ["thing"]}
    (tmp_path / "record.json").write_text(json.dumps(record), encoding="utf-8")
    assert msgspec.json.encode(read_run(str(tmp_path))) == msgspec.json.encode(read_run(str(KEPT / "canonical.json")))


def test_another_version_of_the_schema_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the file and the version that it has."""
    record = json.loads((KEPT / "canonical.json").read_bytes()) | {"schema": "switchproof/record/v2"}
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record), encoding="utf-8")
    assert main(["show", str(tmp_path)]) == 4
    message = capsys.readouterr().err.strip()
    assert message.replace(str(file), "RUN/record.json") in PAGE


def test_the_gate_refuses_another_contract_in_a_sentence_that_names_both() -> None:
    """The page of records quotes it with the digests that were found and are needed."""
    record = staging()
    record.contract_sha256 = "1a2b3c4d5e6f" + "0" * 52
    demand = type(DEMAND)(**(asdict(DEMAND) | {"contract_sha256": "0f9e8d7c6b5a" + "0" * 52}))
    (refusal,) = judge_record(record, demand)
    assert refusal.reason is Reason.CONTRACT
    assert " ".join(PAGE.split()).count(refusal.sentence.partition(": ")[0]) == 1
