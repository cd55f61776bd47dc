"""Checks that this machine can run a lab, and names the first missing requirement."""

import ctypes
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from types import MappingProxyType

import msgspec

from switchproof.deploy.providers.lab import cgroup, process
from switchproof.deploy.providers.lab.errors import LabError, LabUnavailable
from switchproof.deploy.providers.lab.kinds import Runtime

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "bash": "bash",
        "chroot": "coreutils",
        "findmnt": "util-linux",
        "git": "git",
        "ip": "iproute2",
        "mmdebstrap": "mmdebstrap",
        "mount": "mount",
        "nsenter": "util-linux",
        "setpriv": "util-linux",
        "ssh-keygen": "openssh-client",
        "systemd-nspawn": "systemd-container",
        "unshare": "util-linux",
    }
)
TUN = Path("/dev/net/tun")
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES = 24
"""Approximate number of inotify instances of one host with its services."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Machine(msgspec.Struct, frozen=True):
    """The facts about this machine."""

    platform: str
    root: bool
    missing_packages: tuple[str, ...] = ()
    cgroup_v2: bool = True
    cgroup_kill: bool = True
    cgroup_writable: bool = True
    overlayfs: bool = True
    veth: bool = True
    tun: bool = True
    mounts: bool = True
    inotify: bool = True


def require(runtime: Runtime = "netns") -> None:
    """Make sure that this machine can run a lab.

    Args:
        runtime: The kind of sandboxes; microVMs need more than processes.

    Raises:
        LabUnavailable: It cannot; the message says what is missing and how to get it.
    """
    if complaint := complain(look(), runtime):
        raise LabUnavailable(complaint)


def complain(machine: Machine, runtime: Runtime = "netns") -> str | None:
    """Return a sentence about the first missing requirement; None if there is none."""
    packages = " ".join(machine.missing_packages)
    unified = "a cgroup v2 hierarchy"
    needs = (
        (
            machine.platform == "linux",
            f"The lab needs Linux, because it boots hosts as containers of its kernel (this is {machine.platform}).",
        ),
        (
            machine.root,
            (
                "The lab needs root, because it mounts and boots hosts: run the same command as root, with the PATH "
                'of this shell, as in sudo env "PATH=$PATH" switchproof lab up.'
            ),
        ),
        (
            not machine.missing_packages,
            (
                f"The lab needs system packages that are missing here: "
                f"run setup/system-packages.sh, or `apt-get install {packages}`."
            ),
        ),
        (
            machine.cgroup_v2,
            (
                f"The lab needs {unified}, but none is mounted: "
                "`mount -t cgroup2 cgroup2 /sys/fs/cgroup`, or boot with systemd."
            ),
        ),
        (
            machine.cgroup_writable,
            (
                f"The lab needs to create cgroups, but {unified} is read-only here: "
                "in a container, run it with `--privileged --cgroupns=private`."
            ),
        ),
        (
            machine.cgroup_kill,
            "The lab needs Linux 5.14 or newer, which can end all processes of a cgroup at once.",
        ),
        (
            machine.overlayfs,
            "The lab needs overlayfs, which this kernel does not offer: `modprobe overlay`.",
        ),
        (
            machine.veth,
            (
                "The lab needs veth interfaces in network namespaces of their own, which this kernel refuses: "
                "`modprobe veth`, and in a container run it with `--privileged`."
            ),
        ),
        (
            machine.mounts,
            (
                "The lab needs mount namespaces of its own to start hosts, which this machine refuses: in a "
                "container run it with `--privileged`; in a chroot its root must be a mount point."
            ),
        ),
        (
            machine.inotify,
            (
                "The lab needs inotify instances, of which too few are left "
                f"(fs.inotify.max_user_instances is {_limit()}): "
                "`sysctl -w fs.inotify.max_user_instances=1024`, or take down labs that nobody needs."
            ),
        ),
        (
            machine.tun or runtime == "netns",
            (
                "The lab's microVMs need /dev/net/tun, which cannot be opened here: `modprobe tun`, and in a "
                "container run it with `--device=/dev/net/tun`; or use no microVMs: --lab-runtime=netns."
            ),
        ),
    )
    return next((sentence for met, sentence in needs if not met), None)


def look() -> Machine:
    """Collect the facts about this machine; try only what its programs and permissions allow."""
    machine = Machine(platform=sys.platform, root=hasattr(os, "geteuid") and os.geteuid() == 0)
    if not machine.root or machine.platform != "linux":
        return machine
    missing = {package for command, package in COMMANDS.items() if which(command) is None}
    if not KEYRING.exists():
        missing.add("debian-archive-keyring")
    if missing:
        return Machine(machine.platform, machine.root, tuple(sorted(missing)))
    unified, _ = cgroup.hierarchies()
    return Machine(
        platform=machine.platform,
        root=machine.root,
        cgroup_v2=unified is not None,
        cgroup_writable=unified is not None and os.access(unified, os.W_OK),
        cgroup_kill=unified is not None and _kernel() >= (5, 14),
        overlayfs=_overlayfs(),
        veth=_veth(),
        tun=_tun(),
        mounts=_mounts(),
        inotify=_inotify(),
    )


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)) or 0)


def _overlayfs() -> bool:
    if _knows_overlayfs():
        return True
    try:
        process.check(["modprobe", "overlay"], timeout_s=20)
    except LabError:
        return False
    return _knows_overlayfs()


def _knows_overlayfs() -> bool:
    return "\toverlay" in Path("/proc/filesystems").read_text("utf-8")


def _veth() -> bool:
    # Tried in a network namespace that ends with the command, so that nothing remains.
    attempt = ["unshare", "--net", "--", "ip", "link", "add", "swp-try0", "type", "veth", "peer", "name", "swp-try1"]
    return process.run(attempt, timeout_s=20).returncode == 0


def _tun() -> bool:
    try:
        os.close(os.open(TUN, os.O_RDWR))
    except OSError:
        return False
    return True


def _mounts() -> bool:
    # The first step of boot-host.sh.
    attempt = ["unshare", "--net", "--mount", "--propagation", "slave", "--", "true"]
    return process.run(attempt, timeout_s=20).returncode == 0


def _inotify() -> bool:
    """Whether a host's services could watch files; otherwise they fail late, with many messages."""
    opened: list[int] = []
    try:
        for _ in range(INSTANCES):
            number = ctypes.CDLL(None).inotify_init()
            if number < 0:
                return False
            opened.append(number)
    finally:
        for number in opened:
            os.close(number)
    return True


def _limit() -> str:
    try:
        return INOTIFY.read_text("utf-8").strip()
    except OSError:
        return "unknown"
