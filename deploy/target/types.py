"""Target files as types: the hosts, and what healthy means there; providers add their own tables (pure)."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from switchproof.deploy.observe.boot.choice import Loader
from switchproof.deploy.target.declared import CutoverTerms, Declared
from switchproof.deploy.target.table import Table

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$(?!\n)", max_length=40)]
UnitName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9:_.\\@-]+\.(service|socket|target|timer|mount)$(?!\n)", max_length=255)
]
ContractUnit: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_.-]+/)?[A-Za-z0-9:_.\\@-]+\.(service|socket|target|timer|mount)$(?!\n)", max_length=255
    ),
]
Line: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]+$(?!\n)")]
StoreUrl: TypeAlias = Annotated[str, Meta(pattern=r"^(https?|s3|file)://[^\x00-\x20#]+$(?!\n)")]
NixFile: TypeAlias = Annotated[
    str, Meta(pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*\.nix$(?!\n)")
]
NixAttribute: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*$(?!\n)", max_length=120)
]
Interface: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,15}$(?!\n)")]
SystemFile: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$(?!\n)")]
HostFile: TypeAlias = Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$(?!\n)")]
ListenAddress: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^((\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}|(/[A-Za-z0-9_@][A-Za-z0-9@._-]*)+)$(?!\n)"),
]
HostUser: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*\$?$(?!\n)")]
NixVersion: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9]{1,4}(\.[0-9]{1,4}){0,2})?$(?!\n)")]
OWN = ("host", "runner")
"""The values of `build.on` that are no names of machines."""
ProbeKind: TypeAlias = Literal["http", "https", "tcp", "unix", "exec"]
StorePath: TypeAlias = Annotated[
    str, Meta(pattern=r"^(/nix/store/[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]{1,200})?$(?!\n)")
]
JsonValue: TypeAlias = str | int | float | bool
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=86400)]
PositiveSeconds: TypeAlias = Annotated[float, Meta(gt=0, le=86400)]
HttpStatus: TypeAlias = Annotated[int, Meta(ge=100, le=599)]
PROVIDER_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}$(?!\n)"
"""Pattern of a provider's name, which becomes part of paths and of options."""
ProviderName: TypeAlias = Annotated[str, Meta(pattern=PROVIDER_NAME)]
_T = TypeVar("_T", bound=msgspec.Struct)

CONFIRM_MARGIN_S = 240.0
"""Seconds that an unconfirmed host waits longer than its checks take, so that a lost connection can be restored."""


class Repository(Table, frozen=True, kw_only=True):
    """The repository from which the hosts fetch their configuration.

    Attributes:
        url: The URL from which git on the hosts fetches; by default the remote `origin` of their checkout.
        checkout: The host's clone. Its objects are used, pinned by revision; its working tree is ignored.
        file: The Nix file with the systems, if the repository is not used as a flake.
        attr: The attribute of that file that is the system of a host without an `attr` of its own; by default the
            file's value is the system.
    """

    url: Line | None = None
    checkout: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._/-]+$(?!\n)")] = "/opt/choiros/workspace"
    file: NixFile | None = None
    attr: NixAttribute | None = None

    @property
    def source(self) -> str:
        """The source of git's fetch, for readers."""
        return self.url or f"the remote origin of {self.checkout}"


class Builder(Table, frozen=True, kw_only=True):
    """One machine that builds systems.

    Attributes:
        name: Its name, which file names and test ids contain.
    """

    name: Name

    def part(self, kind: type[_T]) -> _T:
        """Return a provider's own keys of this machine, as the provider's type for them."""
        return kind(**{name: getattr(self, name) for name in kind.__struct_fields__})


class Host(Builder, frozen=True, kw_only=True):
    """One machine that receives deploys; it can build for others as well.

    Attributes:
        name: Its name, which file names and test ids contain.
        flake_attr: Its name among the flake's nixosConfigurations.
        attr: The attribute of `repository.file` that is its system.
        specialisation: The specialisation of its system that runs; by default the system itself.
        groups: Names under which `--host=@group` selects it.
        allow_dirty: Whether it takes a working tree that is not committed (`--dirty`).
    """

    flake_attr: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.'-]*$(?!\n)")] | None = None
    attr: NixAttribute | None = None
    specialisation: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$(?!\n)")] | None = None
    groups: tuple[Name, ...] = ()
    allow_dirty: bool = False


