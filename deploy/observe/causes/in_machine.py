"""Names the cause of an unhealthy workload, here of one in a virtual machine (pure)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from switchproof.deploy.observe.causes.case import CUT_SHORT, Case, Cause, from_answer
from switchproof.deploy.observe.causes.in_container import find_inside
from switchproof.deploy.observe.causes.machine import Machine
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.target.types import Endpoint

__all__ = ["Case", "Cause", "find_cause"]

BOOTING_S = 300.0
"""Seconds for which a silent machine counts as booting; a small guest boots much faster."""

REFUSED_S = 0.2
"""Seconds within which a guest refuses a connection; the kernel needs a second or more for “no route”."""

_RUNNING = {"running", "absent", "silent", ""}
_LOST = {"FAILED", "INCOMPLETE"}
_LOOPING = 2


_REMEDIES = {
    Case.KILLED: "find out who sent the signal (the kernel, if memory ran out): journalctl -k; journalctl -u {unit}",
    Case.PANICKED: "read the guest's console: journalctl -u {unit}",
    Case.ENDED: "find in the guest's console why it rebooted or shut down: journalctl -u {unit}",
    Case.RESTARTED: "find out who did: journalctl -u {unit}",
    Case.CRASH_LOOP: "read the guest's last console lines each time: journalctl -u {unit}",
    Case.START_LIMIT: "read why it ends: journalctl -u {unit}; then systemctl reset-failed {unit} and start it",
    Case.FAILED: "read why: systemctl status {unit}; journalctl -u {unit}",
    Case.MACHINE_DOWN: "find out who stopped it: journalctl -u {unit}; then systemctl start {unit}",
    Case.STOPPED: "find out who stopped it; systemctl kill --signal=CONT {unit} resumes it",
    Case.PAUSED: "find out who paused it; its monitor resumes it ({monitor}: cont, or resume)",
    Case.HALTED: "ask its monitor for the reason ({monitor}); systemctl restart {unit} restarts it",
    Case.TAP_OFF_BRIDGE: "put it back: ip link set {tap} master {bridge}",
    Case.BOOTING: "read how far it has got: journalctl -u {unit}; raise health.ready_s if it is only slow",
    Case.UNREACHABLE: "read the guest's console: journalctl -u {unit}; look at its network inside",
    Case.NOT_LISTENING: "see whether its program ended: journalctl -u {unit}; raise health.ready_s if it is slow",
    Case.HANGING: "check the program in the guest: it accepts the connection and sends nothing",
    Case.GARBLED: "send the request yourself, and read the workload's log: journalctl -u {unit}",
    Case.WRONG_ROLE: "check as which workload the machine was started: systemctl cat {unit}; systemctl status {unit}",
    Case.BAD_STATUS: "read the workload's log: journalctl -u {unit}",
    Case.UNHEALTHY: "read the workload's log: journalctl -u {unit}",
    Case.OTHER_RELEASE: "check which image it was started from; systemctl restart {unit} if that is the new one",
    Case.CROSSED: "compare the address that the forward leads to with the machine's: systemctl cat {listener}",
    Case.FORWARD_DOWN: "find out who stopped it: journalctl -u {listener}; then systemctl start {listener}",
    Case.FORWARD_STUCK: "check where it leads and what it waits for: systemctl status {listener}; ss -tnp",
    Case.FORWARD_RESTARTED: "read why: journalctl -u {listener}",
}


def find_cause(endpoint: EndpointSeen) -> Cause | None:
    """Return the cause of an unhealthy workload; None if it is healthy or the cause is unknown.

    The most certain evidence comes first: the unit's state, the content of an answer, and last the process, the
    monitor and the network through which no answer came.
    """
    if endpoint.healthy:
        return None
    if endpoint.container is not None:
        return find_inside(endpoint, endpoint.container)
    machine = endpoint.machine
    if machine is None:
        return None
    looks: tuple[Callable[[EndpointSeen, Machine], Cause | None], ...] = (_unit, _lives, _answer, _silence)
    cause = next((cause for look in looks if (cause := look(endpoint, machine))), None)
    return replace(cause, remedy=_remedy(cause.case, endpoint.want)) if cause else None


def _remedy(case: Case, want: Endpoint) -> str:
    machine = want.machine
    assert machine is not None  # only an endpoint with a machine gets here
    return _REMEDIES[case].format(
        unit=machine.unit,
        listener=want.listening_unit,
        monitor=machine.monitor or "none is named in the target file",
        tap=machine.tap,
        bridge=machine.bridge,
    )


def _unit(endpoint: EndpointSeen, machine: Machine) -> Cause | None:
    unit = endpoint.observation.units.get(_name(endpoint))
    if unit is None:
        return None
    how = f"{unit.name} {unit.state}{_exits(machine)}"
    match unit.active:
        case "failed":
            return Cause(Case.START_LIMIT if machine.gave_up else Case.FAILED, how)
        case "inactive":
            return Cause(Case.MACHINE_DOWN, how)
        case _:
            return None


def _lives(endpoint: EndpointSeen, machine: Machine) -> Cause | None:
    """Find a machine, or a forward, that was started again during the watch or shortly before."""
    name, lives = _name(endpoint), endpoint.observation.lives
    count = max(lives(name) - 1, machine.restarts)
    # The process's age shows the restart; between two processes there is no age.
    recent = lives(name) > 1 or machine.age_s is None or machine.age_s < machine.recent_s
    times = f"started again {count} times{_exits(machine)}; {endpoint.history}"
    if count and recent:
        if count >= _LOOPING:
            return Cause(Case.CRASH_LOOP, times)
        if machine.panicked:
            return Cause(
                Case.PANICKED, f"{next(line for line in machine.console if 'Kernel panic' in line)}; {times}"
            )
        if not machine.exits:
            return Cause(Case.RESTARTED, endpoint.history)
        return Cause(Case.KILLED if machine.exits[-1].startswith("killed") else Case.ENDED, times)
    if machine.pid is None and machine.exits:
        return Cause(Case.KILLED if machine.exits[-1].startswith("killed") else Case.ENDED, times)
    others = [unit for unit in endpoint.want.units if unit != name and lives(unit) > 1]
    return Cause(Case.FORWARD_RESTARTED, endpoint.history) if others else None


def _answer(endpoint: EndpointSeen, _machine: Machine) -> Cause | None:
    return from_answer(endpoint, mistaken=Case.CROSSED, other_release=Case.OTHER_RELEASE)


def _silence(endpoint: EndpointSeen, machine: Machine) -> Cause | None:
    """Find the part that keeps an answer from coming, from the process outwards."""
    direct = endpoint.direct
    if endpoint.answer_problem is None:
        return None
    seen = f"{machine.seen}; {endpoint.asked_directly}"
    if machine.process.startswith(("T", "t")):
        return Cause(Case.STOPPED, seen)
    if machine.monitor not in _RUNNING:
        return Cause(Case.PAUSED if machine.monitor == "paused" else Case.HALTED, seen)
    if direct is not None and direct.curl == 0:
        forward = endpoint.observation.units.get(endpoint.want.listening_unit)
        down = forward is None or forward.active != "active" or not endpoint.listeners
        return Cause(
            Case.FORWARD_DOWN if down else Case.FORWARD_STUCK, f"{endpoint.states}; {endpoint.asked_directly}"
        )
    bridge = endpoint.want.machine.bridge if endpoint.want.machine else None
    if bridge and machine.tap and machine.tap.state != "absent" and machine.tap.master != bridge:
        return Cause(Case.TAP_OFF_BRIDGE, seen)
    if direct is None:
        return None
    if direct.curl in CUT_SHORT:
        return Cause(Case.GARBLED, seen)
    if direct.connect_s > 0:
        return Cause(Case.HANGING, seen)
    if direct.curl == 7 and direct.total_s < REFUSED_S and machine.neighbour not in _LOST:  # noqa: PLR2004 - curl's refused
        return Cause(Case.NOT_LISTENING, seen)
    last = f"; its console's last line: {machine.console[-1]}" if machine.console else "; its console is silent"
    young = machine.age_s is not None and machine.age_s < BOOTING_S
    answered = any(answer.good for answer in endpoint.answers)
    return Cause(Case.BOOTING if young and not answered else Case.UNREACHABLE, seen + last)


def _name(endpoint: EndpointSeen) -> str:
    assert endpoint.want.machine is not None  # only an endpoint with a machine gets here
    return endpoint.want.machine.unit


def _exits(machine: Machine) -> str:
    """Return how its process ended the last few times, as the end of a sentence."""
    return f"; it ended with {', '.join(machine.exits[-3:])}" if machine.exits else ""
