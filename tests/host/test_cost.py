"""What one look costs a host: processes and commands are counted, as their number hardly depends on the machine."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from switchproof.deploy.host.frame import Frame, parse
from switchproof.deploy.host.program import carried_script
from switchproof.deploy.providers.lab.host import LabHost
from tests.host.hands import CHECKOUT, REPOSITORY, commit, inside, values_of

pytestmark = pytest.mark.lab

LOOK, ROUND = 20, 2
"""Processes of an observation with one answer of each of three endpoints, and of each further round."""

COMMANDS, COMMANDS_OF_A_ROUND = 4600, 850
"""Commands of the shell itself in such an observation, and of each further round."""

RESOLVED, OF_A_JOB, WAITED = 100, 25, 6
"""Processes of a claim with its fetch, of a question for a job that is over, and of two seconds more of waiting."""

TRIES = 15
"""Observations of which the cheapest counts: a slow journal is asked again, which costs a process or two."""


def processes_of(machine: LabHost, verb: str, **given: str) -> tuple[int, Frame]:
    """Count the processes that a question starts: in a namespace of its own, they are numbered in turn."""
    nonce = secrets.token_hex(8)
    values = {
        **values_of(machine),
        "WORKDIR": CHECKOUT,
        "FLAKE_ATTR": "choiros-a",
        "SWITCHPROOF_RUN": "cost",
        "SWITCHPROOF_NONCE": nonce,
        "SYSTEMCTL_FORCE_BUS": "1",  # systemd's own socket is not for processes of another namespace
        **given,
    }
    count = f'bash -c "$1" host-switch.sh {verb}; bash -c "echo \\$\\$"; true'
    words = [f"{name}={value}" for name, value in values.items()]
    command = ["env", *words, "unshare", "--fork", "--pid", "bash", "-c", count, "-", carried_script()]
    done = machine.run(command, timeout_s=60)
    outer, script, last = 1, 1, 1
    started = int(done.stdout.splitlines()[-1]) - outer - script - last
    return started, parse(done.stdout.encode(), nonce=nonce, verb=verb)


def processes_of_a_look(machine: LabHost, answers: int) -> int:
    """Count the processes of an observation of a healthy host."""
    given = {"READY_S": "60", "ANSWERS": str(answers), "INTERVAL_S": "0.1", "SOAK_S": "0"}
    count, frame = processes_of(machine, "observe", **given)
    assert {line.split()[1] for line in frame.text("watch.settled").splitlines()} == {"healthy"}
    return count


def cheapest(look: Callable[[], int], enough: int) -> int:
    """Count what the cheapest of several looks costs; the first that costs little enough is the last."""
    count = look()
    for _ in range(TRIES - 1):
        if count <= enough:
            break
        count = min(count, look())
    return count


def test_a_look_at_a_healthy_host_starts_few_processes(machine: LabHost) -> None:
    """What the kernel or one answer of systemd tells is not asked of process after process."""
    once = cheapest(lambda: processes_of_a_look(machine, 1), LOOK)
    assert once <= LOOK
    thrice = once + 2 * ROUND + 1  # systemd is asked again before the last answer counts
    assert cheapest(lambda: processes_of_a_look(machine, 3), thrice) <= thrice


def commands_of_a_look(machine: LabHost, answers: int) -> int:
    """Count the commands that the shell runs in an observation of a healthy host, as it traces them itself."""
    nonce = secrets.token_hex(8)
    values = {
        **values_of(machine),
        "SWITCHPROOF_RUN": "cost",
        "SWITCHPROOF_NONCE": nonce,
        "READY_S": "60",
        "ANSWERS": str(answers),
        "INTERVAL_S": "0.1",
        "SOAK_S": "0",
    }
    words = [f"{name}={value}" for name, value in values.items()]
    traced = f"exec {{trace}}>&2; BASH_XTRACEFD=$trace PS4='+{nonce}-command '; set -x\n{carried_script()}"
    done = machine.run(["env", *words, "bash", "-c", traced, "host-switch.sh", "observe"], timeout_s=60)
    frame = parse(done.stdout.encode(), nonce=nonce, verb="observe")
    assert {line.split()[1] for line in frame.text("watch.settled").splitlines()} == {"healthy"}
    return done.stderr.count(f"+{nonce}-command ")


def test_a_look_at_a_healthy_host_runs_few_commands(machine: LabHost) -> None:
    """An answer is taken in whole, and what has not changed is not read again."""
    once = cheapest(lambda: commands_of_a_look(machine, 1), COMMANDS)
    assert once <= COMMANDS
    thrice = once + 2 * COMMANDS_OF_A_ROUND
    assert cheapest(lambda: commands_of_a_look(machine, 3), thrice) <= thrice


def test_a_host_is_claimed_with_few_processes(machine: LabHost) -> None:
    """Notes and locks are read by the shell itself."""
    given = {"RELEASE_SHA": commit(machine, "main"), "SWITCHPROOF_CLAIM": "1", "REPO_URL": REPOSITORY}
    try:
        count, frame = processes_of(machine, "resolve", **given)
        assert frame.text("outcome") == "ok"
        assert count <= RESOLVED
    finally:
        inside(machine, "rm -rf /run/switchproof/lock /var/lib/switchproof/runs/cost")


def test_a_job_is_followed_with_few_processes(machine: LabHost) -> None:
    """A question for a job costs little, and waiting for its end next to nothing."""
    folder = "/var/lib/switchproof/runs/cost/converge"
    inside(machine, f"mkdir -p {folder}; echo switch >{folder}/stage; echo '--- switch' >{folder}/log")
    unit = "switchproof-cost-converge.service"
    inside(machine, f"systemd-run --quiet --unit={unit} --service-type=oneshot --no-block sleep infinity")
    try:
        given = {"SWITCHPROOF_OFFSET": "11"}
        once, again = (processes_of(machine, "status", **given, SWITCHPROOF_WAIT_S=wait) for wait in ("1", "3"))
        assert once[1].text("state") == again[1].text("state") == "running"
        assert again[0] - once[0] <= WAITED
        inside(machine, f"echo 0 >{folder}/rc")
        over, frame = processes_of(machine, "status", **given, SWITCHPROOF_WAIT_S="30")
        assert frame.text("state") == "finished"
        assert over <= OF_A_JOB
    finally:
        inside(machine, f"systemctl kill --signal=KILL {unit}; systemctl reset-failed {unit}")
        inside(machine, "rm -rf /var/lib/switchproof/runs/cost")
