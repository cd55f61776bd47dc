"""Why a workload in a virtual machine is not healthy: the one case of several that look alike from outside (pure)."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from deploy.health import EndpointSeen
from deploy.machine import Machine
from deploy.target import Endpoint

BOOTING_S = 300.0
"""Seconds for which a silent machine counts as booting; the slowest boot of a small guest is far below."""

RECENT_S = 20.0
"""Seconds for which a machine that was started again is still in the trouble that ended it; longer, where it crashes
again and again more slowly."""

REFUSED_S = 0.2
"""Seconds within which a refusal comes back from a guest; “no route” takes the kernel a second and more of asking."""

_RUNNING = {"running", "absent", "silent", ""}
_LOST = {"FAILED", "INCOMPLETE"}
_LOOPING = 2


class Case(enum.StrEnum):
    """What can be wrong with a workload in a virtual machine, in the words that a message begins with."""

    KILLED = "the machine's process was killed and started again"
    PANICKED = "the guest's kernel panicked and the machine was started again"
    ENDED = "the machine ended by itself and was started again"
    RESTARTED = "somebody stopped the machine and started it again"
    CRASH_LOOP = "the machine crashes again and again"
    START_LIMIT = "systemd has given the machine up, as it was started too often in a row"
    FAILED = "the machine has failed"
    MACHINE_DOWN = "the machine is down while its forward still listens"
    STOPPED = "the machine's process is stopped by a signal"
    PAUSED = "the machine is paused"
    HALTED = "the machine is halted"
    TAP_OFF_BRIDGE = "the machine's tap is not on its bridge"
    BOOTING = "the machine is still booting"
    UNREACHABLE = "the machine runs and its network does not answer"
    NOT_LISTENING = "the guest's network is up and its program does not listen yet"
    HANGING = "the workload accepts connections and never answers"
    BAD_STATUS = "the workload answers with an error"
    UNHEALTHY = "the workload says that it is not healthy"
    OTHER_RELEASE = "the machine runs another release than the host"
    CROSSED = "the forward leads to another workload"
    FORWARD_DOWN = "the forward is down while the workload answers"
    FORWARD_STUCK = "the forward passes nothing on while the workload answers"
    FORWARD_RESTARTED = "the forward was started again"


_REMEDIES = {
    Case.KILLED: "see who sent the signal, the kernel short of memory perhaps: journalctl -k; journalctl -u {unit}",
    Case.PANICKED: "read the guest's console: journalctl -u {unit}",
    Case.ENDED: "read the guest's console for why it rebooted or switched itself off: journalctl -u {unit}",
    Case.RESTARTED: "see who did: journalctl -u {unit}",
    Case.CRASH_LOOP: "read what the guest says last each time: journalctl -u {unit}",
    Case.START_LIMIT: "read why it ends: journalctl -u {unit}; then systemctl reset-failed {unit} and start it",
    Case.FAILED: "read why: systemctl status {unit}; journalctl -u {unit}",
    Case.MACHINE_DOWN: "see who stopped it: journalctl -u {unit}; then systemctl start {unit}",
    Case.STOPPED: "see who stopped it; systemctl kill --signal=CONT {unit} lets it go on",
    Case.PAUSED: "see who paused it; its monitor lets it go on ({monitor}: cont, or resume)",
    Case.HALTED: "ask its monitor for more ({monitor}); systemctl restart {unit} starts it anew",
    Case.TAP_OFF_BRIDGE: "put it back: ip link set {tap} master {bridge}",
    Case.BOOTING: "read how far it is: journalctl -u {unit}; health.ready_s if it only is slow",
    Case.UNREACHABLE: "read the guest's console: journalctl -u {unit}; look at its network inside",
    Case.NOT_LISTENING: "read what its program waits for: journalctl -u {unit}; health.ready_s if it only is slow",
    Case.HANGING: "look at the program inside the guest: it has the connection and says nothing",
    Case.BAD_STATUS: "read what the workload says of itself: journalctl -u {unit}",
    Case.UNHEALTHY: "read what the workload says of itself: journalctl -u {unit}",
    Case.OTHER_RELEASE: "see which image it was started from; systemctl restart {unit} if the image is the new one",
    Case.CROSSED: "compare the address that the forward leads to with the machine's: systemctl cat {listener}",
    Case.FORWARD_DOWN: "see who stopped it: journalctl -u {listener}; then systemctl start {listener}",
    Case.FORWARD_STUCK: "see where it leads and what it waits for: systemctl status {listener}; ss -tnp",
    Case.FORWARD_RESTARTED: "read why: journalctl -u {listener}",
}


@dataclass(frozen=True)
class Cause:
    """The case, what the host saw that shows it, and what a person may try."""

    case: Case
    seen: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.case} ({self.seen})"


def find_cause(endpoint: EndpointSeen) -> Cause | None:
    """Say which case a workload is, None if it is healthy, is in no machine, or is none of the known cases.

    What is certain goes first: what systemd knows of the unit, then what an answer says, then the process, the
    monitor and the network that no answer came through.
    """
    machine = endpoint.machine
    if machine is None or endpoint.healthy:
        return None
    looks: tuple[Callable[[EndpointSeen, Machine], Cause | None], ...] = (_unit, _lives, _answer, _silence)
    cause = next((cause for look in looks if (cause := look(endpoint, machine))), None)
    return replace(cause, remedy=_remedy(cause.case, endpoint.want)) if cause else None


def _remedy(case: Case, want: Endpoint) -> str:
    machine = want.machine
    assert machine is not None  # only an endpoint with one has been looked at so
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
    """See whether the machine, or its forward, was started again during the watch or shortly before."""
    name, lives = _name(endpoint), endpoint.observation.lives
    count = max(lives(name) - 1, machine.restarts)
    # Its end shows in the process's age; where it is just between two processes, there is none.
    recent = lives(name) > 1 or machine.age_s is None or machine.age_s < max(RECENT_S, 2 * (machine.cycle_s or 0))
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
    """See what an answer says of who gave it."""
    last = endpoint.answers[-1] if endpoint.answers else None
    if last is None or last.curl != 0:
        return None
    if last.code != endpoint.want.status:
        return Cause(Case.BAD_STATUS, endpoint.seen)
    for name, peer in endpoint.peers.items():
        # Another one's answer is known by what tells the two apart.
        marks = {key: value for key, value in peer.json.items() if endpoint.want.json.get(key) != value}
        if marks and endpoint.json_problem(marks) is None:
            return Cause(Case.CROSSED, f"{name} answers: {endpoint.seen}")
    if problem := endpoint.json_problem(endpoint.want.json):
        return Cause(Case.UNHEALTHY, f"{problem}; {endpoint.seen}")
    if problem := endpoint.json_problem(endpoint.due):
        return Cause(Case.OTHER_RELEASE, f"{problem}, as the running system says; {endpoint.seen}")
    return None


def _silence(endpoint: EndpointSeen, machine: Machine) -> Cause | None:
    """See what keeps an answer from coming, from the process outwards."""
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
    if direct.connect_s > 0:
        return Cause(Case.HANGING, seen)
    if direct.curl == 7 and direct.total_s < REFUSED_S and machine.neighbour not in _LOST:  # noqa: PLR2004 - curl's refused
        return Cause(Case.NOT_LISTENING, seen)
    last = f"; its console's last line: {machine.console[-1]}" if machine.console else "; its console is silent"
    young = machine.age_s is not None and machine.age_s < BOOTING_S
    answered = any(answer.good for answer in endpoint.answers)
    return Cause(Case.BOOTING if young and not answered else Case.UNREACHABLE, seen + last)


def _name(endpoint: EndpointSeen) -> str:
    assert endpoint.want.machine is not None  # only an endpoint with one has been looked at so
    return endpoint.want.machine.unit


def _exits(machine: Machine) -> str:
    """How its process ended, the last few times."""
    return f"; it ended with {', '.join(machine.exits[-3:])}" if machine.exits else ""
