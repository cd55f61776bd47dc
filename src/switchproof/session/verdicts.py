"""Decides the verdict of one check, and which diagnostics a host gave or could have given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pytest

from switchproof.checks.fixtures import Diagnosis
from switchproof.deploy.contract import Verdict
from switchproof.deploy.errors import Inconclusive, UsageError
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.plan import Mode
from switchproof.deploy.target.types import Target


def judge(
    call: pytest.CallInfo[None], report: pytest.TestReport, *, endpoint: object, is_waived: bool, mode: Mode
) -> tuple[Verdict, str]:
    """Give a check its verdict.

    Args:
        call: How its call ended.
        report: Pytest's report of the call.
        endpoint: The value of its fixture `endpoint`; None if it uses none.
        is_waived: Whether a waiver covers the check on this host.
        mode: What the run does.

    Returns:
        The verdict, and the message that goes with it.
    """
    verdict, message = judge_call(call, report)
    if verdict is Verdict.FAILED and isinstance(endpoint, EndpointSeen) and endpoint.cut_short:
        # The host stopped waiting early: the endpoint might still have become healthy.
        verdict, message = Verdict.BLOCKED, f"blocked: {endpoint.cut_short}"
    is_refused = call.excinfo is not None and isinstance(call.excinfo.value, UsageError)
    if is_refused and mode is Mode.AUDIT:
        return Verdict.INCONCLUSIVE, message  # a request that cannot be met says nothing about the host
    if verdict is Verdict.FAILED and is_waived and not is_refused:
        return Verdict.WAIVED, message
    return verdict, message


def judge_call(call: pytest.CallInfo[None], report: pytest.TestReport) -> tuple[Verdict, str]:
    """Give a check its verdict by how its call ended.

    Returns:
        The verdict, and the message that goes with it.
    """
    error = call.excinfo.value if call.excinfo else None
    match error:
        case None:
            return Verdict.PASSED, ""
        case pytest.skip.Exception():
            blocked = any(name == "blocked_by" for name, _ in report.user_properties)
            return (Verdict.BLOCKED, str(error)) if blocked else (Verdict.INCONCLUSIVE, f"skipped: {error}")
        case UsageError():
            return Verdict.FAILED, str(error)
        case Inconclusive():
            return Verdict.INCONCLUSIVE, str(error)
        case AssertionError() | pytest.fail.Exception() if call.when == "call":
            return Verdict.FAILED, _lead_with_the_reason(str(error).split("\nassert ")[0])
        case _:
            return Verdict.INCONCLUSIVE, f"the check itself broke: {report.longreprtext}"


def _lead_with_the_reason(message: str) -> str:
    """Put the values that pytest shows for a plain `assert` into the first line, all that a terminal shows."""
    asserted, separator, rest = message.partition("\n +  where ")
    return f"{asserted}, where {rest}" if separator and asserted.startswith("assert ") else message


def emitted(target: Target, parts: Mapping[str, str]) -> Diagnosis:
    """Say which diagnostics were emitted after a failure.

    Args:
        target: Names the units that need diagnostics.
        parts: The evidence file of each part.
    """
    units, machines, containers = _owed(target)
    states, logs = (frozenset(_after(parts, f"{kind}/")) for kind in ("status", "journal"))
    seen, entered = (
        frozenset(name.rpartition(".")[0] for name in _after(parts, f"{kind}/")) for kind in ("machine", "container")
    )
    sockets = frozenset({"sockets"} & parts.keys())
    return Diagnosis(
        True, units, states, logs, sockets, machines, seen, containers, entered, parts, "journald" in parts
    )


def emittable(target: Target, sizes: Mapping[str, int]) -> Diagnosis:
    """Say which diagnostics could have been emitted where nothing failed.

    Args:
        target: Names the units that need diagnostics.
        sizes: The bytes that each source of diagnostics gave.
    """
    units, machines, containers = _owed(target)
    # A unit that has been silent for long has no journal left; one of all units shows that there is a journal.
    readable = any(size for name, size in sizes.items() if name.startswith("journalctl "))
    sources = {name for name, size in sizes.items() if size or (readable and name.startswith("journalctl "))}
    states, logs, sockets = (frozenset(_after(sources, f"{tool} ")) for tool in ("systemctl", "journalctl", "ss"))
    seen, entered = (frozenset(_after(sources, kind)) for kind in ("machine ", "container "))
    return Diagnosis(
        False, units, states, logs, sockets, machines, seen, containers, entered, {}, "journald line" in sizes
    )


def _owed(target: Target) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Name the units, and the endpoints with a machine and with a container, that need diagnostics."""
    endpoints = target.endpoints.items()
    return (
        target.contract_units,
        tuple(name for name, endpoint in endpoints if endpoint.machine),
        tuple(name for name, endpoint in endpoints if endpoint.container),
    )


def _after(names: Iterable[str], prefix: str) -> Iterator[str]:
    return (name.removeprefix(prefix) for name in names if name.startswith(prefix))
