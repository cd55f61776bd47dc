"""The description of a lab on disk, written before the lab exists, so that it can always be removed."""

import hashlib
import os
import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal

import msgspec

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.lab import folders
from switchproof.deploy.providers.lab.errors import LabError, LabMisused
from switchproof.deploy.providers.lab.kinds import Runtime, Shape, Suite
from switchproof.deploy.providers.lab.network import Cable
from switchproof.deploy.providers.lab.real import RealPrograms

Accelerator = Literal["tcg", "kvm"]
DEFAULT = "default"
"""The name of the default lab."""
VARIABLE = "SWITCHPROOF_LAB"
"""The environment variable that names the lab to use."""
SUITE_VARIABLE = "SWITCHPROOF_LAB_SUITE"
"""The environment variable with the default release of Debian for new labs."""
FILE = "lab.json"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?")
_HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?")


def default_suite() -> Suite:
    """Return the default release of Debian for a new lab.

    Raises:
        UsageError: The environment names an unknown release.
    """
    match os.environ.get(SUITE_VARIABLE, ""):
        case "" | "trixie":
            return "trixie"
        case "forky":
            return "forky"
        case other:
            raise UsageError(f"{SUITE_VARIABLE}={other}: the lab has no such release of Debian; set trixie or forky")


class HostState(msgspec.Struct, frozen=True):
    """One host: the names of everything that it uses on this machine."""

    name: str
    hostname: str
    attr: str
    machine: str
    cable: Cable


class Owner(msgspec.Struct, frozen=True):
    """A process; its start time distinguishes it from a later one with the same id."""

    pid: int
    start_ticks: int

    @classmethod
    def this_process(cls) -> "Owner":
        """Return the current process."""
        return cls(os.getpid(), start_ticks(os.getpid()) or 0)

    def alive(self) -> bool:
        """Whether that process still runs."""
        return start_ticks(self.pid) == self.start_ticks


class LabState(msgspec.Struct, frozen=True):
    """One lab. `started` is in seconds since 1970; `accelerator` is that of its microVMs."""

    name: str
    shape: Shape
    image: str
    started: float
    owner: Owner
    boot_id: str
    hosts: tuple[HostState, ...]
    keep: bool = False
    complete: bool = False
    runtime: Runtime = "netns"
    accelerator: Accelerator = "tcg"
    suite: Suite = "trixie"
    programs: RealPrograms = RealPrograms()

    @property
    def folder(self) -> Path:
        """Return the folder of all the lab's files."""
        return folders.labs() / self.name

    @property
    def machinery(self) -> str:
        """Return the word for the sandboxes' environment, which each host reads in a file: tcg, kvm or netns."""
        return self.accelerator if self.runtime == "microvm" else self.runtime

    @property
    def runtime_text(self) -> str:
        """The environment of the sandboxes, for people."""
        if self.shape == "aws":
            return "containers with a systemd and a network namespace each"
        return {
            "tcg": "microVMs emulated by QEMU (TCG)",
            "kvm": "microVMs with KVM",
            "netns": "processes in network namespaces instead of microVMs",
        }[self.machinery]

    def stale(self) -> bool:
        """Whether nobody can use it any more: its owner died, or this machine was booted since."""
        if self.boot_id != boot_id():
            return True
        return not self.owner.alive() and not (self.keep and self.complete)

    def write(self) -> None:
        """Write the description, completely or not at all."""
        unfinished = self.folder / f"{FILE}.unfinished"
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))
        unfinished.rename(self.folder / FILE)


def read(name: str) -> LabState | None:
    """Return a lab's description; None if there is no lab of that name."""
    try:
        return msgspec.json.decode((folders.labs() / name / FILE).read_bytes(), type=LabState)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LabError(f"{folders.labs() / name / FILE} is not what a lab writes: {error}.") from error


def every() -> Iterator[LabState]:
    """Return every lab with a description."""
    for file in sorted(folders.labs().glob(f"*/{FILE}")):
        if (state := read(file.parent.name)) is not None:
            yield state


def others(name: str) -> str:
    """Return a sentence about the other running labs that were started by hand."""
    names = [lab.name for lab in every() if lab.keep and lab.name != name and not lab.stale()]
    return f" Up are: {', '.join(names)}; choose one with --name." if names else ""


def host_state(lab: str, name: str, subnet: IPv4Network, shape: Shape = "ovh") -> HostState:
    """Return the names that a host of a lab uses; the key distinguishes equal names in other cache folders."""
    key = hashlib.sha256(str(folders.labs() / lab / name).encode()).hexdigest()[:6]
    runner, host = subnet.hosts()
    return HostState(
        name=name,
        hostname=f"choiros-{name}",
        attr=f"choiros-{'aws-' if shape == 'aws' else ''}{'b' if name == 'b' else 'a'}",
        machine=f"switchproof-{lab}-{name}-{key}",
        # The kernel allows 15 characters.
        cable=Cable(f"swp-{name[:4]}-{key}", str(runner), str(host), subnet.prefixlen),
    )


def check_names(lab: str, hosts: tuple[str, ...]) -> None:
    """Refuse names that are not valid for machines, folders and interfaces.

    Raises:
        LabMisused: A name is not valid.
    """
    if not _NAME.fullmatch(lab):
        raise LabMisused(f"{lab!r} cannot name a lab: use up to 24 of a-z, 0-9 and dashes between them.")
    for host in hosts:
        if not _HOST_NAME.fullmatch(host):
            raise LabMisused(f"{host!r} cannot name a lab host: use up to 12 of a-z, 0-9 and dashes between them.")
    if not hosts or len(set(hosts)) != len(hosts):
        raise LabMisused("A lab needs at least one host, and each name once.")


def boot_id() -> str:
    """Return the id of this machine's current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, which may contain anything; a zombie has ended.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
