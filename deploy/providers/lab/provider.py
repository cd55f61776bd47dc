"""The provider `lab`: hosts made for the run, reached through the same SSH as any other."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from deploy.connection import Connection
from deploy.errors import UsageError
from deploy.providers.lab.errors import LabError
from deploy.providers.lab.lab import Lab
from deploy.providers.lab.state import Runtime
from deploy.providers.ssh import SshProvider
from deploy.target import Target

LAB = "SWITCHPROOF_LAB"
"""The environment variable that names the lab to use."""

_NOT_MODELLED = (
    "hosts are containers (systemd-nspawn) on this machine, and share its kernel, clock and memory",
    "hosts run Debian's systemd, Nix and OpenSSH, not NixOS",
    "nixos-rebuild and switch-to-configuration are stand-ins with the real ones' order of steps, lock and exit codes",
    "the network is a bridge on this machine",
)


class LabProvider:
    """Uses the lab that is up, if there is one, and makes one for the run otherwise.

    Args:
        target: The hosts to make, without addresses.
        keep: Leave the hosts running.
        runtime: What the sandboxes must be; None takes the lab that is up as it is, and makes one with microVMs.
        say: Told what takes long.
        emulated: Told what the lab stands in for, and what of that it does not do.

    Raises:
        UsageError: This machine cannot run a lab, or the lab that is up lacks a host of the target file or has
            sandboxes of the other kind.
    """

    def __init__(
        self,
        target: Target,
        *,
        keep: bool,
        runtime: Runtime | None = None,
        say: Callable[[str], None],
        emulated: Callable[[str, tuple[str, ...]], None],
    ) -> None:
        name = os.environ.get(LAB, "default")
        names = tuple(host.name for host in target.hosts)
        self._made: Lab | None = None
        try:
            lab = _already_up(name)
            if lab is not None:
                say(f"Using the lab {name!r}, which is up, with {lab.state.told}.")
            elif keep:
                lab = Lab.up(names, name=name, keep=True, runtime=runtime or "microvm", progress=say)
            else:
                lab = self._made = Lab.up(
                    names, name=f"run-{os.getpid()}", runtime=runtime or "microvm", progress=say
                )
        except LabError as error:
            raise UsageError(f"--provider=lab: {error}") from error
        if missing := [name for name in names if name not in lab.hosts]:
            raise UsageError(
                f"--provider=lab: the lab {lab.name!r} that is up has no host {', '.join(missing)}; "
                f"it has {', '.join(lab.hosts)}. Select with --host, or take it down first"
            )
        if runtime not in {None, lab.state.runtime}:
            raise UsageError(
                f"--lab-runtime={runtime}: the lab {lab.name!r} that is up has {lab.state.told}; "
                "leave the option out, or take the lab down first"
            )
        emulated(f"the lab {lab.name!r} on this machine", (*_NOT_MODELLED, f"sandboxes are {lab.state.told}"))
        self._ssh = SshProvider(_filled_in(target, lab))

    def connect(self, host: str) -> Connection:
        """Open a new connection; see `Provider.connect`."""
        return self._ssh.connect(host)

    def close(self) -> None:
        """Take away what was made for the run."""
        if self._made is not None:
            self._made.down()


def _already_up(name: str) -> Lab | None:
    try:
        return Lab.attach(name)
    except LabError:
        return None


def _filled_in(target: Target, lab: Lab) -> Target:
    """Give the hosts of a target the addresses and keys of a lab's."""
    hosts = tuple(
        msgspec.structs.replace(
            host,
            address=lab.hosts[host.name].address,
            port=lab.hosts[host.name].port,
            user=lab.hosts[host.name].user,
            host_keys=(lab.hosts[host.name].host_key,),
        )
        for host in target.hosts
    )
    ssh = msgspec.structs.replace(target.ssh, identity_files=(str(lab.identity_file),), agent=False)
    return msgspec.structs.replace(target, hosts=hosts, ssh=ssh)