class Machine(Table, frozen=True, kw_only=True):
    """The virtual machine behind a runtime unit, inspected when the unit is not healthy.

    Attributes:
        unit: The systemd unit whose main process the machine is; its console goes to that unit's journal.
        tap: Its network interface on the host.
        bridge: The bridge that `tap` should belong to.
        monitor: The socket of its monitor: `qmp:` and the path of QEMU's socket, or `cloud-hypervisor:` and the path
            of its API socket.
    """

    unit: UnitName
    tap: Interface | None = None
    bridge: Interface | None = None
    monitor: Annotated[str, Meta(pattern=r"^(qmp|cloud-hypervisor):/[A-Za-z0-9@._/-]+$(?!\n)")] | None = None


class Endpoint(Table, frozen=True, kw_only=True):
    """A service on every host that is probed there: the hypervisor, or a runtime unit.

    Attributes:
        absent: Why the hosts have no hypervisor; then the only key of its table. A runtime unit cannot be absent.
        probe: The kind of the probe. `http` and `https` request a URL, `unix` requests one through a unix socket,
            `tcp` opens a connection, `exec` runs a program on the host. docs/targets.md lists the keys of each kind.
        units: The systemd units that must be active, and must keep their identity over the soak. A unit inside a
            container has the container's name before it, such as `sandbox/web.service`.
        container: The unit among `units` that is the container (systemd-nspawn). The probe runs in its network
            namespace, where the endpoint must listen.
        listen: `address:port` on which the answering unit must listen; for a `unix` probe the socket's path.
        listener: The unit among `units` that owns that socket; by default the last one.
        exposure: `any` if an endpoint on loopback may be open to other machines; by default it may not.
        url: The requested URL, on the host itself. Redirects are answers, and are not followed. An `https` probe
            connects to `listen`, and the certificate must be for the host of the URL.
        headers_file: A file on the host with request headers, one per line, such as `Authorization: Bearer …`. Only
            curl on the host reads it, and only the endpoint gets its content.
        ca_file: A file on the host with the certificates of the only authorities that an `https` probe trusts; by
            default it trusts those of the host's system.
        status: The expected HTTP status.
        expect: A text that a `tcp` probe must receive without sending anything.
        command: The program of an `exec` probe, by its absolute path on the host, and its arguments; there is no
            shell.
        user: The user that runs the program.
        exit_code: The expected exit code. Higher codes mean that a program could not be run, or was killed.
        contains: A text that the body, or the output of a program, must contain.
        json: Keys and values that the body must contain, which then must be a JSON object.
        json_of_system: Keys of that object whose value the running system gives, in the first line of the file with
            this path below `/run/current-system`. They identify a workload of another release.
        backend: The URL of the workload behind a forward, requested when the forward does not answer.
        inside: Commands on the host that show the state inside the workload, for diagnostics.
        machine: The virtual machine that contains the workload, if any.
    """

    absent: Line | None = None
    probe: ProbeKind = "http"
    units: Annotated[tuple[ContractUnit, ...], Meta(min_length=1)] = ()
    container: UnitName | None = None
    listen: ListenAddress = ""
    listener: ContractUnit | None = None
    exposure: Literal["loopback", "any"] | None = None
    url: str = ""
    headers_file: HostFile | None = None
    ca_file: HostFile | None = None
    status: HttpStatus = 200
    expect: Line | None = None
    command: Annotated[tuple[Line, ...], Meta(min_length=1)] = ()
    user: HostUser | None = None
    exit_code: Annotated[int, Meta(ge=0, le=123)] = 0
    contains: Line | None = None
    json: dict[Line, JsonValue] = msgspec.field(default_factory=dict)
    json_of_system: dict[Line, SystemFile] = msgspec.field(default_factory=dict)
    backend: str | None = None
    inside: tuple[Line, ...] = ()
    machine: Machine | None = None

    @property
    def listening_unit(self) -> str:
        """The unit that must own the listening socket."""
        return self.listener or self.units[-1]

    @property
    def port(self) -> str:
        """`address:port` on which it listens; empty for a unix socket or no listener."""
        return "" if self.listen.startswith("/") else self.listen

    @property
    def is_private(self) -> bool:
        """Whether only the host itself may reach its port."""
        if not self.port or self.exposure == "any":
            return False
        return ipaddress.ip_address(self.port.rpartition(":")[0].strip("[]")).is_loopback

    @property
    def code(self) -> int:
        """The expected code: an HTTP status, or a program's exit code; 0 without one."""
        return {"tcp": 0, "exec": self.exit_code}.get(self.probe, self.status)

    @property
    def text(self) -> str | None:
        """The expected text."""
        return self.expect if self.probe == "tcp" else self.contains


