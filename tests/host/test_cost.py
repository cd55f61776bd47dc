"""What one look costs a host: processes are counted, as their number hardly depends on the machine."""

from __future__ import annotations

import secrets

import pytest

from switchproof.deploy.host.frame import parse
from switchproof.deploy.host.program import carried_script
from switchproof.deploy.providers.lab.host import LabHost
from tests.host.hands import values_of

pytestmark = pytest.mark.lab

LOOK, ROUND = 40, 5
"""Processes of an observation with one answer of each of three endpoints, and of each further round."""

TRIES = 3
"""Observations of which the cheapest counts: a slow journal is asked again, which costs two processes each time."""


def processes_of_a_look(machine: LabHost, answers: int) -> int:
    """Count the processes that an observation starts: in a namespace of its own, they are numbered in turn."""
    nonce = secrets.token_hex(8)
    values = {
        **values_of(machine),
        "READY_S": "60",
        "ANSWERS": str(answers),
        "INTERVAL_S": "0.1",
        "SOAK_S": "0",
        "FLAKE_ATTR": "choiros-a",
        "SWITCHPROOF_RUN": "cost",
        "SWITCHPROOF_NONCE": nonce,
        "SYSTEMCTL_FORCE_BUS": "1",  # systemd's own socket is not for processes of another namespace
    }
    count = 'bash -c "$1" host-switch.sh observe; bash -c "echo \\$\\$"; true'
    given = [f"{name}={value}" for name, value in values.items()]
    command = ["env", *given, "unshare", "--fork", "--pid", "bash", "-c", count, "-", carried_script()]
    done = machine.run(command, timeout_s=60)
    frame = parse(done.stdout.encode(), nonce=nonce, verb="observe")
    assert {line.split()[1] for line in frame.text("watch.settled").splitlines()} == {"healthy"}
    outer, script, last = 1, 1, 1
    return int(done.stdout.splitlines()[-1]) - outer - script - last


def test_a_look_at_a_healthy_host_starts_few_processes(machine: LabHost) -> None:
    """What the kernel or one answer of systemd tells is not asked of process after process."""
    once, again = (min(processes_of_a_look(machine, answers) for _ in range(TRIES)) for answers in (1, 3))
    assert once <= LOOK
    assert again - once <= 2 * ROUND
