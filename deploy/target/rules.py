"""Rules of target files across keys, which types cannot say."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.waivers import NEVER
from switchproof.deploy.target.probe_rules import endpoint_problem
from switchproof.deploy.target.repository_url import transport_problem
from switchproof.deploy.target.types import Contract, Target, Waiver
from switchproof.deploy.target.way import Way, way_of


def check(path: Path, target: Target, ways: Sequence[Way]) -> None:
    """Check what types cannot say.

    Args:
        path: The target file.
        target: What was read of it.
        ways: All ways to hosts.

    Raises:
        UsageError: Names the file, the key, what was found and what is allowed.
    """
    if problem := _provider_problem(target, ways):
        raise UsageError(f"{path}: {problem}")
    seen: set[str] = set()
    for index, host in enumerate(target.hosts):
        if host.name in seen:
            raise UsageError(f"{path}: hosts[{index}].name: {host.name!r} is the name of another host already")
        seen.add(host.name)
    own = way_of(target, ways)
    for way in ways:
        if problem := next(way.find_problems(target, way is own), None):
            raise UsageError(f"{path}: {problem}")
    if problem := transport_problem(target.repository.url or ""):
        raise UsageError(f"{path}: repository.url: {problem}")
    if problem := transport_problem(target.build.repository or ""):
        raise UsageError(f"{path}: build.repository: {problem}")
    if "hypervisor" in target.runtime:
        raise UsageError(f"{path}: runtime.hypervisor: the name is taken by the hypervisor itself")
    check_endpoints(path, target)
    _check_bridge(path, target)
    if (target.boot.loader == "none") != (target.boot.reason is not None):
        raise UsageError(
            f"{path}: boot.reason: "
            + (
                'missing; say why nothing on these hosts decides what boots, such as "containers of another host"'
                if target.boot.reason is None
                else f'only with boot.loader = "none" (found boot.loader = {target.boot.loader!r})'
            )
        )
    if problem := confirm_problem(target):
        raise UsageError(f"{path}: rollback.confirm_s: {problem}")
    _check_waivers(path, target.waivers, [host.name for host in target.hosts])


def _check_waivers(path: Path, waivers: Sequence[Waiver], hosts: Sequence[str]) -> None:
    """Check that waivers are for hosts that there are, and that no two are for the same."""
    for index, waiver in enumerate(waivers):
        if waiver.host is not None and waiver.host not in hosts:
            raise UsageError(
                f"{path}: waivers[{index}].host: no such host (found {waiver.host!r}; allowed: {', '.join(hosts)})"
            )
        if waiver.check in NEVER:
            raise UsageError(
                f"{path}: waivers[{index}].check: {waiver.check} cannot be waived: everything else rests on it"
            )
        for earlier, other in enumerate(waivers[:index]):
            same_host = waiver.host == other.host or None in {waiver.host, other.host}
            if waiver.check == other.check and same_host:
                raise UsageError(
                    f"{path}: waivers[{index}]: covers what waivers[{earlier}] covers; remove one of them"
                )


def _provider_problem(target: Target, ways: Sequence[Way]) -> str | None:
    """Say what keeps it from being known how the hosts are reached, None if nothing does."""
    named = {name: way for way in ways for name in way.providers}
    transports = " or ".join(f'transport = "{way.name}"' for way in ways if way.is_transport)
    if target.transport is None and not target.provider:
        return f"provider: missing; allowed: {', '.join(sorted(named))}; for hosts of your own write {transports}"
    if target.transport is None and target.provider not in named:
        near = difflib.get_close_matches(target.provider, named, 1)
        guess = f'; did you mean provider = "{near[0]}"?' if near else ";"
        return (
            f"transport: missing{guess} Provider {target.provider!r} is one of your own: write {transports}. "
            f"Without a transport are {', '.join(sorted(named))}"
        )
    if target.transport not in {None, named[target.provider].name if target.provider in named else target.transport}:
        return f"transport: provider {target.provider!r} has a way of its own; remove the key"
    return None


def confirm_problem(target: Target) -> str | None:
    """Say what is wrong with the time to confirm, None if nothing is: it must not end before health can be seen."""
    least = target.health.ready_s + target.health.soak_s
    if 0 < target.confirm_s < least:
        return (
            f"shorter than health.ready_s and health.soak_s together: a good system would be taken back before it "
            f"could pass (found {target.confirm_s:g}; allowed: at least {least:g}, or 0 for never)"
        )
    return None


def check_endpoints(path: Path, target: Target | Contract) -> None:
    """Check what the kind of each probe asks for."""
    tables = {"hypervisor": target.hypervisor}
    tables.update({f"runtime.{name}": endpoint for name, endpoint in target.runtime.items()})
    for key, endpoint in tables.items():
        if problem := endpoint_problem(key, endpoint):
            raise UsageError(f"{path}: {problem}")


def _check_bridge(path: Path, target: Target) -> None:
    seen: dict[str, str] = {}
    for name, program in target.bridge.programs.items():
        key = f"{path}: bridge.programs.{name}"
        if strangers := [unit for unit in program.units if unit not in target.contract_units]:
            raise UsageError(
                f"{key}.units: {strangers[0]} is no unit of the contract; allowed: {', '.join(target.contract_units)}"
            )
        if other := seen.get(program.at):
            raise UsageError(f"{key}.at: {program.at} is where {other} is installed already")
        seen[program.at] = name