class BridgedProgram(Table, frozen=True, kw_only=True):
    """A prebuilt program that units run through a link, so that it can change without the system.

    Attributes:
        path: The store path to install in a deploy; empty to keep the installed one.
        file: The program in that path.
        at: The path of the link to it, which the units run.
        units: The contract's units that must run it once it is installed.
        build: The flake that builds it if allowed, as `FOLDER#NAME` in the repository at the commit.
    """

    path: StorePath = ""
    file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$(?!\n)")]
    at: HostFile
    units: tuple[ContractUnit, ...] = ()
    build: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/-]*#[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)")] | None = None


class Bridge(Table, frozen=True, kw_only=True):
    """The store path bridge: prebuilt programs that are installed before the switch.

    Attributes:
        build_on_host: `true` if a host may build a store path that it cannot realise.
        programs: The programs, by name.
    """

    build_on_host: Annotated[str, Meta(pattern=r"^(true|false)$(?!\n)")] = "false"
    programs: dict[Name, BridgedProgram] = msgspec.field(default_factory=dict)


class Health(Table, frozen=True, kw_only=True):
    """The limits of a healthy host.

    Attributes:
        ready_s: Seconds after the switch within which every endpoint must answer well.
        answers: The required number of consecutive good answers.
        interval_s: Seconds between the first probes. After five seconds in the same state, probes follow once a
            second, or at this interval if it is longer.
        soak_s: Seconds over which answers must stay good and identities the same.
        timeout_s: Seconds that one answer may take.
        max_bytes: Bytes that are read of one body.
        same_failures: Failures of a unit with the same result since the switch after which waiting cannot help; one
            is enough if systemd does not restart the unit. 0: wait until `ready_s` in any case.
        same_answers: Equal answers of one process, counted once a second, after which waiting cannot help, if their
            status is not in `transient_status` or their body is of another system. 0: wait until `ready_s` in any
            case.
        transient_status: Statuses that a healthy process may answer temporarily.
    """

    ready_s: Seconds = 120.0
    answers: Annotated[int, Meta(ge=1, le=1000)] = 5
    interval_s: Annotated[float, Meta(ge=0.1, le=60)] = 0.1
    soak_s: Seconds = 15.0
    timeout_s: PositiveSeconds = 5.0
    max_bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 65536
    same_failures: Annotated[int, Meta(ge=0, le=1000)] = 5
    same_answers: Annotated[int, Meta(ge=0, le=1000)] = 5
    transient_status: Annotated[tuple[HttpStatus, ...], Meta(max_length=100)] = (408, 425, 429, 502, 503, 504)

    @property
    def longest_s(self) -> float:
        """Seconds after which an observation ends at the latest."""
        # An endpoint that restarts after it was healthy is watched for as long again.
        return 2 * (self.ready_s + self.soak_s) + (self.answers + 2) * (max(self.interval_s, 1.0) + self.timeout_s)


