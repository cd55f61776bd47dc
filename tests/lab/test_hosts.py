"""Lab hosts are machines of their own: they boot, stop, lose power and come back."""

import subprocess
from collections.abc import Iterator

import pytest

from switchproof.deploy.providers.lab.errors import CommandFailedError, HostFailedError, LabUnavailable
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.state import start_ticks
from tests.lab.leftovers import leftovers

pytestmark = pytest.mark.lab
NAME = "test-hosts"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        up = Lab.up(name=NAME, runtime="netns")
    except LabUnavailable as error:
        pytest.skip(str(error))
    with up:
        yield up
    assert leftovers(NAME) == []


def _ssh(lab: Lab, host: LabHost, command: str) -> str:
    options = ["-F", "none", "-i", str(host.identity_file), f"-oUserKnownHostsFile={lab.known_hosts}"]
    options += ["-oStrictHostKeyChecking=yes", "-oBatchMode=yes", "-oConnectTimeout=5"]
    argv = ["ssh", *options, f"{host.user}@{host.address}", command]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


def _inside(host: LabHost, *argv: str) -> str:
    done = host.run(argv, timeout_s=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _boot_id(host: LabHost) -> str:
    return _inside(host, "cat", "/proc/sys/kernel/random/boot_id")


def test_every_host_is_reached_by_ssh_with_its_own_key(lab: Lab) -> None:
    """A host answers at its address, proves its key and lets the lab's key in."""
    names = {_ssh(lab, host, "hostname") for host in lab.hosts.values()}
    assert names == {"choiros-a", "choiros-b"}
    assert len({host.host_key for host in lab.hosts.values()}) == 2


def test_a_fresh_host_runs_well(lab: Lab) -> None:
    """After the start nothing has failed, and a system is current."""
    for host in lab.hosts.values():
        assert _inside(host, "systemctl", "is-system-running") == "running"
        assert _inside(host, "readlink", "--canonicalize", "/run/current-system").startswith("/nix/store/")


def test_hosts_see_the_repository_and_cannot_change_it(lab: Lab) -> None:
    """What is pushed to the lab's repository is there on every host at once, read-only."""
    (lab.repository / "description").write_text("seen everywhere")
    for host in lab.hosts.values():
        assert _inside(host, "cat", "/srv/sample.git/description") == "seen everywhere"
        assert host.run(["touch", "/srv/sample.git/description"], timeout_s=20).returncode != 0


def test_hosts_have_cgroups_of_their_own(lab: Lab) -> None:
    """A unit of one host is not in the other one's cgroups, though both have units of the same names."""
    a, b = lab.hosts["a"], lab.hosts["b"]
    _inside(a, "systemd-run", "--quiet", "--unit=only-on-a", "sleep", "600")
    assert "only-on-a.service" in _inside(a, "systemd-cgls", "--no-pager")
    assert "only-on-a.service" not in _inside(b, "systemd-cgls", "--no-pager")
    _inside(a, "systemctl", "stop", "only-on-a.service")


def test_hosts_reach_neither_each_other_nor_outside(lab: Lab) -> None:
    """The only way out of a host is to this machine."""
    a, b = lab.hosts["a"], lab.hosts["b"]
    assert "default" not in _inside(a, "ip", "route")
    assert a.run(["curl", "--max-time", "2", f"http://{b.address}:22"], timeout_s=20).returncode == 7


def test_a_command_gets_input_and_gives_its_status(lab: Lab) -> None:
    """Input, output and exit status of a command pass unchanged."""
    done = lab.hosts["a"].run(["sh", "-c", "cat; echo told >&2; exit 3"], timeout_s=20, input="given")
    assert (done.stdout, done.stderr, done.returncode) == ("given", "told\n", 3)


def test_a_command_that_does_not_end_is_ended(lab: Lab) -> None:
    """A command past its time is killed inside the host, and the caller is told."""
    host = lab.hosts["a"]
    with pytest.raises(CommandFailedError, match="did not end within"):
        host.run(["sleep", "4321"], timeout_s=0.3)
    assert host.run(["pgrep", "--full", "sleep 4321"], timeout_s=20).returncode == 1


def test_power_cycles_keep_the_disk(lab: Lab) -> None:
    """Shut down or cut off, a host comes back with its files, key and address, and a new boot id."""
    host = lab.hosts["a"]
    _inside(host, "sh", "-c", "echo kept > /root/state; touch /run/lost")
    boots = [_boot_id(host)]
    for stop in (host.power_off, host.kill):
        stop()
        assert not host.running()
        with pytest.raises(HostFailedError, match="is off"):
            host.run(["true"], timeout_s=20)
        assert (host.root / "root/state").read_text() == "kept\n"
        host.power_on()
        assert _ssh(lab, host, "cat /root/state; ls /run/lost 2>/dev/null || echo gone") == "kept\ngone"
        boots.append(_boot_id(host))
    assert len(set(boots)) == 3


def test_power_is_cut_even_when_the_host_does_not_answer(lab: Lab) -> None:
    """A host whose first process is stopped still loses its power."""
    host = lab.hosts["b"]
    leader = host.leader()
    assert leader is not None
    subprocess.run(["kill", "-STOP", str(leader)], check=True)
    host.power_off(timeout_s=0.2)
    assert not host.running()
    assert start_ticks(leader) is None
    host.power_on()


def test_a_host_can_reboot_itself(lab: Lab) -> None:
    """A reboot from inside ends in a host that is reached as before."""
    host = lab.hosts["b"]
    before, leader = _boot_id(host), host.leader()
    # Asked of systemd alone, as logind may be slow to start.
    host.run(["systemctl", "--no-block", "start", "reboot.target"], timeout_s=20)
    host.wait_ready(not_leader=leader)
    assert _boot_id(host) != before
    assert _ssh(lab, host, "hostname") == "choiros-b"


def test_a_running_lab_is_found_again(lab: Lab) -> None:
    """Another process attaches by name and sees the same hosts."""
    attached = Lab.attach(NAME)
    assert {host.address for host in attached.hosts.values()} == {host.address for host in lab.hosts.values()}
    assert _inside(attached.hosts["a"], "hostname") == "choiros-a"
