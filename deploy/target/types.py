"""Target files as types: which hosts there are, and what healthy means there. Providers add their own tables."""

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
Interface: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,15}$(?!\n)")]
SystemFile: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$(?!\n)")]
HostFile: TypeAlias = Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$(?!\n)")]
ListenAddress: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^((\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}|(/[A-Za-z0-9_@][A-Za-z0-9@._-]*)+)$(?!\n)"),
]
HostUser: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*\$?$(?!\n)")]
BuildOn: TypeAlias = Literal["host", "runner"]
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
"""What a provider may be called: its name is part of paths and of options."""
ProviderName: TypeAlias = Annotated[str, Meta(pattern=PROVIDER_NAME)]
_T = TypeVar("_T", bound=msgspec.Struct)

CONFIRM_MARGIN_S = 240.0
"""Seconds that an unconfirmed host waits beyond what its checks take, so that a lost connection can be made again."""


class Repository(Table, frozen=True, kw_only=True):
    """Where the hosts fetch the configuration from.

    Attributes:
        url: What git fetches from, as the hosts see it; else the remote `origin` of their checkout.
        checkout: The host's clone. Its objects are used, pinned by revision; its working tree decides nothing.
    """

    url: Line | None = None
    checkout: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9._/-]+$(?!\n)")] = "/opt/choiros/workspace"

    @property
    def told(self) -> str:
        """What git fetches from, for a reader."""
        return self.url or f"the remote origin of {self.checkout}"


class Host(Table, frozen=True, kw_only=True):
    """One machine that is deployed to.

    Attributes:
        name: What it is called everywhere; file names and test ids are made of it.
        flake_attr: Which of the flake's nixosConfigurations it runs.
        groups: Names under which `--host=@group` selects it.
    """

    name: Name
    flake_attr: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.'-]*$(?!\n)")]
    groups: tuple[Name, ...] = ()

    def part(self, kind: type[_T]) -> _T:
        """Return the keys that a provider adds to hosts, as the type that it brings for them."""
        return kind(**{name: getattr(self, name) for name in kind.__struct_fields__})


class Machine(Table, frozen=True, kw_only=True):
    """The virtual machine behind a runtime unit, looked at when the unit is not healthy.

    Attributes:
        unit: The systemd unit whose main process the machine is; its console goes to that unit's journal.
        tap: Its network interface on the host.
        bridge: The bridge that `tap` belongs on.
        monitor: Where it can be asked about itself: `qmp:` and the path of QEMU's socket, or `cloud-hypervisor:` and
            the path of its API socket.
    """

    unit: UnitName
    tap: Interface | None = None
    bridge: Interface | None = None
    monitor: Annotated[str, Meta(pattern=r"^(qmp|cloud-hypervisor):/[A-Za-z0-9@._/-]+$(?!\n)")] | None = None


class Endpoint(Table, frozen=True, kw_only=True):
    """Something that runs on every host and is probed there: the hypervisor, or a runtime unit.

    Attributes:
        absent: Why the hosts have no hypervisor; the only key of its table then. No runtime unit may be absent.
        probe: How it is asked. `http` and `https` ask a URL, `unix` asks one through a unix socket, `tcp` opens a
            connection, `exec` runs a program on the host. docs/targets.md says which keys each of them takes.
        units: The systemd units that must be active, and whose identity must last over the soak. One that is inside a
            container is written with the container's name, such as `sandbox/web.service`.
        container: The one of `units` that is a container (systemd-nspawn). The endpoint is asked, and must listen, in
            the network namespace of that.
        listen: `address:port` on which the answering unit must listen; for a probe `unix` the socket's path.
        listener: Which of `units` owns that socket; by default the last one.
        exposure: `any` where an endpoint with a `listen` on loopback may be open to others; by default it may not.
        url: What is asked, on the host itself. Redirects are answers, never followed. A probe `https` connects to
            `listen`, and the certificate must have the name that the URL has.
        headers_file: A file on the host with headers, one a line, that are sent to `url`, such as
            `Authorization: Bearer …`. The host's own curl reads it; its content reaches nothing but the endpoint.
        ca_file: A file on the host with the certificates of the only authorities that a probe `https` trusts; by
            default it trusts those of the host's system.
        status: The HTTP status that it must answer.
        expect: A text that a probe `tcp` must receive once it is connected, without sending anything.
        command: The program that a probe `exec` runs, by its absolute path on the host, and its arguments; no shell.
        user: Whom that program runs as.
        exit_code: The code that it must exit with. Higher ones say that a program could not be run, or was ended.
        contains: A text that the body must contain, or the output of a program.
        json: Keys of the body, which then must be a JSON object, and the values that they must have.
        json_of_system: Keys of that object whose value the running system itself says: in the first line of the file
            with this path below `/run/current-system`. A workload of another release is found by it.
        backend: Where the workload behind a forward answers, asked when the forward does not.
        inside: Commands that show what goes on inside the workload, run on the host for diagnostics.
        machine: The virtual machine that the workload runs in, if it does.
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
        """`address:port` on which it listens; empty where it does on a unix socket, or nowhere."""
        return "" if self.listen.startswith("/") else self.listen

    @property
    def is_private(self) -> bool:
        """Whether nobody but the host itself may reach its port."""
        if not self.port or self.exposure == "any":
            return False
        return ipaddress.ip_address(self.port.rpartition(":")[0].strip("[]")).is_loopback

    @property
    def code(self) -> int:
        """The code that a good answer has: an HTTP status, or a program's exit code; 0 where there is none."""
        return {"tcp": 0, "exec": self.exit_code}.get(self.probe, self.status)

    @property
    def text(self) -> str | None:
        """The text that a good answer contains."""
        return self.expect if self.probe == "tcp" else self.contains


