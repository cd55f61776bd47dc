"""Where hosts are and how they are reached: one module a provider, loaded when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from switchproof.deploy.connection import Provider
    from switchproof.deploy.providers.lab.kinds import Runtime, Shape, Suite
    from switchproof.deploy.target.types import Target


Emulated: TypeAlias = "Callable[[str, tuple[str, ...]], None]"
"""Told what stands in for the real thing, and what of that it does not do."""


def open_provider(
    target: Target,
    *,
    changes_hosts: bool,
    lab_keep: bool,
    lab_runtime: Runtime | None,
    lab_suite: Suite | None,
    lab_nixos_rebuild: str | None,
    lab_switch: str | None,
    shape: Shape,
    say: Callable[[str], None],
    emulated: Emulated,
) -> Provider:
    """Make the provider that a target file names.

    Args:
        target: The target; the lab fills in what it makes itself.
        changes_hosts: Whether the run may; then every host proves first that it runs what it is given.
        lab_keep: Leave the lab's hosts running afterwards.
        lab_runtime: What the lab's sandboxes must be; None takes the lab that is up as it is.
        lab_suite: Which release of Debian the lab's hosts must run, in the same way.
        lab_nixos_rebuild: The path of a real nixos-rebuild for the lab's hosts.
        lab_switch: The path of a real switch-to-configuration for them.
        shape: Which shape of host the lab makes.
        say: Told what takes long.
        emulated: Told, at most once for each, what stands in for the real thing.

    Raises:
        UsageError: The provider cannot work on this machine, or with this target.
    """
    match target.way:
        case "local":
            from switchproof.deploy.providers.local import LocalProvider

            return LocalProvider(target)
        case "ssm":
            from switchproof.deploy.providers.aws.provider import AwsProvider

            return AwsProvider(target, prove=changes_hosts, emulated=emulated, say=say)
        case "ssh":
            from switchproof.deploy.providers.ssh.provider import SshProvider

            return SshProvider(target, say)
        case "lab":
            from switchproof.deploy.providers.lab.provider import LabProvider

            return LabProvider(
                target,
                keep=lab_keep,
                runtime=lab_runtime,
                suite=lab_suite,
                nixos_rebuild=lab_nixos_rebuild,
                switch=lab_switch,
                shape=shape,
                prove=changes_hosts,
                say=say,
                emulated=emulated,
            )
