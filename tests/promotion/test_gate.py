"""The gate lets through what real keys signed about this very run, and nothing else, each with its sentence."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.plan import Plan
from switchproof.deploy.record.events import PromotedFrom
from switchproof.deploy.record.record import Record, write_record
from switchproof.deploy.run.gate import pass_gate
from switchproof.deploy.target.types import Requires
from switchproof.deploy.trust.attestation import read_attested
from switchproof.deploy.trust.signing import NAMESPACE, sign
from tests.promotion.runs import (
    COMMIT,
    CONTRACT,
    NOW,
    OTHER_COMMIT,
    Keys,
    changed,
    failed,
    keep,
    production,
    signed_run,
    staging,
)
from tests.reports import stories


def gate(plan: Plan, now: dt.datetime = NOW) -> PromotedFrom:
    passed = pass_gate(plan, CONTRACT, now)
    assert passed is not None
    return passed


def refused(plan: Plan, now: dt.datetime = NOW) -> str:
    with pytest.raises(UsageError) as raised:
        pass_gate(plan, CONTRACT, now)
    message = str(raised.value)
    assert message.startswith(
        f"--require-record={plan.gate and plan.gate.record}: no run lets commit {plan.revision}"
    )
    assert "nothing was touched" in message
    return message


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def resign(folder: Path, key: Path, namespace: str = NAMESPACE) -> None:
    """Sign whatever stands in `statement.json` now."""
    (folder / "statement.json.sig").unlink()
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace, str(folder / "statement.json")]
    subprocess.run(command, check=True, timeout=30, capture_output=True)


@pytest.mark.parametrize("named", ["", "record.json"])
def test_a_signed_staging_run_lets_its_commit_through(run: Path, keys: Keys, named: str) -> None:
    """The run's folder or its record will do, and what was accepted is told."""
    passed = gate(production(run / named, keys.allowed()))
    assert passed == PromotedFrom(
        record=str(run / "record.json"),
        run=staging().run.id,
        signer="ci@staging",
        statement_sha256=hashlib.sha256((run / "statement.json").read_bytes()).hexdigest(),
    )


