"""Clause `diagnostics`: when anything fails, unit state, logs and sockets are emitted.

When nothing fails, it is shown that they would have been.
"""

import shlex

import pytest

from switchproof.checks.fixtures import Diagnosis, Show

pytestmark = pytest.mark.clause("diagnostics")


def test_unit_states_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """systemctl says the state of every unit of the contract.

    Whoever is called to a broken deploy needs to see what state everything is in without a way to the host.

    Try: see why systemctl does not answer on the host.
    """
    show(
        expected="the state of every unit",
        seen=diagnosis.told(diagnosis.states),
        evidence=diagnosis.kept("status"),
        command=f"systemctl status -- {shlex.join(diagnosis.units)}",
    )
    assert not diagnosis.missing(diagnosis.states), f"no state of {', '.join(diagnosis.missing(diagnosis.states))}"


def test_logs_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """journalctl gives the journal of every unit of the contract.

    Whoever is called to a broken deploy needs to see what everything said last without a way to the host.

    Try: see whether journald runs on the host and keeps a journal.
    """
    show(
        expected="the journal of every unit",
        seen=diagnosis.told(diagnosis.logs),
        evidence=diagnosis.kept("journal"),
        command=f"journalctl {' '.join(f'-u {shlex.quote(unit)}' for unit in diagnosis.units)}",
    )
    assert diagnosis.journal_works, (
        "a line that was written to the journal now did not come back within 10 s, so what it holds is old: "
        "see whether systemd-journald runs"
    )
    assert not diagnosis.missing(diagnosis.logs), f"no journal of {', '.join(diagnosis.missing(diagnosis.logs))}"


def test_sockets_are_emitted(diagnosis: Diagnosis, show: Show) -> None:
    """ss lists the sockets with their owners.

    Whoever is called to a broken deploy needs to see who listens where without a way to the host.

    Try: see whether ss is on the host and may be run.
    """
    show(
        expected="the sockets",
        seen=diagnosis.told(diagnosis.sockets),
        evidence=diagnosis.kept("sockets"),
        command="ss -tunap",
    )
    assert diagnosis.sockets, "ss listed no socket"


def test_machines_are_looked_at(diagnosis: Diagnosis, show: Show) -> None:
    """The virtual machines' monitor, console, network and own answer are told, where there are machines.

    Whoever is called to a broken deploy needs to see what became of the machine itself without a way to the host.

    Try: look at the machine's unit and its monitor's socket on the host.
    """
    missing = [name for name in diagnosis.machines if name not in diagnosis.seen]
    expected = f"the machine of {', '.join(diagnosis.machines)}" if diagnosis.machines else "there are no machines"
    show(
        expected=expected,
        seen=diagnosis.told(diagnosis.seen),
        evidence=diagnosis.kept("machine"),
        command="host-switch.sh diagnose",
    )
    assert not missing, f"the machine of {', '.join(missing)} was not looked at"


def test_containers_are_looked_into(diagnosis: Diagnosis, show: Show) -> None:
    """The containers' units, sockets and network are told from inside, where there are containers and they are up.

    Whoever is called to a broken deploy needs to see what goes on inside the container without a way to the host.

    Try: look at the container's unit on the host, and whether its first process is there.
    """
    missing = [name for name in diagnosis.containers if name not in diagnosis.entered]
    expected = f"the container of {', '.join(diagnosis.containers)}" if diagnosis.containers else "there are none"
    show(
        expected=expected,
        seen=diagnosis.told(diagnosis.entered),
        evidence=diagnosis.kept("container"),
        command="host-switch.sh diagnose",
    )
    assert not missing, f"the container of {', '.join(missing)} was not looked into"
