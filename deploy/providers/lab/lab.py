"""A lab: its hosts, their sample repository and key, from the start to the complete removal."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec.structs import replace

from switchproof.deploy.cache import cache_folder
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.lab import folders, image, kvm, mounts, network, preflight, real, sample, state
from switchproof.deploy.providers.lab.errors import LabError, LabMisused
from switchproof.deploy.providers.lab.host import START_TIMEOUT_S, LabHost, generate_key
from switchproof.deploy.providers.lab.kinds import Runtime, Shape, Suite
from switchproof.deploy.providers.lab.real import RealPrograms
from switchproof.deploy.providers.lab.recipe import Recipe
from switchproof.deploy.providers.lab.state import LabState, Owner

LOCK_TIMEOUT_S = 120.0


def _silent(_: str) -> None:
    """Ignore a progress message."""


class Lab:
    """A running lab; as a context manager it is removed at the end unless it is kept."""

    repository_url = "file:///srv/sample.git"  # the path on every host

    def __init__(self, written: LabState) -> None:
        self.state = written
        self.name = written.name
        self.folder = written.folder
        self.repository = written.folder / "sample.git"
        self.identity_file = written.folder / "id_ed25519"
        self.known_hosts = written.folder / "known_hosts"
        self.hosts: dict[str, LabHost] = {host.name: LabHost(written, host) for host in written.hosts}

    @classmethod
    def up(
        cls,
        hosts: tuple[str, ...] = ("a", "b"),
        *,
        name: str = state.DEFAULT,
        keep: bool = False,
        shape: Shape = "ovh",
        runtime: Runtime = "microvm",
        suite: Suite | None = None,
        programs: RealPrograms | None = None,
        progress: Callable[[str], None] = _silent,
    ) -> Self:
        """Make a lab and wait until its hosts are ready; remove the labs of dead owners.

        Args:
            hosts: The hosts' names; all start at the same time.
            name: The lab's name; labs with different names run in parallel.
            keep: Whether the lab stays up after this process, until `down`.
            shape: The shape of the hosts.
            runtime: The sandboxes of hosts of shape `ovh`: microVMs, or processes in network namespaces.
            suite: The release of Debian on the hosts; None for that of the environment, or trixie.
            programs: The real programs that replace the stand-ins for NixOS's programs.
            progress: Receives progress of long steps.

        Raises:
            UsageError: A real agent for hosts that have none.
            LabUnavailable: This machine cannot run a lab.
            LabError: The lab could not be made, or its name is in use; nothing remains of the attempt.
        """
        state.check_names(name, hosts)
        if programs is not None and programs.ssm_agent is not None and shape != "aws":
            raise UsageError(f"--lab-ssm-agent: only for hosts of --shape=aws (found --shape={shape})")
        runtime = "netns" if shape == "aws" else runtime
        preflight.require(runtime)
        asked = _Asked(hosts, name, keep, shape, runtime, suite or state.default_suite(), programs or RealPrograms())
        lab = cls(_reserve(asked, progress))
        try:
            lab._build(progress)
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def attach(cls, name: str = state.DEFAULT) -> Self:
        """Return a running lab.

        Raises:
            LabMisused: There is no lab of that name.
        """
        written = state.read(name)
        if written is None or written.stale():
            option = "" if name == state.DEFAULT else f" --name {name}"
            raise LabMisused(
                f"No lab {name!r} is up: start it with `switchproof lab up{option}`.{state.others(name)}"
            )
        return cls(written)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.state.keep:
            self.down()

    def down(self) -> None:
        """Remove the lab and everything that it uses; a second call does nothing."""
        with folders.locked("labs", timeout_s=LOCK_TIMEOUT_S):
            self._remove()

    def _build(self, progress: Callable[[str], None]) -> None:
        started = time.monotonic()
        progress(f"Starting hosts {', '.join(self.hosts)}; this may take up to {START_TIMEOUT_S:g} s…")
        generate_key(self.identity_file, comment=f"switchproof-lab-{self.name}")
        sample.build_repository(self.repository)
        real.install(self.state.programs, self.folder / real.FOLDER)
        for host in self.hosts.values():
            host.prepare(cache_folder() / self.state.image)
            host.switch_on()
        lines = [f"{host.address} {host.host_key}\n" for host in self.hosts.values()]
        self.known_hosts.write_text("".join(lines), "utf-8")
        for host in self.hosts.values():
            host.wait_ready(timeout_s=started + START_TIMEOUT_S - time.monotonic())
        if self.state.runtime == "microvm" or self.state.shape == "aws":
            for host in self.hosts.values():
                host.wait_serving(timeout_s=started + START_TIMEOUT_S - time.monotonic())
        self.state = replace(self.state, complete=True)
        self.state.write()
        progress(f"Hosts are ready ({time.monotonic() - started:.1f} s), with {self.state.runtime_text}.")

    def _remove(self) -> None:
        now = state.read(self.name)
        if now is not None and now.owner != self.state.owner:
            return  # this lab is gone already, and another one has its name
        for host in self.hosts.values():
            host.remove()
        if self.folder.exists():
            _delete(self.folder)


def clean() -> None:
    """Remove labs that nobody can use any more."""
    with folders.locked("labs", timeout_s=LOCK_TIMEOUT_S):
        _clean()


def _clean() -> None:
    for written in state.every():
        if written.stale():
            Lab(written)._remove()  # noqa: SLF001 - under the lock that `down` takes
    # A folder without its file is from a start or an end that was interrupted.
    for folder in folders.labs().glob("*"):
        if folder.is_dir() and not (folder / state.FILE).exists():
            mounts.unmount_below(folder)
            mounts.delete(folder)


def _delete(folder: Path) -> None:
    """Delete a lab's folder, its description last, so that an interrupted removal can be continued."""
    mounts.unmount_below(folder)
    for child in folder.iterdir():
        if child.name == state.FILE:
            continue
        if child.is_dir():
            mounts.delete(child)
        else:
            child.unlink(missing_ok=True)
    mounts.delete(folder)


