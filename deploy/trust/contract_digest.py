"""Which files can change a verdict, and the contract digest that covers exactly those."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from switchproof.deploy.target.types import Contract, Target

ROOT = Path(__file__).parents[2]

JUDGING = (
    # The checks, what they are given, and the verdict of each.
    "checks/endpoints.py",
    "checks/fixtures.py",
    "checks/provided.py",
    "checks/test_boots.py",
    "checks/test_confirmation.py",
    "checks/test_converge.py",
    "checks/test_declared.py",
    "checks/test_diagnostics.py",
    "checks/test_gone.py",
    "checks/test_hypervisor.py",
    "checks/test_plan.py",
    "checks/test_revision.py",
    "checks/test_runtime.py",
    "checks/verdicts.py",
    # An answer of the host → what was seen.
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
    "deploy/observe/revision.py",
    # What it is held against, and what all of it comes to.
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
    # What runs on the host.
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
    "deploy/host/script/system.sh",
    "deploy/host/script/systemd.sh",
    "deploy/host/script/units.sh",
    "deploy/host/script/verbs.sh",
    "deploy/host/script/watch.sh",
)
"""Every file of Switchproof that a verdict depends on. All others carry, keep or show what these judge."""


def contract_sha256_of(target: Target | Contract, folders: Sequence[Path], root: Path = ROOT) -> str:
    """Name the contract that a target file and the team's own checks hold hosts to.

    Args:
        target: What it says of health counts; its hosts do not.
        folders: The folders with the team's own checks.
        root: The folder that the files of `JUDGING` are in.
    """
    ours = [(name, root / name) for name in JUDGING]
    own = [(f"own/{file.relative_to(folder)}", file) for folder in folders for file in folder.rglob("*.py")]
    return contract_digest(target, [*ours, *own])


def contract_digest(target: Target | Contract, files: Iterable[tuple[str, Path]]) -> str:
    """Name what was checked: a SHA-256 over what healthy means, and the names and texts of the files that judge.

    A module's name counts, as it decides whether the module's checks are collected.

    Args:
        target: Its endpoints, health, boot loader, unit files and waivers count.
        files: Files that judge, each with its name, which is the same in every checkout.
    """
    digest = hashlib.sha256()
    said = [
        {"hypervisor": target.hypervisor, **target.runtime},
        target.health,
        target.boot,
        target.unit_files,
        target.waivers,
    ]
    digest.update(msgspec.json.encode(said, order="deterministic"))
    named = ((name.encode(), hashlib.sha256(file.read_bytes()).digest()) for name, file in files)
    for name, content in sorted(named):
        digest.update(hashlib.sha256(name).digest() + content)
    return digest.hexdigest()