class Converge(Table, frozen=True, kw_only=True):
    """Limits of the switch.

    Attributes:
        timeout_s: Seconds for fetching, building and switching together.
        reconnect_s: Seconds after the switch within which a new connection must have reached the host, or else it
            goes back by itself; 0: none is waited for. By default 30 s, and 120 s through SSM, where every command is
            a connection of its own.
    """

    timeout_s: PositiveSeconds = 3600.0
    reconnect_s: Seconds | None = None


class Build(Table, frozen=True, kw_only=True):
    """The machine that builds systems.

    Attributes:
        on: `host`: each host builds its own system. `runner`: the machine that runs the deploy builds each
            configuration once, and copies it to the hosts over connections of the run. Any other name: the host or
            builder of that name does so.
        repository: The URL from which git on the machine that builds fetches, if it is not `repository.url`.
        substituter: The URL of a binary cache from which hosts fetch what they lack of the built systems; only
            what is not there is copied. Hosts check its signatures as they are configured.
        timeout_s: Seconds for fetching and building there together.
        stall_s: Seconds without progress after which a copy ends.
    """

    on: Name = "host"
    repository: Line | None = None
    substituter: StoreUrl | None = None
    timeout_s: PositiveSeconds = 3600.0
    stall_s: PositiveSeconds = 60.0


Finding: TypeAlias = Literal[
    "store", "var", "boot", "inodes", "memory", "nix", "clock", "reboot", "failed", "secrets"
]


class Preflight(Table, frozen=True, kw_only=True):
    """The requirements for a host before a deploy or a plan begins there. A limit of 0 is not checked.

    Attributes:
        refuse: The findings that refuse the run before anything is touched; the others warn.
        store_mib: MiB that must be free for /nix/store.
        var_mib: MiB that must be free for /var/lib.
        boot_mib: MiB that must be free in /boot, /boot/efi and /efi, if they are separate file systems.
        inodes: Inodes that must be free in each of these, if the file system counts them.
        memory_mib: MiB of memory and swap that must be available.
        nix: The oldest version of nix that may build, such as `2.18`; empty for any.
        clock_s: Seconds by which the host's clock may differ from the runner's.
    """

    refuse: tuple[Finding, ...] = ("store", "var", "boot", "inodes", "nix", "secrets")
    store_mib: Annotated[int, Meta(ge=0)] = 1024
    var_mib: Annotated[int, Meta(ge=0)] = 64
    boot_mib: Annotated[int, Meta(ge=0)] = 32
    inodes: Annotated[int, Meta(ge=0)] = 10_000
    memory_mib: Annotated[int, Meta(ge=0)] = 512
    nix: NixVersion = "2.4"
    clock_s: Seconds = 60.0


class Rollback(Table, frozen=True, kw_only=True):
    """The automatic return of a host.

    Attributes:
        confirm_s: Seconds after the switch within which the run must confirm the new system; otherwise the host
            returns to the earlier one by itself. 0 turns that off. By default as long as the checks may take, and
            four minutes for lost connections.
    """

    confirm_s: Seconds | None = None


class Requires(Table, frozen=True, kw_only=True):
    """The signed record that a deploy requires.

    Attributes:
        group: The group that the record's run must have deployed to. Its own hosts need no record, because a run on
            them produces it.
        max_age: The greatest age of that run: a number and `m`, `h`, `d` or `w`.
        drill: Whether that run must have been a drill.
        signer: The allowed signer who must have signed it; by default any of them.
    """

    group: Name
    max_age: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}[mhdw]$(?!\n)")] = "7d"
    drill: bool = False
    signer: Line | None = None

    @property
    def longest(self) -> dt.timedelta:
        """`max_age` as a span of time."""
        unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[self.max_age[-1]]
        return dt.timedelta(**{unit: int(self.max_age[:-1])})


class Waiver(Table, frozen=True, kw_only=True):
    """A known failure that is accepted for a time. It covers failed checks, never inconclusive ones.

    Attributes:
        check: The check's id, as the report has it.
        host: The host that it is for; by default every host.
        reason: Why the failure is accepted.
        owner: Who is responsible for it.
        expires: When it stops to cover failures; a date means the end of that day in UTC.
    """

    check: Annotated[str, Meta(pattern=r"^[a-z]+(/[^/\x00-\x1f]+)+$(?!\n)", max_length=300)]
    host: Name | None = None
    reason: Line
    owner: Line
    expires: Annotated[dt.datetime, Meta(tz=True)]


