"""Describes a run in its first event: what was requested, by whom, with which versions and which contract."""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import importlib.metadata
import os
import platform
import shlex
import socket
from collections.abc import Iterator, Mapping, Sequence

import pytest

from switchproof.collection.selection import typed_argv
from switchproof.deploy.plan import Plan
from switchproof.deploy.record import facts, waivers
from switchproof.deploy.record.events import ExpectedCheck, PromotedFrom, RunStarted
from switchproof.deploy.redact.sources import unset_secrets
from switchproof.deploy.run.ci import read_ci
from switchproof.deploy.target.types import Target
from switchproof.deploy.trust.contract_digest import contract_sha256_of


def describe_run(
    run: str,
    plan: Plan,
    config: pytest.Config,
    *,
    expected: tuple[ExpectedCheck, ...],
    waived: tuple[facts.Waiver, ...],
    promoted_from: PromotedFrom | None,
    began: dt.datetime,
) -> RunStarted:
    """Describe a run as its first event.

    Args:
        run: Its name.
        plan: What it does.
        config: Has the options as they were typed.
        expected: Every check that it must make.
        waived: The target file's waivers as they are now.
        promoted_from: The signed record with which it passed the gate; None if it needed none.
        began: The time at which it began.
    """
    options = {
        "args": shlex.join(typed_argv(config)),
        "targets": config.option.targets,
        "host": " ".join(config.option.host),
        "on_failure": plan.on_failure,
        "soak_s": f"{plan.target.health.soak_s:g}",
        "lab_runtime": plan.lab.runtime,
        "lab_suite": plan.lab.suite,
        "lab_nixos_rebuild": plan.lab.nixos_rebuild,
        "lab_switch": plan.lab.switch,
        "lab_ssm_agent": plan.lab.ssm_agent,
        "shape": plan.lab.shape if plan.target.provider == "lab" else "",
        "confirm_s": f"{plan.target.confirm_s:g}" if plan.mode.changes_hosts else "",
        "drill": plan.drill,
        "checks": shlex.join(config.option.checks),
        "shard": config.option.shard or "",
        "parallel": str(config.option.parallel or ""),
    }
    return RunStarted(
        at=began,
        id=run,
        mode=plan.mode.value,
        provider=plan.target.provider,
        emulated=plan.target.provider == "lab",
        requested=plan.revision or plan.back_to,
        repository=f"{plan.source.clone} on the runner" if plan.source else plan.target.repository.source,
        hosts=tuple(host.name for host in plan.target.hosts),
        expected=expected,
        contract_sha256=contract_sha256(plan),
        options={name: value for name, value in options.items() if value},
        harness=f"switchproof {importlib.metadata.version('switchproof')}",
        groups={host.name: host.groups for host in plan.target.hosts},
        promoted_from=promoted_from,
        owner=owner_of_run(),
        ci=read_ci(os.environ),
        versions=_versions(),
        waivers=waived,
        shard=plan.shard,
        dirty=plan.source.tree or None if plan.source else None,
    )


def contract_sha256(plan: Plan) -> str:
    """Return the contract digest of a run, which covers the team's own checks as well."""
    return contract_sha256_of(plan.target, plan.checks)


def waivers_of(plan: Plan, now: dt.datetime) -> tuple[facts.Waiver, ...]:
    """Return the target file's waivers; whether one has expired is decided once, at the beginning of the run."""
    return tuple(
        facts.Waiver(
            check=waiver.check,
            host=waiver.host,
            reason=waiver.reason,
            owner=waiver.owner,
            expires=waiver.expires.astimezone(dt.UTC),
            expired=waiver.expires <= now,
        )
        for waiver in plan.target.waivers
    )


def owner_of_run() -> str:
    """Name the user, machine and pipeline of this run, for people who find a host locked."""
    pipeline = os.environ.get("GITHUB_RUN_ID") or os.environ.get("CI_PIPELINE_ID")
    return f"{getpass.getuser()}@{socket.gethostname()}{f', pipeline {pipeline}' if pipeline else ''}"


def _versions() -> dict[str, str]:
    """Return the versions of Python, of packages and of the system."""
    packages = ("pytest", "pytest-html", "pytest-testinfra", "paramiko", "boto3", "msgspec")
    versions = {"python": platform.python_version()}
    system = os.uname()  # platform.platform() starts a program for the same
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # of an extra
            versions[name] = importlib.metadata.version(name)
    return {**versions, "platform": f"{system.sysname}-{system.release}-{system.machine}"}


def notes_of(target: Target, waived: Sequence[facts.Waiver], environ: Mapping[str, str]) -> Iterator[str]:
    """Say what people should know of the target file before any host is asked."""
    yield from (waivers.expiry_warning(waiver) for waiver in waived if waiver.expired)
    if unset := unset_secrets(target, environ):
        names = ", ".join(unset)
        yield f"Variables under `secrets` in the target file are not set, so nothing hides their values: {names}"
