"""One lab host: its disk, its power, and commands inside it without a network."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from switchproof.deploy.providers.lab import mounts, network, process, real
from switchproof.deploy.providers.lab.cgroup import Cgroup
from switchproof.deploy.providers.lab.errors import CommandFailedError, HostFailedError
from switchproof.deploy.providers.lab.kinds import Runtime, Shape
from switchproof.deploy.providers.lab.state import HostState, LabState

BOOT_SCRIPT = Path(__file__).parent / "boot-host.sh"
BOOT_LOADER = Path(__file__).parent / "system/rootfs/usr/local/lib/switchproof-lab/boot-loader"
START_TIMEOUT_S = 180.0
"""Hosts with two emulated microVMs each take 15 to 60 s on two processors, and longer beside other work."""
ANSWER_TIMEOUT_S = 2.0
POWER_OFF_TIMEOUT_S = 30.0
POLL_S = 0.03
SANDBOXES = {"live": 8080, "dev": 8081}
"""The runtime units of a host, and the ports of their forwards there."""
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "USER": "root",
}


class LabHost:
    """A host of a lab, which has a name and may be off."""

    user = "root"
    port = 22

    def __init__(self, lab: LabState, state: HostState) -> None:
        self.name = state.name
        self.address = state.cable.host_address
        self.runner_address = state.cable.runner_address
        self.folder = lab.folder / "hosts" / state.name
        self.root = self.folder / "root"
        self.console = self.folder / "console.log"
        self.identity_file = lab.folder / "id_ed25519"
        self._repository = lab.folder / "sample.git"
        self._programs = lab.folder / real.FOLDER
        self._lab = lab
        self._state = state
        self._cgroup = Cgroup(state.machine)
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def host_key(self) -> str:
        """Return the host's public key as `ssh-ed25519 AAAA…`."""
        line = (self.folder / "ssh_host_ed25519_key.pub").read_text("utf-8")
        return " ".join(line.split()[:2])

    @property
    def runtime(self) -> Runtime:
        """Return the kind of the host's sandboxes."""
        return self._lab.runtime

    @property
    def attr(self) -> str:
        """Return the flake's system that the host runs."""
        return self._state.attr

    @property
    def shape(self) -> Shape:
        """Return the host's shape."""
        return self._lab.shape

    @property
    def hostname(self) -> str:
        """Return the host's own host name."""
        return self._state.hostname

    def running(self) -> bool:
        """Whether any process of the host exists."""
        return self._cgroup.populated()

    def leader(self) -> int | None:
        """Return this machine's process id of the host's first process; None without one."""
        return self._cgroup.leader()

    def boots(self) -> str:
        """Return the system that the host boots next, whether it is on or off."""
        loader = ["bash", str(BOOT_LOADER)]
        done = process.run(loader, timeout_s=10, env={**os.environ, "BOOT": str(self.root / "boot")})
        return done.stdout.strip()

    def prepare(self, image: Path) -> None:
        """Make the host's disk: the image, with the host's own files over it."""
        self.folder.mkdir(parents=True)
        key = self.folder / "ssh_host_ed25519_key"
        generate_key(key, comment=self.hostname)
        root = mounts.mount_root(self.folder, image)
        for name in (key.name, f"{key.name}.pub"):
            shutil.copy(self.folder / name, root / "etc/ssh" / name)
        _write(root / "etc/hostname", f"{self.hostname}\n")
        _write(root / "etc/hosts", f"127.0.0.1 localhost {self.hostname}\n::1 localhost\n")
        _write(root / "etc/machine-id", f"{uuid.uuid4().hex}\n")
        _write(root / "etc/switchproof-lab/attr", f"{self._state.attr}\n")
        _write(root / "etc/switchproof-lab/shape", f"{self._lab.shape}\n")
        _write(root / "etc/switchproof-lab/runtime", f"{self._lab.machinery}\n")
        authorized = root / "root/.ssh/authorized_keys"
        authorized.parent.mkdir(mode=0o700, exist_ok=True)
        _write(authorized, self.identity_file.with_suffix(".pub").read_text("utf-8"))

    def switch_on(self) -> None:
        """Start the host without waiting for it.

        Raises:
            HostFailedError: It is already on.
        """
        if self.running():
            raise HostFailedError(f"Host {self.name} is already on.")
        self._clear()
        self._cgroup.create()
        cable = self._state.cable
        self._keeper = process.start(
            [
                "bash",
                str(BOOT_SCRIPT),
                str(os.getpid()),
                self._state.machine,
                str(self.root),
                cable.interface,
                f"{cable.runner_address}/{cable.prefix}",
                f"{cable.host_address}/{cable.prefix}",
                str(self._repository),
                str(self._programs),
                *map(str, self._cgroup.directories()),
            ],
            log=self.console,
            cwd=self.folder,
        )

    def wait_ready(self, *, timeout_s: float = START_TIMEOUT_S, not_leader: int | None = None) -> None:
        """Wait until SSH answers and systemd has finished booting.

        Args:
            timeout_s: Seconds to wait at most.
            not_leader: The first process of an earlier boot, which does not count.

        Raises:
            HostFailedError: It stopped, or was not ready in time; the message ends with its console's last lines.
        """
        deadline = time.monotonic() + timeout_s
        while self.leader() in {None, not_leader} or not (self._answers_ssh() and self._booted()):
            if self._keeper is not None and self._keeper.poll() is not None:
                raise HostFailedError(f"Host {self.name} stopped during its start.{self._last_words()}")
            if time.monotonic() > deadline:
                raise HostFailedError(f"Host {self.name} was not ready in time.{_busy()}{self._last_words()}")
            time.sleep(POLL_S)

    def wait_serving(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until both sandboxes answer, through their forwards or inside their containers.

        Raises:
            HostFailedError: One did not answer in time; the message ends with its last log lines.
        """
        deadline = time.monotonic() + timeout_s
        for name, port in SANDBOXES.items():
            ask = [
                "curl",
                "--silent",
                "--fail",
                "--max-time",
                f"{ANSWER_TIMEOUT_S:g}",
                f"http://127.0.0.1:{port}/health",
            ]
            unit = f"cloud-hypervisor@{name}"
            if self._lab.shape == "aws":
                ask = ["nixos-container", "run", f"sandbox-{name}", "--", *ask[:-1], "http://127.0.0.1:8080/health"]
                unit = f"container@sandbox-{name}"
            while self.run(ask, timeout_s=10).returncode != 0:
                if time.monotonic() > deadline:
                    tail = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=15"]
                    words = self.run([*tail, f"--unit={unit}"], timeout_s=10)
                    raise HostFailedError(
                        f"Sandbox {name} of host {self.name} did not answer in time.{_busy()}\n{words.stdout}"
                    )
                time.sleep(POLL_S)

    def power_on(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Restart the host with the same disk, address and keys, and wait until it is ready."""
        self.switch_on()
        self.wait_ready(timeout_s=timeout_s)

    def power_off(self, *, timeout_s: float = POWER_OFF_TIMEOUT_S) -> None:
        """Shut the host down; cut its power if it has not stopped after `timeout_s` seconds."""
        leader = self.leader()
        if leader is not None:
            # systemd powers off at this signal; a leader that is just ending needs none.
            with contextlib.suppress(ProcessLookupError):
                os.kill(leader, signal.SIGRTMIN + 4)
            self._cgroup.wait_empty(timeout_s=timeout_s)
        self.kill()

    def kill(self) -> None:
        """Cut the host's power: kill all of its processes at once, and keep its disk."""
        if self._keeper is not None:
            self._keeper.kill()  # it may not be in the cgroup yet
        self._cgroup.kill()
        if self._keeper is not None:
            self._keeper.wait(timeout=10)
            self._keeper = None
        self._clear()

    def remove(self) -> None:
        """Remove everything of the host except its files."""
        self.kill()
        if self.folder.exists():
            mounts.unmount_below(self.folder)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        input: str | None = None,  # noqa: A002 - named as subprocess names it
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root in the host without its network and SSH, whatever its exit status.

        Raises:
            HostFailedError: The host is off.
            CommandFailedError: The command did not end in time.
        """
        return process.run(self.inside(argv), timeout_s=timeout_s, input=input, env=ENVIRONMENT)

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command on this machine that runs a command as root in the host.

        Raises:
            HostFailedError: The host is off.
        """
        leader = self.leader()
        if leader is None:
            raise HostFailedError(f"Host {self.name} is off.")
        nsenter = shutil.which("nsenter") or "nsenter"
        return [*_within_bounds_of(leader), nsenter, "--target", str(leader), "--all", "--", *argv]

    def _clear(self) -> None:
        """Remove the remains of a stopped host from this machine."""
        self._cgroup.remove()
        network.remove_interface(self._state.cable.interface)

    def _answers_ssh(self) -> bool:
        try:
            # Bind to the cable's address, so that nothing leaves this machine while there is no cable yet.
            here = (self._state.cable.runner_address, 0)
            with socket.create_connection((self.address, self.port), timeout=1, source_address=here) as connected:
                return connected.recv(4) == b"SSH-"
        except OSError:
            return False

    def _booted(self) -> bool:
        try:
            state = self.run(["systemctl", "is-system-running"], timeout_s=10).stdout.strip()
        except (CommandFailedError, HostFailedError):
            return False
        return state not in {"", "initializing", "starting", "offline", "unknown"}

    def _last_words(self) -> str:
        try:
            text = self.console.read_text("utf-8", errors="replace")
        except OSError:
            return ""
        lines = [line for line in plain(text).splitlines() if line.strip()]
        return "\n" + "\n".join(lines[-15:]) if lines else ""


def _within_bounds_of(leader: int) -> list[str]:
    """Return the prefix that drops the capabilities that the host's first process lacks.

    A hostile host chooses the program behind a name, so no program there may have more capabilities than the host.
    """
    lacking = _bounds("self") & ~_bounds(leader)
    dropped = ",".join(f"-cap_{number}" for number in range(lacking.bit_length()) if lacking >> number & 1)
    return [shutil.which("setpriv") or "setpriv", f"--bounding-set={dropped}"] if dropped else []


def _bounds(pid: int | str) -> int:
    """Return a process's bounding set; empty for a process that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return 0
    bounding = re.search(r"^CapBnd:\s+([0-9a-f]+)$", status, re.MULTILINE)
    return int(bounding[1], 16) if bounding else 0


def plain(text: str) -> str:
    """Return a console's text without control codes for colour."""
    return re.sub(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()].|[@-Z\\-_=>])|[\x00-\x08\x0b-\x1f\x7f]", "", text)


def generate_key(path: Path, *, comment: str) -> None:
    """Make an SSH key pair without a passphrase."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    process.check(command, timeout_s=20)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, "utf-8")


def _busy() -> str:
    """Say that this machine has more work than it can do, if it has."""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    busy = load > 2 * processors
    return f" This machine is busy (load {load:.0f}, {processors} processors): try again later." if busy else ""
