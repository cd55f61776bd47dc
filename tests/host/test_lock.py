"""One run at a time has the host, and a switch by hand has it as well."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from switchproof.deploy.contract import HostState
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import session, target_file
from tests.host.hands import (
    by_hand,
    claim,
    hold,
    inside,
    wait_for,
    write,
)

pytestmark = pytest.mark.lab


def test_a_second_run_is_told_who_has_the_host(machine: LabHost, lab: Lab, tmp_path: Path) -> None:
    """A second run learns who holds the host, in which run and since when, touches nothing, and exits 75."""
    hold(machine, "first")
    holder, runs = (
        inside(machine, look) for look in ("cat /run/switchproof/lock/holder", "ls /var/lib/switchproof/runs")
    )
    said = claim(machine, "second")
    assert said["outcome"] == b"locked"
    assert (
        found := re.fullmatch(
            rb"run first of Ada on build-7 has held the host's lock since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ. "
            rb"The lock expires at \d\d:\d\d:\d\dZ, in (\d+) s, unless that run renews it. Wait until then. "
            rb"If that run was abandoned, take the lock over with --take-lock \(by hand: SWITCHPROOF_TAKE_LOCK=1\)",
            said["detail"],
        )
    )
    # Nothing was switched yet, so that whoever is killed keeps nobody out for long, whatever a run may last.
    assert int(found[1]) <= 120
    assert set(said) == {"outcome", "detail", "clock"}
    status, output = by_hand(machine, "deploy", RELEASE_SHA="v3")
    assert status == 75, output
    assert "the host is locked: run first of Ada on build-7" in output
    targets = target_file(tmp_path, ["a"])
    ended = session("--provider=lab", "--sha=v3", f"--targets={targets}", runs=tmp_path / "runs", lab=lab)
    assert ended.status == 75, ended.output
    assert "run first of Ada on build-7 has held the host's lock since 20" in " ".join(ended.output.split())
    assert ended.record.host("a").state is HostState.UNCHANGED
    assert inside(machine, "cat /run/switchproof/lock/holder") == holder
    assert inside(machine, "ls /var/lib/switchproof/runs") == runs
    assert claim(machine, "first")["outcome"] == b"ok"


def test_the_lock_of_a_dead_run_is_taken_over(machine: LabHost) -> None:
    """A lock whose lease is over is taken over, and whose it was is said; a job that still runs keeps it."""
    hold(machine, "dead", lease_s=0)
    unit = "switchproof-dead-converge.service"
    inside(machine, f"systemd-run -q --no-block --unit={unit} --service-type=oneshot sleep 60")
    assert claim(machine, "next")["outcome"] == b"locked"
    inside(machine, f"systemctl stop {unit}; systemctl reset-failed {unit} || true")
    said = claim(machine, "next")
    assert (said["outcome"], said["lock.stale"]) == (b"ok", b"dead")
    assert "run next" in inside(machine, "cat /run/switchproof/lock/holder")


def test_a_lock_is_taken_over_where_a_person_says_so(machine: LabHost) -> None:
    """A valid lease gives way to --take-lock, which is told; a job at work does not. A fetch keeps the lock alive."""
    hold(machine, "first")
    unit = "switchproof-first-converge.service"
    inside(machine, f"systemd-run -q --no-block --unit={unit} --service-type=oneshot sleep 60")
    refused = claim(machine, "taker", SWITCHPROOF_TAKE_LOCK="1")
    assert refused["outcome"] == b"locked"
    assert refused["detail"].endswith(b", and its job is still running. Wait until that job has ended")
    inside(machine, f"systemctl stop {unit}; systemctl reset-failed {unit} || true")
    said = claim(machine, "taker", SWITCHPROOF_TAKE_LOCK="1")
    assert (said["outcome"], said["lock.stale"]) == (b"ok", b"first")
    assert 0 < int(said["lock.taken"]) <= 120
    assert b"run taker" in claim(machine, "first")["detail"]
    # The lease is over, but a process of that run is still at work on the host.
    inside(machine, "sed -i 's/^lease .*/lease 1/' /run/switchproof/lock/holder")
    inside(machine, "systemd-run -q --unit=fetching flock /run/switchproof/lock/at-work sleep 60")
    try:
        wait_for(lambda: b", and is still at work" in claim(machine, "next").get("detail", b""), "the lock is kept")
    finally:
        inside(machine, "systemctl stop fetching")
    assert claim(machine, "next")["outcome"] == b"ok"


def test_what_a_killed_run_leaves_is_cleared_by_the_next(machine: LabHost) -> None:
    """Units of jobs of earlier runs that have ended are gone after a claim; one that runs stays."""
    run = "systemd-run -q --no-block --service-type=oneshot --remain-after-exit"
    inside(machine, f"{run} --unit=switchproof-gone-converge true; {run} --unit=switchproof-gone-rollback false")
    listing = "systemctl list-units --all --plain --no-legend 'switchproof-gone*'"
    wait_for(lambda: {"exited", "failed"} <= set(inside(machine, listing).split()), "both have ended")
    assert claim(machine, "next")["outcome"] == b"ok"
    assert inside(machine, listing) == ""


def test_a_host_that_cannot_note_anything_is_not_held(machine: LabHost) -> None:
    """Where the state cannot be written nothing is begun, the words say so, and no lock stays behind."""
    inside(machine, "mount -t tmpfs -o ro none /var/lib/switchproof")
    try:
        said = claim(machine, "unlucky")
    finally:
        inside(machine, "umount /var/lib/switchproof")
    assert said["outcome"] == b"unready"
    assert b"cannot write below /var/lib/switchproof: is it full or read-only?" in said["detail"]
    assert inside(machine, "ls /run/switchproof") == ""


def test_of_many_that_want_a_host_one_gets_it(machine: LabHost) -> None:
    """When many runs find the lock of a dead one at the same moment, exactly one of them has the host."""
    for turn in range(3):
        hold(machine, "dead", lease_s=0)
        with ThreadPoolExecutor(6) as pool:
            said = list(pool.map(lambda number: claim(machine, f"many-{turn}-{number}"), range(6)))  # noqa: B023
        assert sorted(one["outcome"] for one in said) == [b"locked"] * 5 + [b"ok"]
        winner = next(number for number, one in enumerate(said) if one["outcome"] == b"ok")
        assert inside(machine, "sed -n 's/^run //p' /run/switchproof/lock/holder") == f"many-{turn}-{winner}"
        inside(machine, "rm -r /run/switchproof/lock")


@pytest.mark.parametrize(
    ("command", "user", "refused"),
    [
        ("nixos-rebuild switch --flake /etc/nixos", "root", True),
        (".nixos-rebuild-wrapped --flake . boot", "root", True),
        ("nixos-rebuild-ng test", "root", True),
        ("nixos-rebuild build --flake .#switch-board", "root", False),
        ("nixos-rebuild-watcher switch", "root", False),
        ("nixos-rebuild switch", "nobody", False),
    ],
)
def test_a_rebuild_by_hand_has_the_host(machine: LabHost, command: str, user: str, *, refused: bool) -> None:
    """While root switches by hand a run is refused, told so, and keeps no lock; builds and other users do no harm."""
    program, _, arguments = command.partition(" ")
    write(machine, f"/run/hand/{program}", "#!/bin/bash\nsleep 60\n:\n")
    inside(machine, f"chmod 755 /run/hand /run/hand/{program}")
    # It begins once the program runs: until then the process still has systemd's own name.
    inside(
        machine,
        f"systemd-run -q --unit=hand --service-type=exec --uid={user} /bin/bash /run/hand/{program} {arguments}",
    )
    try:
        said = claim(machine, "polite")
        assert (said["outcome"] == b"locked") == refused, said
        if refused:
            assert said["detail"].startswith(b"nixos-rebuild by hand (process ")
            assert inside(machine, "ls /run/switchproof") == ""
    finally:
        inside(machine, "systemctl stop hand")


@pytest.mark.parametrize("suffix", ["", "-1a2b3c4d"])
def test_an_activation_under_way_has_the_host(machine: LabHost, suffix: str) -> None:
    """While switch-to-configuration runs in its unit, whatever its suffix, a run is refused with the unit's name."""
    unit = f"nixos-rebuild-switch-to-configuration{suffix}.service"
    inside(machine, f"systemd-run -q --unit={unit} sleep 60")
    try:
        said = claim(machine, "polite")
        assert said["outcome"] == b"locked"
        assert said["detail"].startswith(f"{unit}, since ".encode())
    finally:
        inside(machine, f"systemctl stop {unit}")


def test_the_lock_of_switch_to_configuration_counts(machine: LabHost) -> None:
    """Whoever holds the lock of switch-to-configuration has the host."""
    lock = "/run/nixos/switch-to-configuration.lock"
    inside(machine, f"mkdir -p /run/nixos; touch {lock}; systemd-run -q --unit=stc flock {lock} sleep 60")
    wait_for(lambda: machine.run(["flock", "-n", lock, "true"], timeout_s=5).returncode != 0, "the lock is held")
    try:
        detail = claim(machine, "polite")["detail"].decode()
        pid = inside(machine, "systemctl show -P MainPID stc")
        assert re.search(rf"{lock} is held by process {pid} \(\S*flock {lock} sleep 60\) since ", detail)
        assert "it belongs to no deploy that this host knows" in detail
    finally:
        inside(machine, "systemctl stop stc")