def test_ssh_keygen_alone_can_check_a_run(run: Path, keys: Keys) -> None:
    """The commands that the documentation gives find the principal, verify the statement and hold the record."""
    page = (Path(__file__).parents[2] / "docs" / "promotion.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(# By hand.*?)```", page, re.DOTALL)
    shutil.copy(keys.allowed(), run / "allowed_signers")
    done = subprocess.run(["bash", "-euc", script], cwd=run, check=False, timeout=30, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'Good "{NAMESPACE}" signature for ci@staging' in done.stdout
    assert hashlib.sha256((run / "record.json").read_bytes()).hexdigest() in done.stdout
    (run / "record.json").write_text("{}", encoding="utf-8")
    done = subprocess.run(["bash", "-euc", script], cwd=run, check=False, timeout=30, capture_output=True, text=True)
    assert done.returncode != 0


def test_a_link_to_the_run_will_do(run: Path, keys: Keys, tmp_path: Path) -> None:
    """`reports/latest` is a link to a run's folder, and names it."""
    (tmp_path / "latest").symlink_to(run)
    assert gate(production(tmp_path / "latest", keys.allowed())).signer == "ci@staging"


# What was tampered with, and the sentence that says so.


def _record_changed(folder: Path, _keys: Keys) -> None:
    edit(folder / "record.json", lambda record: record["hosts"][0].update(state_reason="all is well"))


def _record_key_twice(folder: Path, _keys: Keys) -> None:
    path = folder / "record.json"
    path.write_text(path.read_text().replace('"provider":', '"emulated": false, "provider":', 1))


def _record_missing(folder: Path, _keys: Keys) -> None:
    (folder / "record.json").unlink()
    (folder / "record.json").symlink_to("nowhere")


def _record_linked_out(folder: Path, _keys: Keys) -> None:
    (folder / "record.json").rename(folder.parent / "elsewhere.json")
    (folder / "record.json").symlink_to(folder.parent / "elsewhere.json")


def _evidence_changed(folder: Path, _keys: Keys) -> None:
    (folder / "evidence" / "b" / "status.txt").write_text("failed\n")


def _evidence_gone(folder: Path, _keys: Keys) -> None:
    (folder / "evidence" / "b" / "status.txt").unlink()


def _evidence_linked_out(folder: Path, _keys: Keys) -> None:
    path = folder / "evidence" / "b" / "status.txt"
    path.rename(folder.parent / "same.txt")
    path.symlink_to(folder.parent / "same.txt")


def _statement_changed(folder: Path, _keys: Keys) -> None:
    path = folder / "statement.json"
    path.write_text(path.read_text().replace("PASSED", "WARNED"))


def _statement_gone(folder: Path, _keys: Keys) -> None:
    (folder / "statement.json").unlink()


def _statement_linked_out(folder: Path, _keys: Keys) -> None:
    (folder / "statement.json").rename(folder.parent / "statement.json")
    (folder / "statement.json").symlink_to(folder.parent / "statement.json")


def _signature_gone(folder: Path, _keys: Keys) -> None:
    (folder / "statement.json.sig").unlink()


def _signature_garbled(folder: Path, _keys: Keys) -> None:
    (folder / "statement.json.sig").write_text("-----BEGIN SSH SIGNATURE-----\nAAAA\n")


def _signed_by_a_stranger(folder: Path, keys: Keys) -> None:
    resign(folder, keys.stranger)


def _signed_for_something_else(folder: Path, keys: Keys) -> None:
    resign(folder, keys.staging, "git")


def _statement_of_another_run(folder: Path, keys: Keys) -> None:
    def other(record: Record) -> None:
        record.run.id = "20261122T090000Z-deploy-ovh-1a2b3c4"

    for path in signed_run(folder.parent, keys, changed(other), "other").glob("statement.json*"):
        shutil.copy(path, folder)


def _signed_with_another_subject(folder: Path, keys: Keys) -> None:
    path = folder / "statement.json"
    path.write_text(path.read_text().replace(COMMIT, OTHER_COMMIT))
    resign(folder, keys.staging)


def _signed_with_a_key_twice(folder: Path, keys: Keys) -> None:
    path = folder / "statement.json"
    path.write_text(path.read_text().replace('"result":', '"result": "FAILED", "result":', 1))
    resign(folder, keys.staging)


TAMPERED: list[tuple[Callable[[Path, Keys], None], str]] = [
    (_record_changed, "record.json does not match the signed record"),
    (_record_key_twice, "record.json is not a record of a run: the key 'emulated' appears twice"),
    (_record_missing, "'record.json' is missing from its folder"),
    (_record_linked_out, "'record.json' leads out of its folder"),
    (_evidence_changed, "its evidence 'evidence/b/status.txt' does not match the record"),
    (_evidence_gone, "'evidence/b/status.txt' is missing from its folder"),
    (_evidence_linked_out, "'evidence/b/status.txt' leads out of its folder"),
    (_statement_changed, "statement.json does not match its signature"),
    (_statement_gone, "it is not signed (statement.json is missing)"),
    (_statement_linked_out, "'statement.json' leads out of its folder"),
    (_signature_gone, "it is not signed (statement.json.sig is missing)"),
    (_signature_garbled, "statement.json.sig is not a readable signature"),
    (_signed_by_a_stranger, "its signer is not listed in"),
    (_signed_for_something_else, "it was signed for another purpose"),
    (_statement_of_another_run, "the statement is of run '20261122T090000Z-deploy-ovh-1a2b3c4'"),
    (_signed_with_another_subject, f"the signed statement is about {OTHER_COMMIT}"),
    (_signed_with_a_key_twice, "statement.json is not a statement about a run: the key 'result' appears twice"),
]


@pytest.mark.parametrize(("tamper", "says"), TAMPERED)
def test_what_was_tampered_with_is_refused(
    run: Path, keys: Keys, tamper: Callable[[Path, Keys], None], says: str
) -> None:
    """Whatever of a run is changed, exchanged, taken away or linked out, it is refused for that, in one sentence."""
    tamper(run, keys)
    head, *sentences = refused(production(run, keys.allowed(options=""))).split("\n")
    assert says in sentences[0]
    assert len(sentences) == 1, head


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('valid-before="20200101"', "its signer's key is not valid now"),
        ('valid-after="20990101"', "its signer's key is not valid now"),
        ('namespaces="git,file"', "does not let its signer sign runs"),
    ],
)
def test_the_conditions_of_a_signer_are_kept(run: Path, keys: Keys, options: str, says: str) -> None:
    """A key that is listed but expired, not yet valid, or for another purpose does not count."""
    assert says in refused(production(run, keys.allowed(options)))


