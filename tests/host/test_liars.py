"""Ways in which a real host looks healthy and is not, or looks broken and is not, each tried on one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from switchproof.checks import test_converge
from switchproof.checks.endpoints import EndpointChecks
from switchproof.checks.fixtures import Shown
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host.program import endpoints
from switchproof.deploy.observe.health import EndpointSeen
from switchproof.deploy.observe.observation import Observation, read_observation
from switchproof.deploy.providers import load
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import Endpoint, Target
from tests.host.hands import QUICK, ask, inside, wait_for, write

pytestmark = pytest.mark.lab

TARGET = load(TARGETS / "lab.toml", {}, ["a"])
HYPERVISOR = "hypervisor.service"
GROUP = f"/sys/fs/cgroup/system.slice/{HYPERVISOR}"


def look(machine: LabHost, target: Target = TARGET, **values: str) -> Observation:
    """Observe the host as an audit does."""
    given = {**QUICK, "READY_S": "0", "SWITCHPROOF_ENDPOINTS": endpoints(target), "SWITCHPROOF_BRIDGE": "", **values}
    return read_observation(ask(machine, "observe", **given))


def hypervisor(seen: Observation, target: Target = TARGET) -> EndpointSeen:
    health = msgspec.structs.replace(target.health, answers=2, soak_s=0.5)
    return EndpointSeen("hypervisor", target.hypervisor, health, seen)


def judge(seen: Observation) -> None:
    """Hold the hypervisor against the contract, as the checks do."""
    test_converge.test_unit_definitions_are_those_of_the_running_system(seen, set(), (), Shown())
    test_converge.test_processes_run_from_the_running_system(seen, set(), Shown())
    test_converge.test_the_system_profile_is_the_running_system(seen, seen.system.running, "", Shown())
    endpoint, checks = hypervisor(seen), EndpointChecks()
    for check in (checks.test_its_units_are_active, checks.test_its_port_is_its_own):
        check(endpoint, Shown())
    for check in (checks.test_it_answers_as_it_should, checks.test_it_stays_healthy):
        check(endpoint, Shown())


@contextmanager
def after(machine: LabHost, script: str) -> Iterator[None]:
    """Run a script in the host at the end, whatever became of it."""
    try:
        yield
    finally:
        inside(machine, script)


@contextmanager
def replaced(machine: LabHost, tool: str, script: str) -> Iterator[None]:
    """A program of the host that behaves otherwise."""
    write(machine, f"/run/wrappers/bin/{tool}", f"#!/bin/bash\n{script}\n")
    with after(machine, f"rm -f /run/wrappers/bin/{tool} /run/calls"):
        yield


def test_a_healthy_host_passes(machine: LabHost) -> None:
    """Without any of what follows, every check passes."""
    judge(look(machine))


def test_a_drop_in_of_somebody_fails(machine: LabHost) -> None:
    """What `systemctl set-property` leaves behind is found by its path, and what is not read yet as well."""
    folder = f"/etc/systemd/system/{HYPERVISOR}.d"
    with after(machine, f"systemctl revert {HYPERVISOR}; rm -rf {folder}; systemctl daemon-reload"):
        inside(machine, f"systemctl set-property {HYPERVISOR} CPUWeight=99")
        with pytest.raises(AssertionError, match=rf"{HYPERVISOR} is defined by /etc/systemd/system.control/"):
            judge(look(machine))
        inside(machine, f"systemctl revert {HYPERVISOR}")
        judge(look(machine))
        inside(machine, f"mkdir -p {folder} && echo '[Unit]' >{folder}/mine.conf")
        with pytest.raises(AssertionError, match="NeedDaemonReload"):
            judge(look(machine))
        inside(machine, "systemctl daemon-reload")
        with pytest.raises(AssertionError, match=rf"is defined by {folder}/mine.conf"):
            judge(look(machine))


def test_a_group_with_the_unit_s_name_is_not_the_unit(machine: LabHost) -> None:
    """A listener in a control group that only ends like the unit's is a stranger, told by the whole group."""
    lie = f"/sys/fs/cgroup/lie.slice/{HYPERVISOR}"
    listen = "socat TCP-LISTEN:9090,bind=127.0.0.1,reuseport,fork /dev/null"
    program = f"mkdir -p {lie}; echo $$ >{lie}/cgroup.procs; exec {listen}"
    end = f"xargs -r kill <{lie}/cgroup.procs; sleep 0.2; rmdir {lie} || true; systemctl start {HYPERVISOR}"
    with after(machine, end):
        inside(machine, f"systemctl stop {HYPERVISOR}; setsid bash -c '{program}' >/dev/null 2>&1 </dev/null &")
        wait_for(lambda: inside(machine, "ss -Hltn | grep -c 127.0.0.1:9090 || true") == "1", "the stranger listens")
        (listener,) = hypervisor(look(machine)).listeners
        assert listener.unit == f"/lie.slice/{HYPERVISOR}"
        with pytest.raises(AssertionError, match=f"by /lie.slice/{HYPERVISOR}"):
            EndpointChecks().test_its_port_is_its_own(hypervisor(look(machine)), Shown())