class BridgedProgram(Table, frozen=True, kw_only=True):
    """A prebuilt program that units run through a link, so that it can change without the system.

    Attributes:
        path: The store path to install in a deploy; empty leaves alone what is installed.
        file: The program in that path.
        at: Where the link to it is, which the units run.
        units: The contract's units that must run it once it is installed.
        build: The flake that builds it where that is allowed, `FOLDER#NAME` in the repository at the commit.
    """

    path: StorePath = ""
    file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$(?!\n)")]
    at: HostFile
    units: tuple[ContractUnit, ...] = ()
    build: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/-]*#[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)")] | None = None


class Bridge(Table, frozen=True, kw_only=True):
    """The store path bridge: prebuilt programs that are installed before the switch.

    Attributes:
        build_on_host: `true` lets a host build what cannot be realised there.
        programs: Each by its name.
    """

    build_on_host: Annotated[str, Meta(pattern=r"^(true|false)$(?!\n)")] = "false"
    programs: dict[Name, BridgedProgram] = msgspec.field(default_factory=dict)


class Health(Table, frozen=True, kw_only=True):
    """When a host counts as healthy.

    Attributes:
        ready_s: Seconds after the switch within which everything must answer well.
        answers: How many good answers in a row are asked for.
        interval_s: Seconds between the first answers. The longer a state lasts, the rarer it is asked for: after five
            seconds once a second, unless this is longer.
        soak_s: Seconds over which answers stay good and identities stay the same.
        timeout_s: Seconds that one answer may take.
        max_bytes: Bytes of body that are read of one answer.
        same_failures: How many failures of a unit with one and the same result since the switch show that waiting
            cannot mend it; one that systemd does not start again needs one. 0: waits out `ready_s` all the same.
        same_answers: How many equal answers of one process, counted once a second, show the same where their status
            is not in `transient_status` or their body is of another system; 0: waits out `ready_s` all the same.
        transient_status: Statuses that a healthy process may answer for a while.
    """

    ready_s: Seconds = 120.0
    answers: Annotated[int, Meta(ge=1, le=1000)] = 5
    interval_s: Annotated[float, Meta(ge=0.1, le=60)] = 0.25
    soak_s: Seconds = 15.0
    timeout_s: PositiveSeconds = 5.0
    max_bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 65536
    same_failures: Annotated[int, Meta(ge=0, le=1000)] = 5
    same_answers: Annotated[int, Meta(ge=0, le=1000)] = 5
    transient_status: Annotated[tuple[HttpStatus, ...], Meta(max_length=100)] = (408, 425, 429, 502, 503, 504)

    @property
    def longest_s(self) -> float:
        """Seconds that a host may take to show whether it is healthy."""
        # What restarts once it was healthy is watched as long again, to see what becomes of it.
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

    def reconnects_within_s(self, kind: str) -> float:
        """Return `reconnect_s` for hosts that are reached by a kind of connection."""
        default_s = 120.0 if kind == "ssm" else 30.0
        return default_s if self.reconnect_s is None else self.reconnect_s


class Build(Table, frozen=True, kw_only=True):
    """Where systems are built.

    Attributes:
        on: `host`: each host builds its own. `runner`: the machine that runs the deploy builds each configuration
            once, and copies it to the hosts over connections of the run.
        repository: What git on the runner fetches from, where that is not `repository.url`.
        timeout_s: Seconds for fetching and building on the runner together.
        stall_s: Seconds after which a copy that does not move ends.
    """

    on: BuildOn = "host"
    repository: Line | None = None
    timeout_s: PositiveSeconds = 3600.0
    stall_s: PositiveSeconds = 60.0


Finding: TypeAlias = Literal["store", "var", "boot", "inodes", "memory", "clock", "reboot", "failed"]


