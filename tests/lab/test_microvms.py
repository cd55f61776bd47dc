"""The sandboxes of a lab host are microVMs: they boot their revision's image, and break and mend as one says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchproof.deploy.cache import cache_folder
from switchproof.deploy.providers.lab import kvm
from switchproof.deploy.providers.lab.errors import LabUnavailable
from switchproof.deploy.providers.lab.faults import break_host, mend_host
from switchproof.deploy.providers.lab.host import SANDBOXES, LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.lab.leftovers import leftovers

pytestmark = [pytest.mark.lab, pytest.mark.long]
ROOT = Path(__file__).parents[2]
NAME = "test-microvms"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        up = Lab.up(("a",), name=NAME, runtime="microvm")
    except LabUnavailable as error:
        pytest.skip(str(error))
    with up:
        yield up
    assert leftovers(NAME) == []


@pytest.fixture
def host(lab: Lab) -> LabHost:
    return lab.hosts["a"]


def sh(host: LabHost, script: str) -> str:
    done = host.run(["bash", "-c", f"exec 2>&1; cd /; {script}"], timeout_s=60)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def health(host: LabHost, unit: str) -> dict[str, object]:
    answer: dict[str, object] = json.loads(sh(host, f"curl -sf -m 5 127.0.0.1:{SANDBOXES[unit]}/health"))
    return answer


def prop(host: LabHost, unit: str, name: str) -> str:
    return sh(host, f"systemctl show -P {name} cloud-hypervisor@{unit}")


def monitor(host: LabHost, unit: str) -> str:
    ask = """printf '%s\\n' '{"execute":"qmp_capabilities"}' '{"execute":"query-status"}'"""
    return sh(host, f"{ask} | socat -t 2 - UNIX-CONNECT:/run/microvm-{unit}/qmp.sock || true")


def wait_for(what: Callable[[], bool], sentence: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {sentence}"
        time.sleep(0.1)


def _asked(host: LabHost) -> str:
    """What stands on the console of `live` after it was asked once more."""
    return sh(host, "curl -s -m 1 10.0.0.100:8080/health; journalctl -q -n 60 -o cat -t sandbox")


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "switchproof.deploy.providers.lab", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize("unit", SANDBOXES)
def test_a_new_host_s_sandboxes_serve_from_machines(host: LabHost, unit: str) -> None:
    """When a lab is up its sandboxes answer, from a guest that runs the host's release, by a QEMU from the store."""
    answer = health(host, unit)
    release = sh(host, "cat /run/current-system/etc/choiros/version")
    assert answer == {
        "status": "healthy",
        "instance_role": unit,
        "version": release,
        "uptime": answer["uptime"],
        "hostname": unit,
    }
    assert sh(host, f"readlink /proc/{prop(host, unit, 'MainPID')}/exe").startswith("/nix/store/")
    assert '"status": "running"' in monitor(host, unit)
    assert sh(host, f"readlink /sys/class/net/tap-{unit}/master").endswith("/br-choiros")


def test_the_guest_s_console_is_shown(host: LabHost) -> None:
    """`console` prints what the guest wrote, its answers too, and ends where nobody watches."""
    health(host, "live")
    wait_for(lambda: "GET /health 200" in cli("console", f"--name={NAME}", "a", "live").stdout, "the answer is shown")


def test_a_fault_holds_until_it_is_mended(host: LabHost) -> None:
    """A fault comes back with every new process of its unit and leaves the other unit alone; mending ends it."""
    said = cli("break", f"--name={NAME}", "a", "paused", "dev")
    assert said.returncode == 0, said.stderr
    assert "A deploy or an audit should say: the machine is paused" in said.stderr
    for _ in range(2):
        wait_for(lambda: '"status": "paused"' in monitor(host, "dev"), "dev is paused")
        sh(host, "systemctl restart cloud-hypervisor@dev")
    assert health(host, "live")["status"] == "healthy"
    assert cli("mend", f"--name={NAME}", "a").returncode == 0
    assert health(host, "dev")["status"] == "healthy"
    assert (
        sh(host, "systemctl list-units --all --plain --no-legend 'lab-fault-*'; systemctl --failed --no-legend") == ""
    )


def test_a_fault_that_happens_once_waits_for_an_answer(host: LabHost) -> None:
    """The machine is killed after the next answer, not for one from before, and then no more."""
    health(host, "live")
    before = prop(host, "live", "NRestarts")
    break_host(host, "killed", "live")
    assert sh(host, "systemctl is-active lab-fault-live; systemctl show -P NRestarts cloud-hypervisor@live") == (
        f"active\n{before}"
    )
    health(host, "live")
    wait_for(lambda: prop(host, "live", "NRestarts") == str(int(before) + 1), "live was started again")
    assert "code=killed, status=9/KILL" in sh(host, "journalctl -q -n 20 _PID=1 UNIT=cloud-hypervisor@live.service")
    mend_host(host)


def test_a_broken_sandbox_can_be_broken_otherwise(host: LabHost) -> None:
    """A second fault of a unit takes the first one's place."""
    break_host(host, "vm-stopped", "live")
    break_host(host, "hang", "live")
    wait_for(lambda: "GET /health no answer" in _asked(host), "live hangs")
    mend_host(host)


def test_a_host_that_does_not_say_what_its_sandboxes_are_runs_none(host: LabHost) -> None:
    """A lab of microVMs never falls back on processes."""
    kind = sh(host, "cat /etc/switchproof-lab/runtime")
    sh(host, "echo other >/etc/switchproof-lab/runtime; systemctl restart cloud-hypervisor@live || true")
    wait_for(lambda: prop(host, "live", "ActiveState") == "failed", "live has failed")
    assert "is none of tcg, kvm, netns" in sh(host, "journalctl -q -n 30 -u cloud-hypervisor@live")
    sh(
        host,
        f"echo {kind} >/etc/switchproof-lab/runtime; systemctl reset-failed; systemctl start cloud-hypervisor@live",
    )
    host.wait_serving()


def test_a_machine_may_go_on_with_its_old_image(host: LabHost) -> None:
    """After a switch a machine serves the new release, but one that is started from the image it has, the old one."""
    reference = "git+file:///srv/sample.git?ref=refs/heads/broken/live-old-image#choiros-a"
    sh(host, f"nixos-rebuild switch --flake '{reference}'")
    host.wait_serving()
    assert (health(host, "live")["version"], health(host, "dev")["version"]) == ("v1", "v2-image")


def test_a_first_boot_is_a_boot(lab: Lab) -> None:
    """What decides about KVM boots the image's sandbox for real, and gives up in time."""
    image = cache_folder() / lab.state.image
    assert kvm.boots(image, "tcg", timeout_s=300)
    assert not kvm.boots(image, "tcg", timeout_s=0.5)
