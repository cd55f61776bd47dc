"""A machine that cannot run a lab is told in one sentence what it needs."""

import os
import subprocess
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab import preflight, process
from switchproof.deploy.providers.lab.errors import LabUnavailable
from switchproof.deploy.providers.lab.preflight import Machine, complain


def test_a_machine_with_everything_is_accepted() -> None:
    """Nothing is said about a machine that lacks nothing."""
    assert complain(Machine("linux", root=True)) is None


@pytest.mark.parametrize(
    ("machine", "needed"),
    [
        (Machine("darwin", root=True), "needs Linux"),
        (Machine("linux", root=False), "sudo"),
        (Machine("linux", root=True, missing_packages=("git", "iproute2")), "apt-get install git iproute2"),
        (Machine("linux", root=True, cgroup_v2=False), "cgroup2"),
        (Machine("linux", root=True, cgroup_writable=False), "--privileged"),
        (Machine("linux", root=True, cgroup_kill=False), "Linux 5.14"),
        (Machine("linux", root=True, overlayfs=False), "modprobe overlay"),
        (Machine("linux", root=True, veth=False), "modprobe veth"),
        (Machine("linux", root=True, mounts=False), "mount namespaces of its own to start hosts"),
        (Machine("linux", root=True, inotify=False), "`sysctl -w fs.inotify.max_user_instances="),
    ],
)
def test_one_sentence_says_what_is_needed(machine: Machine, needed: str) -> None:
    """The complaint is one line that names what is lacking and how to get it."""
    sentence = complain(machine)
    assert sentence is not None
    assert needed in sentence
    assert sentence.startswith("The lab needs ")
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_device_for_taps_is_asked_for_by_microvms_only() -> None:
    """A machine without /dev/net/tun is told of the other runtime, which needs none."""
    machine = Machine("linux", root=True, tun=False)
    assert "--lab-runtime=netns" in (complain(machine, "microvm") or "")
    assert complain(machine, "netns") is None


def test_root_is_asked_for_before_packages() -> None:
    """Whoever lacks both is first told about root, without which nothing could be installed."""
    assert "root" in (complain(Machine("linux", root=False, missing_packages=("git",))) or "")


def test_a_refusal_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller can tell a machine that cannot run a lab from a lab that failed."""
    monkeypatch.setattr(preflight, "look", lambda: Machine("linux", root=False))
    with pytest.raises(LabUnavailable, match="needs root"):
        preflight.require()


def test_missing_commands_are_told_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing command is told as the Debian package that brings it."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(preflight, "which", lambda command: None if command == "systemd-nspawn" else command)
    monkeypatch.setattr(preflight, "KEYRING", Path("/"))
    assert preflight.look().missing_packages == ("systemd-container",)


def test_inotify_that_is_used_up_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that cannot be opened is told, and none of the attempt stays open."""
    opened: list[int] = []

    class Kernel:
        def inotify_init(self) -> int:
            if len(opened) == 3:
                return -1
            opened.append(os.open("/dev/null", os.O_RDONLY))
            return opened[-1]

    monkeypatch.setattr("switchproof.deploy.providers.lab.preflight.ctypes.CDLL", lambda _: Kernel())
    assert not preflight._inotify()
    assert not [number for number in opened if Path(f"/proc/self/fd/{number}").exists()]


def test_a_machine_that_cannot_start_hosts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a host's start does first is tried before anything is made."""
    ended = subprocess.CompletedProcess([], 1, "", "unshare: cannot change root filesystem propagation")
    monkeypatch.setattr(process, "run", lambda *_, **__: ended)
    assert not preflight._mounts()