class _Asked(msgspec.Struct, frozen=True):
    """The properties of a new lab."""

    hosts: tuple[str, ...]
    name: str
    keep: bool
    shape: Shape
    runtime: Runtime
    suite: Suite
    programs: RealPrograms


def _reserve(asked: _Asked, progress: Callable[[str], None]) -> LabState:
    """Record everything that the lab will use, before it uses anything."""
    clean()
    while True:
        built = image.ensure(progress, Recipe(asked.suite, real_programs=asked.programs.of_nixos))
        accelerator = kvm.accelerator(built) if asked.runtime == "microvm" else "tcg"
        with folders.locked("labs", timeout_s=LOCK_TIMEOUT_S):
            _clean()
            others = list(state.every())
            if any(other.name == asked.name for other in others):
                raise LabError(
                    f"A lab {asked.name!r} is already up: take it down with "
                    f"`switchproof lab down --name {asked.name}`, or choose another name."
                )
            image.prune({other.image for other in others})
            if not built.exists():  # pruned by a process with another recipe
                continue
            taken = [host.cable.subnet for other in others for host in other.hosts]
            occupied = [*network.occupied_subnets(), *taken]
            subnets = network.choose_subnets(len(asked.hosts), occupied, network.place(folders.labs()))
            written = LabState(
                name=asked.name,
                shape=asked.shape,
                image=built.name,
                started=time.time(),
                owner=Owner.this_process(),
                boot_id=state.boot_id(),
                hosts=tuple(
                    state.host_state(asked.name, host, subnet, asked.shape)
                    for host, subnet in zip(asked.hosts, subnets, strict=True)
                ),
                keep=asked.keep,
                runtime=asked.runtime,
                accelerator=accelerator,
                suite=asked.suite,
                programs=asked.programs,
            )
            written.folder.mkdir(parents=True)
            written.write()
            return written
