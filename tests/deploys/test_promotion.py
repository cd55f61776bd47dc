"""The whole way of a commit: deployed to staging, signed there, and let through to production, as nothing else is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from switchproof.deploy.contract import HostState
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import HEALTH, session, target_file
from tests.promotion.runs import make_keys

pytestmark = [pytest.mark.lab, pytest.mark.long]

QUICK = HEALTH.replace("soak_s = 2.0", "soak_s = 0.5").replace("answers = 3", "answers = 2")


def group(targets: Path, host: str, name: str, demands: str = "") -> str:
    """Put a host of a target file into a group, and say what a deploy there demands."""
    text = targets.read_text(encoding="utf-8")
    text = text.replace(f'name = "{host}"\n', f'name = "{host}"\ngroups = ["{name}"]\n')
    targets.write_text(demands + text, encoding="utf-8")
    return f"--targets={targets}"


def test_production_gets_what_staging_proved(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """A signed staging run lets its commit through to production, which says so; any other commit is refused."""
    keys = make_keys(tmp_path)
    allowed = f"--allowed-signers={keys.allowed()}"
    staging = group(target_file(tmp_path, ["h3"], QUICK), "h3", "staging")
    demands = 'requires = { group = "staging", max_age = "1h", signer = "ci@staging" }\n'
    production = group(target_file(tmp_path, ["h4"], QUICK), "h4", "production", demands)

    proved = session(
        "--provider=lab", "--sha=main", staging, f"--sign-key={keys.staging}", runs=runs / "staging", lab=lab
    )
    assert proved.status == 0, proved.output
    commit = proved.record.revision.sha
    after = proved.record.host("h3").after
    statement = json.loads((proved.folder / "statement.json").read_bytes())
    assert [list(one["digest"]) for one in statement["subject"]] == [["gitCommit"], ["sha256"]]
    assert after is not None
    said = lab.hosts["h3"].run(["nix-store", "--query", "--hash", str(after.toplevel)], timeout_s=30).stdout.strip()
    hexadecimal = ["nix-hash", "--type", "sha256", "--to-base16", said.removeprefix("sha256:")]
    assert (
        lab.hosts["h3"].run(hexadecimal, timeout_s=30).stdout.strip() == statement["subject"][1]["digest"]["sha256"]
    )
    secret = keys.staging.read_text(encoding="utf-8").splitlines()[1]
    kept = (path for path in proved.folder.rglob("*") if path.is_file())
    assert not any(secret in path.read_text(encoding="utf-8") for path in kept)

    required = f"--require-record={runs / 'staging'}"
    ended = session(
        "--provider=lab", f"--sha={commit}", production, required, allowed, runs=runs / "production", lab=lab
    )
    assert ended.status == 0, ended.output
    assert ended.record.host("h4").state is HostState.CONVERGED
    source = ended.record.promoted_from
    assert source is not None
    assert (source.run, source.signer) == (proved.record.run.id, "ci@staging")
    assert f"Promoted from run {source.run}, signed by ci@staging" in " ".join(ended.output.split())

    other = "0123456789abcdef0123456789abcdef01234567"
    refused = session("--provider=lab", f"--sha={other}", production, required, allowed, runs=runs / "other", lab=lab)
    assert refused.status == 4, refused.output
    assert "none of the runs there (1) is of this commit" in refused.output
    assert not (runs / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--sha=main"],
            "requires: a deploy to a needs the signed record of a run of the same commit on group staging",
        ),
        (["--audit", "--sign-key=/no/such/key"], "--sign-key=/no/such/key: no such file"),
        ([f"--sha={'0' * 40}", "--require-record=.", "--allowed-signers=/no/file"], "--allowed-signers=/no/file: no"),
    ],
)
def test_a_gated_host_is_not_even_asked_for(tmp_path: Path, runs: Path, arguments: list[str], says: str) -> None:
    """What the gate refuses is one sentence and exit code 4, and leaves nothing behind, not even a lab."""
    targets = group(target_file(tmp_path, ["a"]), "a", "production", 'requires = { group = "staging" }\n')
    environ = {"SWITCHPROOF_LAB": "promotion-none"}
    ended = session("--provider=lab", targets, *arguments, runs=runs, environ=environ)
    assert ended.status == 4, ended.output
    assert says in ended.output
    assert not runs.exists()


def test_a_key_that_fails_at_the_end_is_no_success(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """A canonical run that can no longer be signed says so and exits 12: it proves nothing to anybody else."""
    keys = make_keys(tmp_path)
    # The tool that signs the trial and then no more, as when the agent is gone by the end of the run.
    tool = tmp_path / "bin" / "ssh-keygen"
    tool.parent.mkdir()
    real = subprocess.run(["which", "ssh-keygen"], capture_output=True, text=True, check=True, timeout=30)
    script = f'case "$*" in *switchproof-trial*) exec {real.stdout.strip()} "$@";; esac; echo gone >&2; exit 255\n'
    tool.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
    tool.chmod(0o700)
    targets = f"--targets={target_file(tmp_path, ['h4'], QUICK)}"
    path = {"PATH": f"{tool.parent}:{Path('/usr/bin')}:/usr/sbin:/bin:/sbin"}
    ended = session(
        "--provider=lab", "--audit", targets, f"--sign-key={keys.staging}", runs=runs, lab=lab, environ=path
    )
    assert ended.status == 12, ended.output
    assert "WARNING: the run is not signed: ssh-keygen: gone" in ended.output
    assert ended.record.run.exit_code == 12
    assert not (ended.folder / "statement.json.sig").exists()
