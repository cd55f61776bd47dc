"""Clause `diagnostics`: when anything fails, unit state, logs and sockets are emitted.

When nothing fails, it is shown that they would have been.
"""

import shlex

import pytest

from switchproof.checks.fixtures import Diagnosis, Show

pytestmark = pytest.mark.clause("diagnostics")


def test_unit_states_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """systemctl reports the state of every unit of the contract.

    The person on call must see the state of every unit without access to the host.

    Try: find out why systemctl does not answer on the host.
    """
    show(
        expected="the state of every unit",
        seen=diagnosis.summary(diagnosis.states),
        evidence=diagnosis.evidence("status"),
        command=f"systemctl show -- {shlex.join(diagnosis.units)}",
    )
    assert not diagnosis.missing(diagnosis.states), f"no state of {', '.join(diagnosis.missing(diagnosis.states))}"


def test_logs_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """journalctl prints the journal of every unit of the contract.

    The person on call must see the last log lines of every unit without access to the host.

    Try: check whether journald runs on the host and keeps a journal.
    """
    show(
        expected="the journal of every unit",
        seen=diagnosis.summary(diagnosis.logs),
        evidence=diagnosis.evidence("journal"),
        command=f"journalctl {' '.join(f'-u {shlex.quote(unit)}' for unit in diagnosis.units)}",
    )
    assert diagnosis.journal_works, (
        "a line that was written to the journal now did not come back within 10 s, so what it holds is old: "
        "see whether systemd-journald runs"
    )
    assert not diagnosis.missing(diagnosis.logs), f"no journal of {', '.join(diagnosis.missing(diagnosis.logs))}"


def test_sockets_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """ss lists the sockets and their owners.

    The person on call must see which process listens where without access to the host.

    Try: check whether ss is installed on the host and can run.
    """
    show(
        expected="the sockets",
        seen=diagnosis.summary(diagnosis.sockets),
        evidence=diagnosis.evidence("sockets"),
        command="ss -tunap",
    )
    assert diagnosis.sockets, "ss listed no socket"


def test_machines_are_looked_at(diagnosis: Diagnosis, show: Show) -> None:
    """Monitor, console, network and answer of each virtual machine are collected, if there are machines.

    The person on call must see what happened to the machine without access to the host.

    Try: check the machine's unit and its monitor's socket on the host.
    """
    missing = [name for name in diagnosis.machines if name not in diagnosis.seen]
    expected = f"the machine of {', '.join(diagnosis.machines)}" if diagnosis.machines else "there are no machines"
    show(
        expected=expected,
        seen=diagnosis.summary(diagnosis.seen),
        evidence=diagnosis.evidence("machine"),
        command="host-switch.sh diagnose",
    )
    assert not missing, f"the machine of {', '.join(missing)} was not looked at"


def test_containers_are_looked_into(diagnosis: Diagnosis, show: Show) -> None:
    """Units, sockets and network of each running container are collected from inside.

    The person on call must see what happens inside the container without access to the host.

    Try: check the container's unit on the host, and whether its first process runs.
    """
    missing = [name for name in diagnosis.containers if name not in diagnosis.entered]
    expected = f"the container of {', '.join(diagnosis.containers)}" if diagnosis.containers else "there are none"
    show(
        expected=expected,
        seen=diagnosis.summary(diagnosis.entered),
        evidence=diagnosis.evidence("container"),
        command="host-switch.sh diagnose",
    )
    assert not missing, f"the container of {', '.join(missing)} was not looked into"
