"""Names the cause of an unhealthy workload in a container, from the container inwards (pure)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from switchproof.deploy.observe.causes.case import CUT_SHORT, Case, Cause, from_answer
from switchproof.deploy.observe.causes.container import Container
from switchproof.deploy.observe.causes.machine import Machine
from switchproof.deploy.observe.health import EndpointSeen

_LOOPING = 2
_REFUSED = 7
"""curl's exit code for a connection that was refused or found no route."""

_LOG_OUTSIDE = "journalctl -u {container}"
_INSIDE = "nixos-container run {name} -- "
_LOG_INSIDE = _INSIDE + "journalctl -u {unit}"
_REMEDIES = {
    Case.CONTAINER_DOWN: f"find out who stopped it: {_LOG_OUTSIDE}; then systemctl start {{container}}",
    Case.CONTAINER_STARTING: f"read how far it has got: {_LOG_OUTSIDE}; raise health.ready_s if it is only slow",
    Case.CONTAINER_FAILED: f"read why: systemctl status {{container}}; {_LOG_OUTSIDE}",
    Case.CONTAINER_GIVEN_UP: f"read why it ends: {_LOG_OUTSIDE}; then systemctl reset-failed {{container}}",
    Case.CONTAINER_LOOP: f"read its last log lines each time: {_LOG_OUTSIDE}",
    Case.CONTAINER_ENDED: f"read why it ended: {_LOG_OUTSIDE}; see journalctl -k for a lack of memory",
    Case.CONTAINER_RESTARTED: f"find out who did: {_LOG_OUTSIDE}",
    Case.SYSTEMD_SILENT: "check whether its first process is stopped or stuck: ps -o stat,wchan {leader}; "
    "systemctl restart {container} restarts it",
    Case.NETWORK_DOWN: _INSIDE + "ip address; systemctl restart {container} recreates the network",
    Case.UNIT_MISSING: _INSIDE + "systemctl cat {unit}: check whether the container's system is the new one",
    Case.UNIT_DOWN: f"find out who stopped it: {_LOG_INSIDE}; then {_INSIDE}systemctl start {{unit}}",
    Case.UNIT_FAILED: f"read why: {_LOG_INSIDE}",
    Case.UNIT_GIVEN_UP: f"read why it ends: {_LOG_INSIDE}; then {_INSIDE}systemctl reset-failed {{unit}}",
    Case.UNIT_LOOP: f"read its last log lines each time: {_LOG_INSIDE}",
    Case.UNIT_KILLED: f"find out who sent the signal (the kernel, if memory ran out): journalctl -k; {_LOG_INSIDE}",
    Case.UNIT_ENDED: f"read why it ended: {_LOG_INSIDE}",
    Case.UNIT_RESTARTED: f"find out who did: {_LOG_INSIDE}",
    Case.UNIT_STOPPED: f"find out who stopped it; {_INSIDE}systemctl kill --signal=CONT {{unit}} resumes it",
    Case.UNIT_NOT_LISTENING: f"read what it waits for: {_LOG_INSIDE}; raise health.ready_s if it is only slow",
    Case.HANGING: f"check the program inside, which accepts the connection and sends nothing: {_LOG_INSIDE}",
    Case.GARBLED: f"send the request yourself, and read the program's log: {_LOG_INSIDE}",
    Case.BAD_STATUS: f"read the workload's log: {_LOG_INSIDE}",
    Case.UNHEALTHY: f"read the workload's log: {_LOG_INSIDE}",
    Case.OTHER_RELEASE_INSIDE: "check which program its unit runs: " + _INSIDE + "systemctl status {unit}",
    Case.MISTAKEN: "compare how the containers' units are configured: " + _INSIDE + "systemctl cat {unit}",
}


def find_inside(endpoint: EndpointSeen, container: Container) -> Cause | None:
    """Return the cause of an unhealthy workload in a container; None if it is unknown.

    The most certain evidence comes first: the container, its systemd, the unit inside, the program's answer, and last
    the parts through which no answer came.
    """
    looks: tuple[Callable[[EndpointSeen, Container], Cause | None], ...] = (
        _outer_unit,
        _outer_lives,
        _systemd,
        _inner_unit,
        _inner_lives,
        _answer,
        _silence,
    )
    cause = next((cause for look in looks if (cause := look(endpoint, container))), None)
    if cause is None:
        return None
    name, _, unit = endpoint.want.listening_unit.partition("/")
    remedy = _REMEDIES[cause.case].format(
        container=endpoint.want.container, name=name, unit=unit, leader=container.outer.pid or ""
    )
    return replace(cause, remedy=remedy)


