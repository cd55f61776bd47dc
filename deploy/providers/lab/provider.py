"""The provider `lab`: makes hosts for the run, and reaches them over SSH or through SSM by their shape."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from msgspec.structs import replace

from switchproof.deploy.connection import Connection, Provider
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.lab.errors import CommandFailedError, HostFailedError, LabError, LabUnavailable
from switchproof.deploy.providers.lab.kinds import Runtime, Shape, Suite
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.real import RealPrograms, look
from switchproof.deploy.providers.lab.state import DEFAULT, VARIABLE, LabState
from switchproof.deploy.target.types import Builder, Target

"""The environment variable that names the lab to use."""

NOT_MODELLED = (
    "hosts are containers (systemd-nspawn) on this machine, and share its kernel, clock and memory",
    "hosts run Debian's systemd, Nix and OpenSSH, not NixOS",
    "the network is a bridge on this machine",
)
"""Behaviour of the real thing that no lab models."""


def not_modelled(lab: LabState) -> tuple[str, ...]:
    """Return the behaviour that a lab does not model, and its stand-ins."""
    suite = () if lab.suite == "trixie" else (f"hosts run Debian {lab.suite}",)
    return (*NOT_MODELLED, *lab.programs.described, *suite, f"sandboxes are {lab.runtime_text}")


class LabProvider:
    """Uses the running lab if there is one; otherwise makes one for the run.

    Args:
        target: The hosts to make, without addresses.
        keep: Whether the hosts stay up.
        runtime: The kind of sandboxes; None accepts those of the running lab, and makes microVMs otherwise.
        suite: The hosts' release of Debian; None accepts that of the running lab.
        nixos_rebuild: The path of a real nixos-rebuild for the hosts; None accepts that of the running lab.
        switch: The path of a real switch-to-configuration, in the same way.
        ssm_agent: The folder of a real amazon-ssm-agent, in the same way.
        shape: The shape of the hosts; those of shape `aws` are reached through a local stand-in for SSM.
        prove: See `AwsProvider`.
        say: Receives progress of long steps.
        emulated: Receives the stand-ins of the lab, and what they do not model.

    Raises:
        UsageError: This machine cannot run a lab, or the running lab lacks a host or has another kind of hosts or
            sandboxes.
    """

    def __init__(
        self,
        target: Target,
        *,
        keep: bool,
        runtime: Runtime | None = None,
        suite: Suite | None = None,
        nixos_rebuild: str | None = None,
        switch: str | None = None,
        ssm_agent: str | None = None,
        shape: Shape = "ovh",
        prove: bool = False,
        say: Callable[[str], None],
        emulated: Callable[[str, tuple[str, ...]], None],
    ) -> None:
        name = os.environ.get(VARIABLE) or DEFAULT
        names = tuple(dict.fromkeys(machine.name for machine in (*target.hosts, *target.builders)))
        programs = look(nixos_rebuild, switch, ssm_agent)
        self._stack = ExitStack()
        try:
            lab = _already_up(name)
            if lab is not None:
                say(f"Using the running lab {name!r}, with {lab.state.runtime_text}.")
            else:
                called = name if keep else f"run-{os.getpid()}"
                kind = runtime or "microvm"
                lab = Lab.up(
                    names,
                    name=called,
                    keep=keep,
                    shape=shape,
                    runtime=kind,
                    suite=suite,
                    programs=programs,
                    progress=say,
                )
                if not keep:
                    self._stack.callback(lab.down)
            _check(lab, names, runtime, shape)
            _check_programs(lab, suite, programs)
        except (LabUnavailable, CommandFailedError, HostFailedError) as error:
            raise LabUnavailable(f"--provider=lab: The lab cannot start hosts here. {_with_help(error)}") from error
        except LabError as error:
            raise UsageError(f"--provider=lab: {error}") from error
        emulated(f"the lab {lab.name!r} on this machine", not_modelled(lab.state))
        try:
            self._way = (
                self._through_ssm(lab, target, prove, emulated, say) if shape == "aws" else _over_ssh(lab, target)
            )
        except BaseException:
            self.close()
            raise

    def connect(self, host: str) -> Connection:
        """Open a new connection; see `Provider.connect`."""
        return self._way.connect(host)

    def close(self) -> None:
        """Remove the lab that was made for the run."""
        self._stack.close()

    def _through_ssm(
        self,
        lab: Lab,
        target: Target,
        prove: bool,
        emulated: Callable[[str, tuple[str, ...]], None],
        say: Callable[[str], None],
    ) -> Provider:
        """Reach the hosts as instances of an SSM of their own."""
        from switchproof.deploy.providers.aws.provider import AwsProvider
        from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint

        endpoint = self._stack.enter_context(SsmEndpoint.serve(lab))
        self._stack.enter_context(_environment(endpoint.environment, endpoint.misleading))
        hosts = tuple(replace(host, instance=endpoint.instance_ids[host.name]) for host in target.hosts)
        return AwsProvider(replace(target, hosts=hosts), prove=prove, emulated=emulated, say=say)


class _environment:  # noqa: N801 - used as a function
    """Sets environment variables during the block, because boto3 reads its settings from nowhere else."""

    def __init__(self, values: Mapping[str, str], unset: Sequence[str]) -> None:
        self._values, self._unset = values, unset
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in (*self._values, *self._unset)}
        for name in self._before:
            os.environ.pop(name, None)
        os.environ.update(self._values)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _already_up(name: str) -> Lab | None:
    try:
        return Lab.attach(name)
    except LabError:
        return None


def _with_help(error: LabError) -> str:
    """Return why a lab cannot start hosts, with a remedy."""
    if isinstance(error, LabUnavailable):
        return str(error)
    return f"{error}\ndocs/lab.md lists what a machine needs to run a lab."


def _check(lab: Lab, names: tuple[str, ...], runtime: Runtime | None, shape: Shape) -> None:
    """Refuse a running lab that differs from the options."""
    up = f"--provider=lab: the running lab {lab.name!r}"
    if missing := [name for name in names if name not in lab.hosts]:
        raise UsageError(
            f"{up} has no host {', '.join(missing)}; it has {', '.join(lab.hosts)}. "
            "Select its hosts with --host, or take the lab down first"
        )
    if shape != lab.state.shape:
        raise UsageError(
            f"--shape={shape}: the running lab {lab.name!r} has hosts of the shape {lab.state.shape}; "
            f"use --shape={lab.state.shape}, or take the lab down first"
        )
    if runtime not in {None, lab.state.runtime}:
        raise UsageError(
            f"--lab-runtime={runtime}: the running lab {lab.name!r} has {lab.state.runtime_text}; "
            "remove the option, or take the lab down first"
        )


def _check_programs(lab: Lab, suite: Suite | None, programs: RealPrograms) -> None:
    """Refuse a running lab with other real programs than requested."""
    if suite not in {None, lab.state.suite}:
        raise UsageError(
            f"--lab-suite={suite}: the hosts of the running lab {lab.name!r} run Debian {lab.state.suite}; "
            "remove the option, or take the lab down first"
        )
    up = lab.state.programs
    for option, asked, there in (
        ("--lab-nixos-rebuild", programs.nixos_rebuild, up.nixos_rebuild),
        ("--lab-switch", programs.switch, up.switch),
        ("--lab-ssm-agent", programs.ssm_agent, up.ssm_agent),
    ):
        if asked is not None and (there is None or asked.sha256 != there.sha256):
            runs = "a stand-in" if there is None else there.label
            raise UsageError(
                f"{option}={asked.path}: the hosts of the running lab {lab.name!r} run {runs} instead; "
                "remove the option, or take the lab down first"
            )


def _over_ssh(lab: Lab, target: Target) -> Provider:
    """Return the target with the addresses and keys of a lab's hosts."""
    from switchproof.deploy.providers.ssh.provider import SshProvider
    from switchproof.deploy.providers.ssh.table import Ssh

    def reached(machines: Sequence[Builder]) -> tuple[Builder, ...]:
        return tuple(
            replace(
                machine,
                address=lab.hosts[machine.name].address,
                port=lab.hosts[machine.name].port,
                user=lab.hosts[machine.name].user,
                host_keys=(lab.hosts[machine.name].host_key,),
            )
            for machine in machines
        )

    ssh = replace(target.table(Ssh), identity_files=(str(lab.identity_file),), agent=False)
    hosts, builders = reached(target.hosts), reached(target.builders)
    return SshProvider(replace(target, hosts=hosts, builders=builders, ssh=ssh))
