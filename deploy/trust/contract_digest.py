"""Computes the contract digest over exactly the files that can change a verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from switchproof.deploy.target.types import Contract, Target

ROOT = Path(__file__).parents[2]

JUDGING = (
    # The checks, their fixtures, and their verdicts.
    "checks/endpoints.py",
    "checks/fixtures.py",
    "checks/test_boots.py",
    "checks/test_confirmation.py",
    "checks/test_converge.py",
    "checks/test_declared.py",
    "checks/test_diagnostics.py",
    "checks/test_gone.py",
    "checks/test_hypervisor.py",
    "checks/test_plan.py",
    "checks/test_preflight.py",
    "checks/test_revision.py",
    "checks/test_runtime.py",
    "session/fixtures.py",
    "session/results.py",
    "session/verdicts.py",
    # A host's answer → observation.
    "deploy/cutover/surroundings.py",
    "deploy/host/frame.py",
    "deploy/observe/answers.py",
    "deploy/observe/boot/choice.py",
    "deploy/observe/boot/chosen.py",
    "deploy/observe/boot/facts.py",
    "deploy/observe/boot/grub.py",
    "deploy/observe/boot/systemd_boot.py",
    "deploy/observe/bridge.py",
    "deploy/observe/causes/container.py",
    "deploy/observe/causes/machine.py",
    "deploy/observe/convergence.py",
    "deploy/observe/health.py",
    "deploy/observe/observation.py",
    "deploy/observe/parts/listeners.py",
    "deploy/observe/parts/processes.py",
    "deploy/observe/parts/system.py",
    "deploy/observe/parts/text.py",
    "deploy/observe/parts/units.py",
    "deploy/observe/parts/watch.py",
    "deploy/observe/pending.py",
    "deploy/observe/planned.py",
    "deploy/observe/preflight.py",
    "deploy/observe/revision.py",
    "deploy/observe/secrets.py",
    # The expected state, and the verdict of the run.
    "deploy/contract.py",
    "deploy/host/program.py",
    "deploy/observe/earlier.py",
    "deploy/record/fold.py",
    "deploy/record/learning.py",
    "deploy/record/merging.py",
    "deploy/record/record.py",
    "deploy/record/waivers.py",
    "deploy/run/leaving.py",
    "deploy/run/results.py",
    "deploy/target/declared.py",
    "deploy/target/types.py",
    # The script on the host.
    "deploy/host/host-switch.sh",
    "deploy/host/look-around.sh",
    "deploy/host/script/behind.sh",
    "deploy/host/script/boot.sh",
    "deploy/host/script/bridge.sh",
    "deploy/host/script/clock.sh",
    "deploy/host/script/confirm.sh",
    "deploy/host/script/contract.sh",
    "deploy/host/script/converge.sh",
    "deploy/host/script/files.sh",
    "deploy/host/script/guard.sh",
    "deploy/host/script/inside.sh",
    "deploy/host/script/jobs.sh",
    "deploy/host/script/json.sh",
    "deploy/host/script/listeners.sh",
    "deploy/host/script/lock.sh",
    "deploy/host/script/numbers.sh",
    "deploy/host/script/observe.sh",
    "deploy/host/script/owner.sh",
    "deploy/host/script/plan.sh",
    "deploy/host/script/probes.sh",
    "deploy/host/script/processes.sh",
    "deploy/host/script/restore.sh",
    "deploy/host/script/revision.sh",
    "deploy/host/script/rounds.sh",
    "deploy/host/script/secrets.sh",
    "deploy/host/script/system.sh",
    "deploy/host/script/systemd.sh",
    "deploy/host/script/units.sh",
    "deploy/host/script/verbs.sh",
    "deploy/host/script/watch.sh",
)
"""Every file of Switchproof that a verdict depends on; all others transport, store or show data."""


def contract_sha256_of(target: Target | Contract, folders: Sequence[Path], root: Path = ROOT) -> str:
    """Return the digest of the contract that a target file and the team's own checks define.

    Args:
        target: The target file, whose health limits count and whose hosts do not.
        folders: The folders with the team's own checks.
        root: The folder that contains the files of `JUDGING`.
    """
    ours = [(name, root / name) for name in JUDGING]
    own = [(f"own/{file.relative_to(folder)}", file) for folder in folders for file in folder.rglob("*.py")]
    return contract_digest(target, [*ours, *own])


def contract_digest(target: Target | Contract, files: Iterable[tuple[str, Path]]) -> str:
    """Return a SHA-256 over the health limits, and over the names and contents of the judging files.

    A module's name counts, because it decides whether the module's checks are collected.

    Args:
        target: Its endpoints, health, boot loader, unit files and waivers count.
        files: The judging files, each with a name that is the same in every checkout.
    """
    digest = hashlib.sha256()
    health = [
        {"hypervisor": target.hypervisor, **target.runtime},
        target.health,
        target.boot,
        target.unit_files,
        target.waivers,
    ]
    digest.update(msgspec.json.encode(health, order="deterministic"))
    named = ((name.encode(), hashlib.sha256(file.read_bytes()).digest()) for name, file in files)
    for name, content in sorted(named):
        digest.update(hashlib.sha256(name).digest() + content)
    return digest.hexdigest()