class BootLoader(Table, frozen=True, kw_only=True):
    """The boot loader that decides which system a host boots.

    Attributes:
        loader: The boot loader; `detect` to find it, `none` if nothing on the host decides.
        reason: Why nothing on the host decides; only with `none`.
    """

    loader: Loader = "detect"
    reason: Line | None = None


UnitFiles: TypeAlias = tuple[Annotated[str, Meta(pattern=r"^/[^\x00-\x20]*$(?!\n)")], ...]


def probed(hypervisor: Endpoint, runtime: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """Return all endpoints by name: the hypervisor first unless it is absent, then the runtime units."""
    return {**({} if hypervisor.absent else {"hypervisor": hypervisor}), **runtime}


class Target(Table, frozen=True, kw_only=True):
    """A whole target file."""

    provider: ProviderName = ""
    """The provider's name; optional with a transport, and then the value of `--provider`."""
    transport: str | None = None
    """How the hosts of a custom provider are reached."""
    repository: Repository
    hosts: Annotated[tuple[Host, ...], Meta(min_length=1)]
    builders: tuple[Builder, ...] = ()
    """Machines over SSH that build and receive no deploys. Of a loaded target only the one that builds, or the host
    that does."""
    hypervisor: Endpoint
    runtime: Annotated[dict[Name, Endpoint], Meta(min_length=1)]
    bridge: Bridge = Bridge()
    health: Health = Health()
    build: Build = Build()
    converge: Converge = Converge()
    rollback: Rollback = Rollback()
    preflight: Preflight = Preflight()
    boot: BootLoader = BootLoader()
    requires: Requires | None = None
    declared: Declared | None = None
    cutover: CutoverTerms = CutoverTerms()
    unit_files: UnitFiles = ()
    """Folders or files outside the running system that may define the contract's units."""
    secrets: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)")], ...] = ()
    """Environment variables whose values never appear in any output."""
    checks: tuple[Line, ...] = ()
    """Folders with checks of the team's own, relative to the target file."""
    waivers: tuple[Waiver, ...] = ()

    def table(self, kind: type[_T]) -> _T:
        """Return a provider's own table of this target file, by the provider's type for it."""
        values = (getattr(self, name) for name in self.__struct_fields__)
        return next(value for value in values if isinstance(value, kind))

    def configuration(self, host: Host) -> str:
        """A host's configuration, for readers: its name in the flake, its attribute in the file, or the file."""
        return self.attribute(host) or self.repository.file or ""

    def attribute(self, host: Host) -> str:
        """A host's name in the flake, or its attribute in the file; empty if the file's value is its system."""
        return host.flake_attr or host.attr or self.repository.attr or ""

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """All endpoints by name: the hypervisor first unless it is absent, then the runtime units."""
        return probed(self.hypervisor, self.runtime)

    @property
    def confirm_s(self) -> float:
        """Seconds after the switch after which an unconfirmed host returns by itself; 0 for never."""
        own = self.rollback.confirm_s
        return self.health.longest_s + CONFIRM_MARGIN_S if own is None else own

    @property
    def contract_units(self) -> tuple[str, ...]:
        """Every systemd unit of the contract, once each, in order."""
        return tuple(dict.fromkeys(unit for endpoint in self.endpoints.values() for unit in endpoint.units))


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a target file that defines health."""

    hypervisor: Endpoint
    runtime: Annotated[dict[Name, Endpoint], Meta(min_length=1)]
    health: Health = Health()
    boot: BootLoader = BootLoader()
    bridge: Bridge = Bridge()
    unit_files: UnitFiles = ()
    checks: tuple[Line, ...] = ()
    waivers: tuple[Waiver, ...] = ()

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """All endpoints by name, as in `Target`."""
        return probed(self.hypervisor, self.runtime)
