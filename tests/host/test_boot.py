"""What a session says of the boot loader is what the host boots, also while the tries of its entries are counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switchproof.deploy.observe.boot.choice import choose_boot
from switchproof.deploy.observe.boot.facts import read_boot_facts
from switchproof.deploy.providers.lab.host import LabHost
from tests.host.hands import REBOOT, ask, inside
from tests.host.unconfirmed import is_wholly, switch

pytestmark = [pytest.mark.lab, pytest.mark.long]

NAMES = "/etc/switchproof-lab/boot-entries"
BOOT_LOADER = "/usr/local/lib/switchproof-lab/boot-loader"


@pytest.fixture
def counted(machine: LabHost) -> Iterator[LabHost]:
    """A host that counts the tries of its boot entries; afterwards it does not."""
    inside(machine, f"echo counting >{NAMES}")
    yield machine
    inside(machine, f"rm {NAMES}; /run/current-system/bin/switch-to-configuration boot")


def entries(machine: LabHost) -> list[str]:
    """The counters of the entries, newest generation first."""
    script = "cd /boot/loader/entries && grep -H '^version' *.conf | sort -t' ' -k3,3nr | cut -d: -f1"
    return [name.removesuffix(".conf").partition("+")[2] for name in inside(machine, script).splitlines()]


def boots(machine: LabHost) -> str:
    """The system that boots next, as a session reads it; the boot loader itself must agree."""
    chosen = choose_boot(read_boot_facts(ask(machine, "observe", READY_S="0", SOAK_S="0")), "detect")
    assert chosen.next is not None, chosen
    assert chosen.next == chosen.lasting
    assert chosen.next.system == inside(machine, BOOT_LOADER)
    return chosen.next.system


def test_an_entry_whose_tries_are_counted_boots_as_it_is_said_to(counted: LabHost) -> None:
    """Entries begin with three tries, a boot takes one, and an entry without any is left out."""
    switched = switch(counted, "counted")
    assert boots(counted) in {switched.earlier, switched.new}
    assert switched.confirm() == "ok"
    assert boots(counted) == switched.new
    assert entries(counted)[0] == "3"
    leader = counted.leader()
    inside(counted, REBOOT)
    counted.wait_ready(not_leader=leader)
    assert entries(counted)[0] == "2-1"
    assert boots(counted) == switched.new
    is_wholly(counted, switched.new)

    # It never came up well, and its tries are used up.
    inside(counted, "cd /boot/loader/entries && for file in *+2-1.conf; do mv $file ${file/+2-1/+0-3}; done")
    assert boots(counted) != switched.new
