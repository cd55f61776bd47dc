"""What a run says of itself when it begins: what it was asked, by whom, with what, and the contract."""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import importlib.metadata
import os
import platform
import shlex
import socket

import pytest

from switchproof.checks.selection import typed_words
from switchproof.deploy.plan import Plan
from switchproof.deploy.record import facts
from switchproof.deploy.record.events import ExpectedCheck, PromotedFrom, RunStarted
from switchproof.deploy.run.ci import read_ci
from switchproof.deploy.trust.contract_digest import contract_sha256_of


def describe_run(
    run: str,
    plan: Plan,
    config: pytest.Config,
    *,
    expected: tuple[ExpectedCheck, ...],
    waived: tuple[facts.Waiver, ...],
    promoted_from: PromotedFrom | None,
) -> RunStarted:
    """Describe a run as its first event.

    Args:
        run: Its name.
        plan: What it does.
        config: The options as they were typed.
        expected: Every check that it has to make.
        waived: The target file's waivers as they are now.
        promoted_from: What let it through the gate.
    """
    given = {
        "args": shlex.join(typed_words(config)),
        "targets": config.option.targets,
        "host": " ".join(config.option.host),
        "on_failure": plan.on_failure,
        "soak_s": f"{plan.target.health.soak_s:g}",
        "lab_runtime": plan.lab.runtime,
        "lab_suite": plan.lab.suite,
        "lab_nixos_rebuild": plan.lab.nixos_rebuild,
        "lab_switch": plan.lab.switch,
        "shape": plan.lab.shape if plan.target.provider == "lab" else "",
        "confirm_s": f"{plan.target.confirm_s:g}" if plan.mode.changes_hosts else "",
        "drill": plan.drill,
        "checks": shlex.join(config.option.checks),
        "shard": config.option.shard or "",
        "parallel": str(config.option.parallel or ""),
    }
    return RunStarted(
        id=run,
        mode=plan.mode.value,
        provider=plan.target.provider,
        emulated=plan.target.provider == "lab",
        requested=plan.revision or plan.back_to,
        repository=plan.target.repository.source,
        hosts=tuple(host.name for host in plan.target.hosts),
        expected=expected,
        contract_sha256=contract_sha256(plan),
        options={name: value for name, value in given.items() if value},
        harness=f"switchproof {importlib.metadata.version('switchproof')}",
        groups={host.name: host.groups for host in plan.target.hosts},
        promoted_from=promoted_from,
        owner=owner_of_run(),
        ci=read_ci(os.environ),
        versions=_versions(),
        waivers=waived,
        shard=plan.shard,
    )


def contract_sha256(plan: Plan) -> str:
    """Name the contract that a run holds its hosts to; the team's own checks are part of it."""
    return contract_sha256_of(plan.target, plan.checks)


def waivers_of(plan: Plan, now: dt.datetime) -> tuple[facts.Waiver, ...]:
    """Take the target file's waivers as they are at the beginning of the run, which counts for the whole of it."""
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
    """Say who runs this, for whoever finds a host locked."""
    pipeline = os.environ.get("GITHUB_RUN_ID") or os.environ.get("CI_PIPELINE_ID")
    return f"{getpass.getuser()}@{socket.gethostname()}{f', pipeline {pipeline}' if pipeline else ''}"


def _versions() -> dict[str, str]:
    """Say what the run is made with."""
    packages = ("pytest", "pytest-html", "pytest-testinfra", "paramiko", "boto3", "msgspec")
    versions = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # of an extra
            versions[name] = importlib.metadata.version(name)
    return {**versions, "platform": platform.platform()}