def test_a_process_that_outlived_its_unit_fails(machine: LabHost) -> None:
    """A process of before the last start that is in the unit's group is told as left over."""
    with after(machine, f"kill $(cat /run/survivor); rm /run/survivor; systemctl restart {HYPERVISOR}"):
        inside(machine, "setsid sleep 300 >/dev/null 2>&1 </dev/null & echo $! >/run/survivor")
        # Younger ones may be the unit's own, which systemd notes only after it forked them.
        old = "ps -o etimes= -p $(cat /run/survivor)"
        wait_for(
            lambda: int(inside(machine, old)) > 6, "the process is older than the unit's start can be noted late"
        )
        inside(machine, "ln -sfT $(readlink /run/current-system) /run/current-system")
        inside(machine, f"systemctl restart {HYPERVISOR}; cat /run/survivor >{GROUP}/cgroup.procs")
        (process,) = look(machine).survivors
        assert str(process.pid) == inside(machine, "cat /run/survivor")


def test_a_journal_that_is_stopped_fails(machine: LabHost) -> None:
    """Entries of old prove nothing: a line that is written now must come back."""
    units = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket systemd-journald"
    assert "journald line" in look(machine).diagnosable
    with after(machine, f"systemctl start {units}"):
        inside(machine, f"systemctl stop {units} 2>/dev/null || true")
        assert "journald line" not in look(machine).diagnosable


def test_systemctl_that_fails_now_and_then_is_no_restart(machine: LabHost) -> None:
    """One failure in three is asked again: the host is as healthy as it is."""
    fails = 'echo >>/run/calls; [ $(($(wc -l </run/calls) % 3)) != 1 ] || exit 1; exec /usr/bin/systemctl "$@"'
    with replaced(machine, "systemctl", fails):
        judge(look(machine))


@pytest.mark.parametrize("tool", ["ss", "systemctl"])
@pytest.mark.long
def test_silence_is_inconclusive(machine: LabHost, tool: str) -> None:
    """A program that never answers makes the look inconclusive, and no port free and no unit gone."""
    with replaced(machine, tool, "exit 1"), pytest.raises(Inconclusive, match=f"{tool} "):
        judge(look(machine))


def test_a_daemon_of_nix_that_refuses_is_quoted(machine: LabHost) -> None:
    """Where the closure cannot be read, nix's own words and what helps with them are told."""
    refuses = "echo \"error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': refused\" >&2; exit 1"
    with (
        replaced(machine, "nix-store", refuses),
        pytest.raises(Inconclusive, match="nix reported: error: cannot connect to socket") as refused,
    ):
        judge(look(machine))
    assert "nix-daemon" in refused.value.remedy