def test_a_revoked_key_does_not_count(run: Path, keys: Keys, tmp_path: Path) -> None:
    """A key in the revocation list lets nothing through; one that is not there does."""
    for name in ("staging", "stranger"):
        command = ["ssh-keygen", "-q", "-k", "-f", str(tmp_path / f"{name}.krl"), str(keys.folder / f"{name}.pub")]
        subprocess.run(command, check=True, timeout=30)
    assert gate(production(run, keys.allowed(), revoked=tmp_path / "stranger.krl"))
    message = refused(production(run, keys.allowed(), revoked=tmp_path / "staging.krl"))
    assert f"its signer's key is revoked by {tmp_path / 'staging.krl'}" in message


def test_another_principal_does_not_count(run: Path, keys: Keys) -> None:
    """Where the target file names the signer, another principal of the same file is refused."""
    requires = Requires(group="staging", signer="ci@staging")
    message = refused(production(run, keys.allowed(who="dev@laptop"), requires=requires))
    assert "it was signed by dev@laptop; the target file demands ci@staging" in message
    assert gate(production(run, keys.allowed(who="dev@laptop,ci@staging"), requires=requires)).signer == "ci@staging"


def test_a_signature_that_any_key_could_make_is_not_enough(run: Path, keys: Keys, tmp_path: Path) -> None:
    """An empty file of allowed signers allows nobody, although the signature itself is sound."""
    empty = tmp_path / "allowed"
    empty.touch()
    _signed_by_a_stranger(run, keys)
    assert "its signer is not listed" in refused(production(run, empty))


def test_evidence_cannot_be_claimed_from_outside(keys: Keys, tmp_path: Path) -> None:
    """Evidence whose path leads out of the run's folder is refused even when it was signed and agrees."""
    record = staging()
    keep(record, tmp_path, "b/outside.txt")
    record.evidence[0].path = "../evidence/b/outside.txt"
    folder = signed_run(tmp_path, keys, record)
    assert "'../evidence/b/outside.txt' leads out of its folder" in refused(production(folder, keys.allowed()))


def test_a_replayed_run_of_last_month_is_refused(run: Path, keys: Keys) -> None:
    """A run that is signed and whole lets nothing through once it is too old; every reason is told."""
    late = NOW + dt.timedelta(days=30)
    (_, sentence) = refused(production(run, keys.allowed()), late).split("\n")
    assert "its run ended 30 d ago; the target file demands at most 7 d" in sentence
    message = refused(production(run, keys.allowed(), commit=OTHER_COMMIT), late)
    assert f"its commit is {COMMIT}; --sha asks for {OTHER_COMMIT}" in message
    assert len(message.split("\n")) == 4  # too old, another commit, another subject


