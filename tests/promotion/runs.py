"""Folders of runs of a staging host, signed with real keys."""

from __future__ import annotations

import datetime as dt
import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from switchproof.deploy.contract import RunVerdict
from switchproof.deploy.plan import Gate, Mode, Plan
from switchproof.deploy.providers import load
from switchproof.deploy.record.record import Evidence, Record, write_record
from switchproof.deploy.target.types import Requires, Target
from switchproof.deploy.trust.attestation import attest
from switchproof.deploy.trust.promotion import Demand
from tests.answers import HOST_KEY, NAR_HASH
from tests.reports import stories
from tests.reports.story import BEGIN, SHA, Story
from tests.schema import validate

ROOT = Path(__file__).parents[2]
COMMIT = SHA
OTHER_COMMIT = "f" * 40
CONTRACT = hashlib.sha256(b"contract").hexdigest()
NOW = BEGIN + dt.timedelta(hours=3)
NAR_HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The SHA-256 of nothing, which `NAR_HASH` spells as Nix does."""

DEMAND = Demand(
    commit=COMMIT,
    contract_sha256=CONTRACT,
    units=("live", "dev"),
    emulated=False,
    group="staging",
    max_age=dt.timedelta(days=7),
    drill=False,
    signer=None,
    now=NOW,
)
"""What production demands of a record."""


def staging(story: Story | None = None) -> Record:
    """A canonical run on host b of group staging."""
    record = (story or stories.canonical("b")).record()
    record.contract_sha256 = CONTRACT
    for host in record.hosts:
        host.groups = ("staging",)
        assert host.after is not None
        host.after = msgspec.structs.replace(host.after, nar_hash=NAR_HASH)
        legs = [host.clauses, *(leg.clauses for leg in (host.rollback, host.again) if leg)]
        for clause in (clause for leg in legs for clause in leg):
            for check in clause.checks:
                check.id = f"{clause.id}/{check.id}"
    record.evidence = []
    return record


def changed(change: Callable[[Record], object], record: Record | None = None) -> Record:
    """A staging run with something else about it."""
    record = record or staging()
    change(record)
    return record


def failed(record: Record) -> None:
    record.verdict = RunVerdict.NON_CANONICAL


def keep(record: Record, folder: Path, name: str = "b/status.txt", text: str = "active\n") -> None:
    """Keep a file of evidence with a run."""
    path = folder / "evidence" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    kept = Evidence(path=f"evidence/{name}", title=name, host="b", sha256=digest, bytes=len(text.encode()))
    record.evidence.append(kept)


@dataclass(frozen=True)
class Keys:
    """Real keys: the one of staging's runner, and one that is listed nowhere."""

    folder: Path

    @property
    def staging(self) -> Path:
        return self.folder / "staging"

    @property
    def stranger(self) -> Path:
        return self.folder / "stranger"

    @property
    def locked(self) -> Path:
        """A key with the passphrase `letmein`."""
        return self.folder / "locked"

    def allowed(self, options: str = 'namespaces="switchproof-run@v1"', who: str = "ci@staging") -> Path:
        """Allowed signers: the key of staging's runner, under conditions."""
        path = self.folder / f"allowed-{hashlib.sha256(f'{options} {who}'.encode()).hexdigest()[:8]}"
        key = self.staging.with_suffix(".pub").read_text(encoding="utf-8")
        path.write_text(f"{who} {options} {key}", encoding="utf-8")
        return path


def make_keys(folder: Path) -> Keys:
    for name, passphrase in (("staging", ""), ("stranger", ""), ("locked", "letmein")):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True, timeout=30)
    return Keys(folder)


def signed_run(parent: Path, keys: Keys, record: Record | None = None, name: str = "run") -> Path:
    """A run's folder with its record, some evidence, its statement and its signature."""
    folder = parent / name
    folder.mkdir(parents=True)
    record = record or staging()
    if not record.evidence:
        keep(record, folder)
    write_record(record, folder / "record.json")
    validate((folder / "record.json").read_bytes())
    attest(record, folder, keys.staging, Path("ovh.toml"), hashlib.sha256(b"").hexdigest())
    return folder


def target(requires: Requires | None = None, provider: str = "ovh") -> Target:
    """The OVH nodes, or the lab's hosts, of which production demands a record."""
    environ = {
        "DEPLOY_REPO_URL": "https://example.org/r.git",
        **{f"OVH_NODE_{node}_HOST": "192.0.2.1" for node in "AB"},
        **dict.fromkeys((f"OVH_NODE_{node}_HOST_KEY" for node in "AB"), HOST_KEY),
    }
    found = load(ROOT / "deploy" / "targets" / f"{provider}.toml", environ, ("a",))
    return msgspec.structs.replace(found, requires=requires)


def production(
    path: Path,
    allowed: Path,
    *,
    revoked: Path | None = None,
    requires: Requires | None = None,
    commit: str = COMMIT,
    provider: str = "ovh",
) -> Plan:
    """A deploy of the commit to production that asks for a record."""
    return Plan(
        mode=Mode.DEPLOY,
        revision=commit,
        target=target(requires or Requires(group="staging"), provider),
        targets_file=Path("ovh.toml"),
        on_failure="rollback",
        report_dir=Path("runs"),
        gate=Gate(record=path, allowed_signers=allowed, revoked_signers=revoked),
    )