def test_a_socket_that_systemd_holds_is_the_unit_s(machine: LabHost) -> None:
    """A forward that systemd starts by its socket is heard as itself, whoever holds the socket."""
    socket = "[Socket]\nListenStream=127.0.0.1:7070\n"
    service = "[Service]\nExecStart=/usr/lib/systemd/systemd-socket-proxyd 127.0.0.1:9090\n"
    folder = "/run/systemd/system"
    target = msgspec.structs.replace(
        TARGET,
        hypervisor=Endpoint(units=("fwd.service",), listen="127.0.0.1:7070", url="http://127.0.0.1:7070/login"),
    )
    end = f"systemctl stop fwd.socket fwd.service; rm {folder}/fwd.*; systemctl daemon-reload"
    with after(machine, end):
        write(machine, f"{folder}/fwd.socket", socket)
        write(machine, f"{folder}/fwd.service", service)
        inside(machine, "systemctl daemon-reload; systemctl start fwd.socket; curl -s -o /dev/null 127.0.0.1:7070")
        endpoint = hypervisor(look(machine, target), target)
        assert {one.pid == 1 for one in endpoint.listeners} == {True, False}
        EndpointChecks().test_its_port_is_its_own(endpoint, Shown())


def test_units_fail_by_how_they_ended(machine: LabHost) -> None:
    """What ended well and waits has not failed; what failed is told with the command; what flaps is noted before."""
    folder = "/run/systemd/system"
    names = ("well", "ill", "pre", "flaps")
    again = "Restart=always\nRestartSec=600\n"
    write(machine, f"{folder}/well.service", f"[Service]\nExecStart=/bin/true\n{again}")
    write(machine, f"{folder}/ill.service", f"[Service]\nExecStart=/bin/false\n{again}")
    write(machine, f"{folder}/pre.service", "[Service]\nExecStartPre=/bin/false\nExecStart=/bin/sleep 9\n")
    flaps = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=100ms\n"
    once = "[ -e /run/flapped ] && exec sleep 300; touch /run/flapped; exit 1"
    write(machine, f"{folder}/flaps.service", f"{flaps}ExecStart=/bin/sh -c '{once}'\n")
    files = " ".join(f"{folder}/{name}.service" for name in names)
    target = msgspec.structs.replace(
        TARGET, hypervisor=msgspec.structs.replace(TARGET.hypervisor, units=("pre.service", HYPERVISOR))
    )
    stop = f"systemctl stop {' '.join(names)}; systemctl reset-failed"
    end = f"{stop}; rm -f {files} /run/flapped; systemctl daemon-reload"
    with after(machine, end):
        inside(machine, f"systemctl daemon-reload; systemctl start --no-block {' '.join(names)}")
        wait_for(lambda: "failed" in inside(machine, "systemctl is-active pre || true"), "pre has failed")
        wait_for(lambda: inside(machine, "systemctl show -P NRestarts flaps") == "1", "flaps was started again")
        seen = look(machine, target)
        assert {"ill.service", "pre.service"} <= set(seen.failed)
        assert not {"well.service", "flaps.service"} & set(seen.failed)
        assert seen.units["pre.service"].state.endswith(": ExecStartPre=/bin/false ended with status 1")
        claimed = ask(machine, "resolve", RELEASE_SHA="main", SWITCHPROOF_CLAIM="1")
        assert "flaps.service" in claimed.text("before").split()


def test_a_profile_of_nothing_but_links_is_the_system_s(machine: LabHost) -> None:
    """A wrapper as deploy-rs makes it passes and is told; one that leads elsewhere in one file does not."""
    profile = "/nix/var/nix/profiles/system"
    link = inside(machine, f"readlink {profile}")
    links = "for file in *; do [ $file = bin ] || ln -s $PWD/$file /root/wrapper; done"
    links += "; ln -s $PWD/bin/* /root/wrapper/bin"
    with after(machine, f"ln -sfn {link} {profile}; rm -r /root/wrapper"):
        inside(
            machine, f"mkdir -p /root/wrapper/bin; cd /run/current-system; {links}; touch /root/wrapper/activate-rs"
        )
        inside(machine, f"ln -sfn /root/wrapper {profile}")
        shown = Shown()
        seen = look(machine)
        test_converge.test_the_system_profile_is_the_running_system(seen, seen.system.running, "", shown)
        assert "which only links to" in shown.seen
        inside(machine, "ln -sfn /bin/true /root/wrapper/kernel")
        seen = look(machine)
        with pytest.raises(AssertionError, match="the profile points to /root/wrapper"):
            test_converge.test_the_system_profile_is_the_running_system(seen, seen.system.running, "", Shown())