def test_the_newest_fitting_run_of_a_folder_is_taken(keys: Keys, tmp_path: Path) -> None:
    """In a folder of runs the newest that fits is taken, past newer ones that do not; links count for none."""

    def at(hour: int, change: Callable[[Record], object] = lambda _: None) -> None:
        def moved(record: Record) -> None:
            record.run.started = NOW.replace(hour=hour)
            record.run.id = f"run-{hour}"
            change(record)

        signed_run(tmp_path / "runs", keys, changed(moved), f"{hour:02}")

    at(9)
    at(10)
    at(11, failed)
    at(12, lambda record: setattr(record.run, "mode", "audit"))
    unsigned = signed_run(tmp_path / "runs", keys, name="unsigned")
    (unsigned / "statement.json").unlink()
    (tmp_path / "runs" / "latest").symlink_to(unsigned)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "record.json").write_text(f"{COMMIT} [")
    (tmp_path / "runs" / "pipe").mkdir()
    os.mkfifo(tmp_path / "runs" / "pipe" / "record.json")
    assert gate(production(tmp_path / "runs", keys.allowed())).run == "run-10"
    requires = Requires(group="staging", drill=True)
    head, *told = refused(production(tmp_path / "runs", keys.allowed(), requires=requires)).split("\n")
    reasons = (
        "demands a drill",
        "its verdict is non-canonical",
        "demands a drill",
        "other runs of this commit that do not count either: 2",
    )
    assert all(reason in line for reason, line in zip(reasons, told, strict=True)), head
    message = refused(production(tmp_path / "runs", keys.allowed(), commit=OTHER_COMMIT))
    assert (
        "none of the runs there (7) is of this commit: deploy it to group staging first, with --sign-key" in message
    )


def test_a_drill_is_found_among_the_runs(keys: Keys, tmp_path: Path) -> None:
    """Where a drill is demanded, a folder's newest drill of the commit is taken."""
    signed_run(tmp_path, keys, name="deploy")
    signed_run(tmp_path, keys, staging(stories.drill("b")), "drill")
    passed = gate(production(tmp_path, keys.allowed(), requires=Requires(group="staging", drill=True)))
    assert passed.record == str(tmp_path / "drill" / "record.json")


@pytest.mark.parametrize("option", ["record", "allowed", "revoked"])
def test_a_file_that_is_not_there_is_told(run: Path, keys: Keys, tmp_path: Path, option: str) -> None:
    """Each option that names a file that is missing is named."""
    gone = tmp_path / "gone"
    paths = {"record": run, "allowed": keys.allowed(), "revoked": keys.allowed(), option: gone}
    plan = production(paths["record"], paths["allowed"], revoked=paths["revoked"])
    name = {"record": "--require-record", "allowed": "--allowed-signers", "revoked": "--revoked-signers"}[option]
    with pytest.raises(UsageError, match=re.escape(f"{name}={gone}: ")):
        pass_gate(plan, CONTRACT, NOW)


def test_what_a_run_says_cannot_deceive_the_terminal(keys: Keys, tmp_path: Path) -> None:
    """What stands in a record is shown without control codes, on one line."""

    def deceive(record: Record) -> None:
        record.revision.sha = "\x1b[2J\nOK: let through"

    message = refused(production(signed_run(tmp_path, keys, changed(deceive)), keys.allowed()))
    assert "\x1b" not in message
    assert not any(line.startswith("OK") for line in message.split("\n"))


def test_an_emulated_run_is_for_the_lab_alone(keys: Keys, tmp_path: Path) -> None:
    """A record of the lab lets a deploy to the lab through, and none to real hosts."""
    run = signed_run(tmp_path, keys, staging(stories.canonical("b", provider="lab", emulated=True)))
    assert gate(production(run, keys.allowed(), provider="lab"))
    assert "its run was emulated (" in refused(production(run, keys.allowed()))


def test_signing_again_changes_nothing(run: Path, keys: Keys) -> None:
    """A statement is signed as it stands: the same key makes the same signature again."""
    assert sign(keys.staging, (run / "statement.json").read_bytes()) == (run / "statement.json.sig").read_bytes()
    assert read_attested(run, keys.allowed(), None).principals == ("ci@staging",)


def test_a_record_that_was_written_anew_is_another(run: Path, keys: Keys) -> None:
    """The same record with other spacing is not the file that was signed."""
    record = staging()
    keep(record, run)
    (run / "record.json").write_bytes(json.dumps(json.loads((run / "record.json").read_bytes())).encode())
    assert "does not match the signed record" in refused(production(run, keys.allowed()))
    write_record(record, run / "record.json")
    assert gate(production(run, keys.allowed()))
