"""What can be wrong with a sandbox of a lab host on purpose, and how to break and mend one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deploy.cause import Case
from deploy.providers.lab.errors import LabError
from deploy.providers.lab.host import SANDBOXES, LabHost

PROGRAM: Final = "/usr/local/lib/switchproof-lab/fault"
BREAK_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class Fault:
    """A way in which a sandbox can be broken; it stays so until it is mended, whatever is deployed meanwhile.

    Attributes:
        name: What it is called on the command line.
        about: What is done to the sandbox.
        case: What the harness should call it.
        machine: Whether it needs a microVM: a process cannot have it, or would look different.
    """

    name: str
    about: str
    case: Case
    machine: bool = False


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


def find(name: str) -> Fault:
    """Return the fault of a name.

    Raises:
        LabError: There is none.
    """
    fault = next((fault for fault in FAULTS if fault.name == name), None)
    if fault is None:
        raise LabError(f"There is no fault {name!r}; there are {', '.join(fault.name for fault in FAULTS)}.")
    return fault


def break_host(host: LabHost, fault: str, unit: str = "live") -> None:
    """Break one sandbox of a host; what was broken about it before is mended.

    Raises:
        LabError: There is no such fault or unit, or its host has no microVMs and the fault needs one.
    """
    found = find(fault)
    if unit not in SANDBOXES:
        raise LabError(f"There is no unit {unit!r} on a lab host; there are {', '.join(SANDBOXES)}.")
    if found.machine and host.runtime != "microvm":
        raise LabError(
            f"{fault!r} needs a microVM, and {unit} of host {host.name} is a process: "
            "start a lab with `up --runtime=microvm`."
        )
    _do(host, "break", fault, unit)


def mend_host(host: LabHost) -> None:
    """Take every fault of a host away, and wait until its sandboxes answer again.

    Raises:
        LabError: They do not.
    """
    _do(host, "mend")
    host.wait_serving()


def _do(host: LabHost, *arguments: str) -> None:
    done = host.run([PROGRAM, *arguments], timeout_s=BREAK_TIMEOUT_S)
    if done.returncode != 0:
        raise LabError(f"`fault {' '.join(arguments)}` failed on host {host.name}:\n{done.stderr.strip()}")
