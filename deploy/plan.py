"""What a run is asked to do, and what it does."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from switchproof.deploy.providers.lab.kinds import LabOptions, Runtime, Shape, Suite
from switchproof.deploy.record.facts import Shard
from switchproof.deploy.source import Source
from switchproof.deploy.target.types import Target


class Mode(enum.StrEnum):
    """The kind of a run."""

    DEPLOY = "deploy"
    AUDIT = "audit"
    PLAN = "plan"
    PREFLIGHT = "preflight"
    ROLLBACK = "rollback"
    DRILL = "drill"

    @property
    def changes_hosts(self) -> bool:
        """Whether such a run changes hosts, so that it needs their locks."""
        return self in {Mode.DEPLOY, Mode.ROLLBACK, Mode.DRILL}

    @property
    def needs_a_system(self) -> bool:
        """Whether such a run needs the system of a requested commit, so that somebody has to build it."""
        return self in {Mode.DEPLOY, Mode.DRILL, Mode.PLAN}


PARALLEL = 64
"""Hosts that an audit is connected to at the same time. Each takes four threads, a descriptor and memory for one
answer. More hosts would not be faster, because one processor does the work of all connections."""

Drill: TypeAlias = Literal["orderly", "dead-man"]
"""How a drill goes back: by a rollback, or by the host itself, because nothing confirms the system."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The command line, as given."""

    provider: str
    sha: str | None = None
    audit: bool = False
    plan: bool = False
    preflight: bool = False
    rollback: str | None = None
    drill: Drill | None = None
    targets: str | None = None
    hosts: tuple[str, ...] = ()
    on_failure: Literal["rollback", "keep"] = "rollback"
    soak: float | None = None
    take_lock: bool = False
    build: str | None = None
    source: str | None = None
    dirty: bool = False
    report_dir: str | None = None
    keep_runs: int | None = None
    lab_keep: bool = False
    lab_runtime: Runtime | None = None
    lab_suite: Suite | None = None
    lab_nixos_rebuild: str | None = None
    lab_switch: str | None = None
    lab_ssm_agent: str | None = None
    shape: Shape = "ovh"
    collect_only: bool = False
    sign_key: str | None = None
    require_record: str | None = None
    allowed_signers: str | None = None
    revoked_signers: str | None = None
    checks: tuple[str, ...] = ()
    cutover: int | None = None
    repo: str | None = None
    records: str | None = None
    parallel: int | None = None
    shard: str | None = None


class CutoverAsked(msgspec.Struct, frozen=True, kw_only=True):
    """The request for an audit of the cutover.

    Attributes:
        step: The step that must be proven; None for any.
        repository: The working copy whose deploy paths are read.
        records: The folder of runs that prove the steps.
        allowed_signers: The file of allowed signers; None if no signature is required. ssh-keygen(1) describes it.
        revoked_signers: The file of revoked keys.
        checks: Folders with checks of the team's own, as on the command line.
    """

    step: int | None
    repository: Path
    records: Path
    allowed_signers: Path | None = None
    revoked_signers: Path | None = None
    checks: tuple[str, ...] = ()


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """The record that a deploy requires, and the signatures that count.

    Attributes:
        record: A run's folder, its record, or a folder of runs.
        allowed_signers: The file of allowed signers; ssh-keygen(1) describes it.
        revoked_signers: A key revocation list or public keys; None without one.
    """

    record: Path
    allowed_signers: Path
    revoked_signers: Path | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a run.

    Attributes:
        mode: The kind of the run.
        revision: The requested revision; None only for an audit, a preflight or a rollback.
        back_to: The generation or revision that a rollback names; None if it names none.
        drill: How a drill goes back.
        target: The target with the selected hosts.
        targets_file: The target file.
        targets_sha256: SHA-256 of that file as it was read.
        on_failure: The action for a changed host that does not pass.
        take_lock: Whether to take over the lock of another run that has not begun to switch.
        report_dir: The parent of the run's folder.
        keep_runs: The number of newest runs to keep there; None for all.
        lab: The options of the lab.
        sign_key: The key that signs the run at its end.
        gate: The record that a deploy requires before anything is touched.
        checks: Folders with checks of the team's own, absolute and without links; none is inside another.
        cutover: The request for an audit of the cutover.
        parallel: Hosts that an audit is connected to at the same time.
        shard: The shard of hosts that it audits; None for all hosts.
        evaluates: Whether an audit compares with a new evaluation of the commit, where `target.build` says.
        source: The commit that this machine sends to the hosts; None if they fetch.
    """

    mode: Mode
    revision: str | None
    back_to: str | None = None
    drill: Drill | None = None
    target: Target
    targets_file: Path
    targets_sha256: str = ""
    on_failure: Literal["rollback", "keep"]
    take_lock: bool = False
    report_dir: Path
    keep_runs: int | None = None
    lab: LabOptions = msgspec.field(default_factory=LabOptions)
    sign_key: Path | None = None
    gate: Gate | None = None
    checks: tuple[Path, ...] = ()
    cutover: CutoverAsked | None = None
    evaluates: bool = False
    parallel: int = PARALLEL
    shard: Shard | None = None
    source: Source | None = None

    @property
    def goes_back_at_once(self) -> bool:
        """Whether a host that cannot pass goes back before its checks have run.

        Checks of the team's own look at the host themselves, and a waiver may let it pass.
        """
        return self.on_failure == "rollback" and not self.checks and not self.target.waivers
