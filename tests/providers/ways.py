"""Makes targets and connections for one lab host, with the changes that a test needs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from switchproof.deploy.connection import Completed
from switchproof.deploy.providers import load, open_provider, read_secrets
from switchproof.deploy.providers.kind import Opening
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.kinds import LabOptions
from switchproof.deploy.providers.ssh.provider import SshConnection, SshProvider
from switchproof.deploy.providers.ssh.table import Ssh
from switchproof.deploy.target.types import Target

LAB_TARGET = Path(__file__).parents[2] / "deploy" / "targets" / "lab.toml"
SOON_S = 10.0


def target(machine: LabHost, *, ssh: dict[str, Any] | None = None, **host: Any) -> Target:
    """Make a target of the provider `ovh` that leads to a lab host.

    Args:
        machine: The lab host.
        ssh: Values of the table `ssh` that differ.
        host: Values of the table `hosts` that differ.
    """
    values = {"address": machine.address, "host_keys": (machine.host_key,), **host}
    reach = Ssh(**{"identity_files": (str(machine.identity_file),), "connect_timeout_s": 5.0, **(ssh or {})})
    whole = load(LAB_TARGET, {}, ["a"])
    table = msgspec.structs.replace(whole.hosts[0], **values)
    return msgspec.structs.replace(whole, provider="ovh", hosts=(table,), ssh=reach)


def connect(machine: LabHost, *, ssh: dict[str, Any] | None = None, **host: Any) -> SshConnection:
    """Open a connection to a lab host; arguments as of `target`."""
    return provider(machine, ssh=ssh, **host).connect("a")


def provider(machine: LabHost, *, ssh: dict[str, Any] | None = None, **host: Any) -> SshProvider:
    """Make the provider of a target, as a run does; arguments as of `target`."""
    whole = target(machine, ssh=ssh, **host)
    opening = Opening(
        changes_hosts=False, lab=LabOptions(), say=print, emulated=lambda *_: None, secrets=read_secrets(whole, {})
    )
    opened = open_provider(whole, opening)
    assert isinstance(opened, SshProvider)
    return opened


def run(machine: LabHost, text: str, *, ssh: dict[str, Any] | None = None, **host: Any) -> Completed:
    """Run one program over a connection of its own; arguments as of `target`."""
    connection = connect(machine, ssh=ssh, **host)
    try:
        return connection.run(text.encode(), timeout_s=SOON_S)
    finally:
        connection.close()


def inside(machine: LabHost, script: str) -> str:
    """Run a shell text in the host, past SSH; it must succeed."""
    done = machine.run(["sh", "-c", script], timeout_s=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fingerprint(public: Path) -> str:
    """Return a public key's fingerprint as ssh-keygen prints it."""
    return keygen("-l", "-f", str(public)).split()[1]


def keygen(*arguments: str) -> str:
    """Run ssh-keygen and return what it printed."""
    return subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, text=True).stdout


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair and return the private key's path."""
    keygen("-q", "-t", kind, "-N", passphrase, "-C", "somebody", "-f", str(path))
    return path


def public(path: Path) -> str:
    """Return a key pair's public key as a target file pins it."""
    return " ".join(path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").split()[:2])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {SOON_S:g} s: {what}"
        time.sleep(0.05)


def now(machine: LabHost) -> str:
    return inside(machine, "date +@%s.%6N")


def sshd_says(machine: LabHost, since: str) -> str:
    # By name, not by unit: of a process that has ended already journald no longer learns the unit.
    return inside(machine, f"journalctl --sync; journalctl -q -o cat -t sshd -t sshd-session --since={since}")
