"""Only whole, unchanged and canonical records are taken from a folder of runs; signed ones where that is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.contract import RunVerdict
from switchproof.deploy.cutover.proofs import gather
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.record import Record, write_record
from tests.cutover.stories import audited, step
from tests.promotion.runs import Keys, keep, make_keys, signed_run, staging


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


def found(runs: Path, keys: Keys | None = None) -> list[tuple[str, str | None, bool]]:
    """What is taken: the folder, who signed, and whether it is trusted."""
    return [
        (one.folder, one.signer, one.distrust is None) for one in gather(runs, keys.allowed() if keys else None, None)
    ]


def test_a_signed_run_is_taken_with_its_signer(tmp_path: Path, keys: Keys) -> None:
    """Where signatures are asked for, a signed run counts and says who signed it."""
    signed_run(tmp_path, keys)
    assert found(tmp_path, keys) == [("run", "ci@staging", True)]
    assert found(tmp_path) == [("run", None, True)]


def test_a_run_without_a_signature_counts_only_where_none_is_asked(tmp_path: Path, keys: Keys) -> None:
    """An unsigned record is distrusted as soon as signers are named."""
    (tmp_path / "run").mkdir()
    write_record(staging(), tmp_path / "run" / "record.json")
    assert found(tmp_path) == [("run", None, True)]
    ((folder, signer, trusted),) = found(tmp_path, keys)
    assert (folder, signer, trusted) == ("run", None, False)


def change_record(folder: Path) -> None:
    record = msgspec.json.decode((folder / "record.json").read_bytes(), type=Record)
    record.run.options["x"] = "y"
    write_record(record, folder / "record.json")


def change_evidence(folder: Path) -> None:
    next((folder / "evidence").rglob("*.txt")).write_text("failed\n", encoding="utf-8")


def drop_signature(folder: Path) -> None:
    (folder / "statement.json.sig").unlink()


@pytest.mark.parametrize("spoil", [change_record, change_evidence, drop_signature])
def test_what_was_changed_after_it_was_signed_is_distrusted(
    tmp_path: Path, keys: Keys, spoil: Callable[[Path], None]
) -> None:
    """A changed record, changed evidence or a lost signature is told, and the run counts for nothing."""
    spoil(signed_run(tmp_path, keys))
    ((_, _, trusted),) = found(tmp_path, keys)
    assert not trusted


def test_a_signed_audit_of_several_commits_is_taken(tmp_path: Path, keys: Keys) -> None:
    """An audit of hosts that run several commits is signed about their systems alone, and counts."""
    record = audited(step(4).decide())
    record.revision.sha = None
    signed_run(tmp_path, keys, record)
    assert found(tmp_path, keys) == [("run", "ci@staging", True)]


def test_nothing_but_exactly_canonical_counts(tmp_path: Path) -> None:
    """Any other verdict, also one that this version does not know, proves nothing."""
    for name, verdict in (("a", RunVerdict.NON_CANONICAL), ("b", RunVerdict.INCONCLUSIVE)):
        record = staging()
        record.verdict = verdict
        (tmp_path / name).mkdir()
        write_record(record, tmp_path / name / "record.json")
    (tmp_path / "c").mkdir()
    write_record(staging(), tmp_path / "c" / "record.json")
    text = (tmp_path / "c" / "record.json").read_text(encoding="utf-8")
    changed = text.replace('"verdict": "canonical"', '"verdict": "canonical with waivers"')
    (tmp_path / "c" / "record.json").write_text(changed, encoding="utf-8")
    assert found(tmp_path) == []


def test_what_is_no_proof_is_left_out(tmp_path: Path, keys: Keys) -> None:
    """Plain audits, links, and files that are no records are no candidates."""
    audit = staging()
    audit.run.mode = "audit"
    (tmp_path / "audit").mkdir()
    write_record(audit, tmp_path / "audit" / "record.json")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    keep(staging(), tmp_path / "elsewhere")
    (tmp_path / "latest").symlink_to(signed_run(tmp_path / "elsewhere", keys))
    assert found(tmp_path) == []


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Where there is no folder of runs, that is said."""
    with pytest.raises(UsageError, match="--records="):
        gather(tmp_path / "none", None, None)