def _outer(endpoint: EndpointSeen) -> str:
    return endpoint.want.container or ""


def _outer_unit(endpoint: EndpointSeen, container: Container) -> Cause | None:
    unit = endpoint.observation.units.get(_outer(endpoint))
    if unit is None:
        return None
    how = f"{unit.name} {unit.state}{_exits(container.outer)}"
    match unit.active, unit.sub:
        case "failed", _:
            return Cause(Case.CONTAINER_GIVEN_UP if container.outer.gave_up else Case.CONTAINER_FAILED, how)
        case "inactive", _:
            return Cause(Case.CONTAINER_DOWN, how)
        case "activating", "start" | "start-pre" | "start-post" | "condition" if not container.outer.restarts:
            return Cause(Case.CONTAINER_STARTING, how)
        case _:
            return None


def _outer_lives(endpoint: EndpointSeen, container: Container) -> Cause | None:
    cases = (Case.CONTAINER_LOOP, Case.CONTAINER_ENDED, Case.CONTAINER_ENDED, Case.CONTAINER_RESTARTED)
    return _lives(endpoint, _outer(endpoint), container.outer, cases)


def _systemd(endpoint: EndpointSeen, container: Container) -> Cause | None:
    if not container.silent:
        return None
    stopped = " (stopped by a signal)" if container.outer.process.startswith(("T", "t")) else ""
    return Cause(Case.SYSTEMD_SILENT, f"its first process{stopped}: {container.outer.seen}; {endpoint.seen}")


def _inner_unit(endpoint: EndpointSeen, container: Container) -> Cause | None:
    unit = endpoint.observation.units.get(endpoint.want.listening_unit)
    if unit is None:
        return None
    how = f"{unit.name} {unit.state}{_exits(container.inner)}"
    if unit.load == "not-found":
        return Cause(Case.UNIT_MISSING, how)
    match unit.active:
        case "failed":
            return Cause(Case.UNIT_GIVEN_UP if container.inner.gave_up else Case.UNIT_FAILED, how)
        case "inactive":
            return Cause(Case.UNIT_DOWN, how)
        case _:
            return None


def _inner_lives(endpoint: EndpointSeen, container: Container) -> Cause | None:
    cases = (Case.UNIT_LOOP, Case.UNIT_KILLED, Case.UNIT_ENDED, Case.UNIT_RESTARTED)
    return _lives(endpoint, endpoint.want.listening_unit, container.inner, cases)


def _lives(endpoint: EndpointSeen, unit: str, process: Machine, cases: tuple[Case, Case, Case, Case]) -> Cause | None:
    """Find a process that was started again.

    Args:
        endpoint: The endpoint.
        unit: The unit of the process.
        process: The process.
        cases: The cases for repeatedly, killed once, ended once, and restarted by a person.
    """
    loop, killed, ended, restarted = cases
    during = endpoint.observation.lives(unit)
    count = max(during - 1, process.restarts)
    recent = during > 1 or process.age_s is None or process.age_s < process.recent_s
    times = f"started again {count} times{_exits(process)}; {endpoint.history}"
    if count and recent:
        if count >= _LOOPING:
            return Cause(loop, times)
        if not process.exits:
            return Cause(restarted, endpoint.history)
    if process.exits and ((count and recent) or process.pid is None):
        return Cause(killed if process.exits[-1].startswith("killed") else ended, times)
    return None


def _answer(endpoint: EndpointSeen, _container: Container) -> Cause | None:
    return from_answer(endpoint, mistaken=Case.MISTAKEN, other_release=Case.OTHER_RELEASE_INSIDE)


def _silence(endpoint: EndpointSeen, container: Container) -> Cause | None:
    """Find the part that keeps an answer from coming, from the process outwards."""
    last = endpoint.answers[-1] if endpoint.answers else None
    if last is None or last.curl == 0:
        return None
    seen = f"{container.seen}; {last}"
    if container.inner.process.startswith(("T", "t")):
        return Cause(Case.UNIT_STOPPED, seen)
    if container.network is False:
        return Cause(Case.NETWORK_DOWN, seen)
    if last.curl == _REFUSED:
        return Cause(Case.UNIT_NOT_LISTENING, seen)
    if last.curl in CUT_SHORT:
        return Cause(Case.GARBLED, seen)
    return Cause(Case.HANGING, seen) if last.connect_s > 0 else None


def _exits(process: Machine) -> str:
    """How a process ended, the last few times."""
    return f"; it ended with {', '.join(process.exits[-3:])}" if process.exits else ""