class Preflight(Table, frozen=True, kw_only=True):
    """What a host must have before a deploy or a plan begins anything there. A limit of 0 is not looked at.

    Attributes:
        refuse: The findings that refuse the run, before anything is touched; the others warn.
        store_mib: MiB that must be left where /nix/store is.
        var_mib: MiB that must be left where /var/lib is.
        boot_mib: MiB that must be left in /boot, /boot/efi and /efi, as far as they are file systems of their own.
        inodes: How many inodes must be left in each of these, where the file system counts them.
        memory_mib: MiB of memory that must be available, free swap included.
        clock_s: Seconds by which the host's clock may differ from the runner's.
    """

    refuse: tuple[Finding, ...] = ("store", "var", "boot", "inodes")
    store_mib: Annotated[int, Meta(ge=0)] = 1024
    var_mib: Annotated[int, Meta(ge=0)] = 64
    boot_mib: Annotated[int, Meta(ge=0)] = 32
    inodes: Annotated[int, Meta(ge=0)] = 10_000
    memory_mib: Annotated[int, Meta(ge=0)] = 512
    clock_s: Seconds = 60.0


class Rollback(Table, frozen=True, kw_only=True):
    """When a host goes back by itself.

    Attributes:
        confirm_s: Seconds after the switch within which the run must have confirmed the new system, or else the host
            goes back to the earlier one by itself; 0 turns that off. By default as long as the checks may take,
            and four minutes for lost connections.
    """

    confirm_s: Seconds | None = None


class Requires(Table, frozen=True, kw_only=True):
    """The signed record without which no deploy is let through.

    Attributes:
        group: The record's run must have deployed to a host of this group. Hosts of it need no record themselves:
            a run on them alone is where the record comes from.
        max_age: How long ago that run may have ended at most: a number and `m`, `h`, `d` or `w`.
        drill: Whether that run must have been a drill.
        signer: The principal of the allowed signers who must have signed it; any of them if left out.
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
    """A failure that is known and borne for a time. It covers only what failed, never what gave no answer.

    Attributes:
        check: The check's id, as the report has it.
        host: The host that it is for; every host if left out.
        reason: Why the failure is borne.
        owner: Who answers for it.
        expires: From when on it covers nothing any more; a date means the end of that day in UTC.
    """

    check: Annotated[str, Meta(pattern=r"^[a-z]+(/[^/\x00-\x1f]+)+$(?!\n)", max_length=300)]
    host: Name | None = None
    reason: Line
    owner: Line
    expires: Annotated[dt.datetime, Meta(tz=True)]


class BootLoader(Table, frozen=True, kw_only=True):
    """What decides which system a host boots.

    Attributes:
        loader: The boot loader; `detect` finds it, and `none` says that nothing on the host decides.
        reason: Why nothing on the host decides; only with `none`.
    """

    loader: Loader = "detect"
    reason: Line | None = None


UnitFiles: TypeAlias = tuple[Annotated[str, Meta(pattern=r"^/[^\x00-\x20]*$(?!\n)")], ...]


def probed(hypervisor: Endpoint, runtime: Mapping[str, Endpoint]) -> dict[str, Endpoint]:
    """Return everything that is probed, by name: the hypervisor first unless it is absent, then the runtime units."""
    return {**({} if hypervisor.absent else {"hypervisor": hypervisor}), **runtime}


class Target(Table, frozen=True, kw_only=True):
    """A whole target file."""

    provider: ProviderName = ""
    """Its name; one that its transport describes may be left out, and is then what `--provider` says."""
    transport: str | None = None
    """How the hosts of a provider of one's own are reached."""
    repository: Repository
    hosts: Annotated[tuple[Host, ...], Meta(min_length=1)]
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
    """Folders or files beside the running system that the contract's units may be defined in."""
    secrets: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)")], ...] = ()
    """Environment variables whose values never appear in any output."""
    checks: tuple[Line, ...] = ()
    """Folders with checks of the team's own, relative to the target file."""
    waivers: tuple[Waiver, ...] = ()

    def table(self, kind: type[_T]) -> _T:
        """Return the table that a provider adds to target files, of the type that it brings for it."""
        values = (getattr(self, name) for name in self.__struct_fields__)
        return next(value for value in values if isinstance(value, kind))

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Everything that is probed, by name: the hypervisor first unless it is absent, then the runtime units."""
        return probed(self.hypervisor, self.runtime)

    @property
    def confirm_s(self) -> float:
        """Seconds after the switch after which an unconfirmed host goes back by itself; 0 if it never does."""
        own = self.rollback.confirm_s
        return self.health.longest_s + CONFIRM_MARGIN_S if own is None else own

    @property
    def contract_units(self) -> tuple[str, ...]:
        """Every systemd unit that the contract is about, once each, in order."""
        return tuple(dict.fromkeys(unit for endpoint in self.endpoints.values() for unit in endpoint.units))


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a target file that says what healthy means."""

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
        """Everything that is probed, by name, as in `Target`."""
        return probed(self.hypervisor, self.runtime)
