"""Rules of target files across keys, which types cannot express (pure)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence

from switchproof.deploy.record.waivers import NEVER
from switchproof.deploy.target.probe_rules import endpoint_problem
from switchproof.deploy.target.repository_url import transport_problem
from switchproof.deploy.target.types import OWN, Contract, Target, Waiver
from switchproof.deploy.target.way import Way, way_of


def problems(target: Target, ways: Sequence[Way]) -> Iterator[str]:
    """Yield each problem across keys: the key, the found value and the allowed values.

    Args:
        target: The target file.
        ways: All ways to hosts.
    """
    if problem := _provider_problem(target, ways):
        yield problem
        return  # the other rules depend on how the hosts are reached
    seen: set[str] = set()
    for index, host in enumerate(target.hosts):
        if host.name in seen:
            yield f"hosts[{index}].name: {host.name!r} is already the name of another host"
        seen.add(host.name)
        yield from _configuration_problems(target, index)
    yield from _builder_problems(target, seen)
    own = way_of(target, ways)
    for way in ways:
        yield from way.find_problems(target, way is own)
    if problem := transport_problem(target.repository.url or ""):
        yield f"repository.url: {problem}"
    if problem := transport_problem(target.build.repository or ""):
        yield f"build.repository: {problem}"
    if "hypervisor" in target.runtime:
        yield "runtime.hypervisor: the name is taken by the hypervisor itself"
    yield from endpoint_problems(target)
    yield from _bridge_problems(target)
    if (target.boot.loader == "none") != (target.boot.reason is not None):
        yield "boot.reason: " + (
            'missing; say why nothing on these hosts decides what boots, such as "containers of another host"'
            if target.boot.reason is None
            else f'only with boot.loader = "none" (found boot.loader = {target.boot.loader!r})'
        )
    if problem := confirm_problem(target):
        yield f"rollback.confirm_s: {problem}"
    yield from _waiver_problems(target.waivers, [host.name for host in target.hosts])


def _configuration_problems(target: Target, index: int) -> Iterator[str]:
    """Check that a host names its system in the way of the repository: in its flake, or in its file."""
    host, key = target.hosts[index], f"hosts[{index}]"
    if target.repository.file is None:
        if host.attr is not None:
            yield f"{key}.attr: only with repository.file; name the system of a flake with flake_attr"
        elif host.flake_attr is None:
            yield f'{key}.flake_attr: missing; it is a name of the flake\'s nixosConfigurations, such as "choiros-a"'
        if index == 0 and target.repository.attr is not None:
            yield "repository.attr: only with repository.file"
    elif host.flake_attr is not None:
        yield f"{key}.flake_attr: not with repository.file; name the attribute of that file with attr"


def _builder_problems(target: Target, hosts: Collection[str]) -> Iterator[str]:
    """Check that each machine that can build has a name of its own, and that the one that shall build exists."""
    seen = {*OWN, *hosts}
    for index, builder in enumerate(target.builders):
        if builder.name in seen:
            taken = "a value of build.on" if builder.name in OWN else "the name of another host or builder"
            yield f"builders[{index}].name: {builder.name!r} is already {taken}"
        seen.add(builder.name)
    if target.build.on not in seen:
        allowed = ", ".join([*OWN, *sorted(seen - {*OWN})])
        yield f"build.on: no such builder (found {target.build.on!r}; allowed: {allowed})"


def _waiver_problems(waivers: Sequence[Waiver], hosts: Sequence[str]) -> Iterator[str]:
    """Check that waivers name existing hosts, and that no two cover the same failure."""
    for index, waiver in enumerate(waivers):
        if waiver.host is not None and waiver.host not in hosts:
            yield f"waivers[{index}].host: no such host (found {waiver.host!r}; allowed: {', '.join(hosts)})"
        if waiver.check in NEVER:
            yield f"waivers[{index}].check: {waiver.check} cannot be waived, because every other check depends on it"
        for earlier, other in enumerate(waivers[:index]):
            same_host = waiver.host == other.host or None in {waiver.host, other.host}
            if waiver.check == other.check and same_host:
                yield f"waivers[{index}]: covers what waivers[{earlier}] covers; remove one of them"


def _provider_problem(target: Target, ways: Sequence[Way]) -> str | None:
    """Return why it is unknown how the hosts are reached; None if it is known."""
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
        return f"transport: provider {target.provider!r} has its own transport; remove the key"
    return None


def confirm_problem(target: Target) -> str | None:
    """Return the problem of the time to confirm, None without one: it must not end before health can be seen."""
    least = target.health.ready_s + target.health.soak_s
    if 0 < target.confirm_s < least:
        return (
            "shorter than health.ready_s and health.soak_s together: a healthy system would be rolled back before it "
            f"could pass (found {target.confirm_s:g}; allowed: at least {least:g}, or 0 for never)"
        )
    return None


def endpoint_problems(target: Target | Contract) -> Iterator[str]:
    """Check the keys that the kind of each probe requires."""
    tables = {"hypervisor": target.hypervisor}
    tables.update({f"runtime.{name}": endpoint for name, endpoint in target.runtime.items()})
    for key, endpoint in tables.items():
        if problem := endpoint_problem(key, endpoint):
            yield problem


def _bridge_problems(target: Target) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, program in target.bridge.programs.items():
        key = f"bridge.programs.{name}"
        for stranger in program.units:
            if stranger not in target.contract_units:
                allowed = ", ".join(target.contract_units)
                yield f"{key}.units: {stranger} is not a unit of the contract; allowed: {allowed}"
        if other := seen.get(program.at):
            yield f"{key}.at: {program.at} is already used by {other}"
        seen[program.at] = name
