"""Faults of a lab host's sandbox, and how to inject and repair one."""

from __future__ import annotations

from typing import Final

import msgspec

from switchproof.deploy.observe.causes.in_machine import Case
from switchproof.deploy.providers.lab.errors import LabError, LabMisused
from switchproof.deploy.providers.lab.host import SANDBOXES, LabHost
from switchproof.deploy.providers.lab.kinds import Shape

PROGRAM: Final = "/usr/local/lib/switchproof-lab/fault"
CONTAINER_PROGRAM: Final = "/usr/local/lib/switchproof-lab/container-fault"
BREAK_TIMEOUT_S: Final = 60.0
SERVING_TIMEOUT_S: Final = 300.0
"""Seconds until repaired sandboxes answer; a busy machine takes much longer than an idle one."""


class Fault(msgspec.Struct, frozen=True):
    """A fault of a sandbox, which stays until it is repaired, whatever is deployed meanwhile.

    Attributes:
        name: Its name on the command line.
        about: What it does to the sandbox.
        case: The cause that a deploy should report; None for a fault that must not make a difference.
        machine: Whether it needs a microVM, because a process cannot have it or would look different.
    """

    name: str
    about: str
    case: Case | None
    machine: bool = False

    @property
    def expected_report(self) -> str:
        """The expected report of a deploy or an audit."""
        return str(self.case or "nothing: every clause passes")


FAULTS: Final = (
    Fault("killed", "once, after its next answer, its process is killed", Case.KILLED, machine=True),
    Fault("stopped-by-signal", "its process is stopped by a signal", Case.STOPPED, machine=True),
    Fault("paused", "the machine is paused through its monitor", Case.PAUSED, machine=True),
    Fault("degraded", "it answers that it is degraded", Case.UNHEALTHY),
    Fault("vm-stopped", "its unit is stopped while its forward goes on listening", Case.MACHINE_DOWN),
    Fault("still-booting", "the guest takes ten minutes before its network is up", Case.BOOTING, machine=True),
    Fault("program-not-up", "the guest's network is up ten minutes before its program", Case.NOT_LISTENING),
    Fault(
        "crash-loop",
        "the guest reboots two seconds after it began to serve, each time",
        Case.CRASH_LOOP,
        machine=True,
    ),
    Fault(
        "start-limit", "its kernel is missing, and systemd gives up after five starts", Case.START_LIMIT, machine=True
    ),
    Fault("wrong-version", "it answers with another version than the host runs", Case.OTHER_RELEASE),
    Fault("forward-down", "its forward is stopped", Case.FORWARD_DOWN),
    Fault("hang", "it accepts connections and never answers", Case.HANGING),
    Fault("http-503", "it answers 503", Case.BAD_STATUS),
    Fault("guest-panic", "once, after its next answer, the guest's kernel panics", Case.PANICKED, machine=True),
    Fault("tap-off-bridge", "its tap is taken off the bridge", Case.TAP_OFF_BRIDGE),
    Fault("forwards-crossed", "its forward leads to the other sandbox", Case.CROSSED),
)


CONTAINER_FAULTS: Final = (
    Fault("killed", "once, after its next answer, its program is killed", Case.UNIT_KILLED),
    Fault("stopped-by-signal", "its program is stopped by a signal", Case.UNIT_STOPPED),
    Fault("systemd-stopped", "the systemd inside is stopped by a signal", Case.SYSTEMD_SILENT),
    Fault("degraded", "it answers that it is degraded", Case.UNHEALTHY),
    Fault("container-down", "its container is stopped", Case.CONTAINER_DOWN),
    Fault("unit-down", "its unit is stopped inside, while the container is up", Case.UNIT_DOWN),
    Fault("still-starting", "its container takes ten minutes before it is up", Case.CONTAINER_STARTING),
    Fault("program-not-up", "its unit is active ten minutes before its program listens", Case.UNIT_NOT_LISTENING),
    Fault("crash-loop", "its program dies two seconds after it began to serve, each time", Case.UNIT_LOOP),
    Fault("start-limit", "its program does not start, and the systemd inside gives up", Case.UNIT_GIVEN_UP),
    Fault("wrong-version", "it answers with another version than the host runs", Case.OTHER_RELEASE_INSIDE),
    Fault("hang", "it accepts connections and never answers", Case.HANGING),
    Fault("http-503", "it answers 503", Case.BAD_STATUS),
    Fault("container-killed", "once, after its next answer, its container is killed", Case.CONTAINER_ENDED),
    Fault("network-down", "the network inside is taken down", Case.NETWORK_DOWN),
    Fault("crossed", "it is the other sandbox in the wrong container", Case.MISTAKEN),
    Fault("no-curl", "there is no curl inside its container", None),
)
"""The faults of a sandbox in a container: the same, or the most similar ones."""


def faults_of(shape: Shape) -> tuple[Fault, ...]:
    """Return the possible faults of hosts of a shape."""
    return CONTAINER_FAULTS if shape == "aws" else FAULTS


def find(name: str, shape: Shape = "ovh") -> Fault:
    """Return a fault by its name.

    Raises:
        LabMisused: Hosts of this shape have no such fault.
    """
    fault = next((fault for fault in faults_of(shape) if fault.name == name), None)
    if fault is None:
        names = ", ".join(fault.name for fault in faults_of(shape))
        raise LabMisused(f"There is no fault {name!r} of the shape {shape}; there are {names}.")
    return fault


def break_host(host: LabHost, fault: str, unit: str = "live") -> None:
    """Inject a fault into one sandbox of a host, and repair its earlier fault.

    Raises:
        LabMisused: There is no such fault or unit, or the fault needs a microVM and the host has none.
    """
    chosen = find(fault, host.shape)
    if unit not in SANDBOXES:
        raise LabMisused(f"There is no unit {unit!r} on a lab host; there are {', '.join(SANDBOXES)}.")
    if chosen.machine and host.runtime != "microvm":
        raise LabMisused(
            f"{fault!r} needs a microVM, and {unit} of host {host.name} is a process: "
            "start a lab with `up --runtime=microvm`."
        )
    _do(host, "break", fault, unit)


def mend_host(host: LabHost) -> None:
    """Repair every fault of a host, and wait until its sandboxes answer again.

    Raises:
        LabError: They do not answer in time.
    """
    _do(host, "mend")
    host.wait_serving(timeout_s=SERVING_TIMEOUT_S)


def _do(host: LabHost, *arguments: str) -> None:
    program = CONTAINER_PROGRAM if host.shape == "aws" else PROGRAM
    done = host.run([program, *arguments], timeout_s=BREAK_TIMEOUT_S)
    if done.returncode != 0:
        raise LabError(f"`fault {' '.join(arguments)}` failed on host {host.name}:\n{done.stderr.strip()}")
