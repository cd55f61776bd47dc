"""Target files as types: which hosts there are, how they are reached, and what healthy means there."""

from __future__ import annotations

import datetime as dt
import difflib
import fnmatch
import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from switchproof.deploy.errors import UsageError
from switchproof.deploy.observe.boot.choice import Loader
from switchproof.deploy.record.waivers import NEVER, with_whole_days
from switchproof.deploy.target.addresses import address_problem
from switchproof.deploy.target.declared import CutoverTerms, Declared
from switchproof.deploy.target.host_key import host_key_problem
from switchproof.deploy.target.messages import explain, key_type, step_into, with_line
from switchproof.deploy.target.probe_rules import endpoint_problem, schema_rules
from switchproof.deploy.target.repository_url import public_problem, transport_problem

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
ProbeKind: TypeAlias = Literal["http", "https", "tcp", "unix", "exec"]
StorePath: TypeAlias = Annotated[
    str, Meta(pattern=r"^(/nix/store/[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]{1,200})?$(?!\n)")
]
JsonValue: TypeAlias = str | int | float | bool
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=86400)]
PositiveSeconds: TypeAlias = Annotated[float, Meta(gt=0, le=86400)]
HostKey: TypeAlias = Annotated[
    str, Meta(pattern=r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/=]+( .*)?$")
]
PROVIDER_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}$(?!\n)"
"""What a provider may be called: its name is part of paths and of options."""
ProviderName: TypeAlias = Annotated[str, Meta(pattern=PROVIDER_NAME)]
Transport: TypeAlias = Literal["ssh"]
Way: TypeAlias = Literal["ssh", "ssm", "local", "lab"]
OWN_WAYS: Mapping[str, Way] = {"ovh": "ssh", "aws": "ssm", "local": "local", "lab": "lab"}
"""The providers whose name says how their hosts are reached. All others say it by their transport."""
InstanceId: TypeAlias = Annotated[str, Meta(pattern=r"^(i-([0-9a-f]{8}|[0-9a-f]{17})|mi-[0-9a-f]{17})$(?!\n)")]


RUN_SHELL_SCRIPT = "AWS-RunShellScript"
"""AWS's own document, which runs any shell text as root."""

CONFIRM_MARGIN_S = 240.0
"""Seconds that an unconfirmed host waits beyond what its checks take, so that a lost connection can be made again."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the target file; a key that it does not know is an error."""


class Repository(_Table, frozen=True, kw_only=True):
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


class Jump(_Table, frozen=True, kw_only=True):
    """A host that the way to the hosts leads through."""

    address: Annotated[str, Meta(min_length=1)]
    port: Port = 22
    user: str = "root"
    host_keys: tuple[HostKey, ...] = ()


class Ssh(_Table, frozen=True, kw_only=True):
    """How hosts are reached over SSH.

    Attributes:
        user: Whom to log in as, where neither the host nor the ssh_config says otherwise.
        port: Likewise.
        identity_files: Private keys to offer. `~` is expanded.
        agent: Whether keys of the SSH agent are offered.
        config: An ssh_config, read as `ssh -F` reads it; docs/ssh.md lists the directives.
        known_hosts: A known_hosts file that pins host keys beside those of the target file.
        jump: A host on the way.
        connect_timeout_s: Seconds for each step of connecting.
        keepalive_s: Seconds between keep-alive messages.
    """

    user: str = "root"
    port: Port = 22
    identity_files: tuple[str, ...] = ()
    agent: bool = False
    config: str | None = None
    known_hosts: str | None = None
    jump: Jump | None = None
    connect_timeout_s: PositiveSeconds = 15.0
    keepalive_s: PositiveSeconds = 10.0


class Ssm(_Table, frozen=True, kw_only=True):
    """How hosts are reached through AWS Systems Manager.

    Attributes:
        region: The hosts' region; else AWS_REGION, or the profile's.
        profile: Of the AWS configuration files; else what boto3 finds by itself.
        role: The ARN of a role to assume.
        document: What runs commands: AWS's own document, or one of
            `switchproof schema ssm-document`.
        document_version: Which version of it; else its default.
        bucket: An S3 bucket for output that is longer than SSM passes on; else it is fetched in pieces.
        prefix: Where in the bucket.
        start_s: Seconds within which the instance must take a command.
    """

    region: Annotated[str, Meta(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$(?!\n)")] | None = None
    profile: Line | None = None
    role: Annotated[str, Meta(pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$(?!\n)")] | None = None
    document: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:/-]{3,200}$(?!\n)")] = RUN_SHELL_SCRIPT
    document_version: Annotated[str, Meta(pattern=r"^([1-9][0-9]*|\$DEFAULT|\$LATEST)$(?!\n)")] | None = None
    bucket: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$(?!\n)")] | None = None
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9!_.*'()/-]{1,400}$(?!\n)")] = "switchproof"
    start_s: Annotated[float, Meta(ge=30, le=3600)] = 60.0


class Host(_Table, frozen=True, kw_only=True):
    """One machine that is deployed to.

    Attributes:
        name: What it is called everywhere; file names and test ids are made of it.
        flake_attr: Which of the flake's nixosConfigurations it runs.
        groups: Names under which `--host=@group` selects it.
        address: Name or address to connect to; none for the providers `local` and `lab`.
        host_keys: Its public host keys; more than one while a key is being replaced.
        instance: Its instance id, for the provider `aws`.
        tags: Instead of `instance`, the tags that select it and no other, such as `Name`.
    """

    name: Name
    flake_attr: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.'-]*$(?!\n)")]
    groups: tuple[Name, ...] = ()
    address: Annotated[str, Meta(min_length=1)] | None = None
    port: Port | None = None
    user: str | None = None
    host_keys: tuple[HostKey, ...] = ()
    instance: InstanceId | None = None
    tags: Annotated[dict[Line, Line], Meta(max_length=5)] = {}


class Machine(_Table, frozen=True, kw_only=True):
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


class Endpoint(_Table, frozen=True, kw_only=True):
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
    status: Annotated[int, Meta(ge=100, le=599)] = 200
    expect: Line | None = None
    command: Annotated[tuple[Line, ...], Meta(min_length=1)] = ()
    user: HostUser | None = None
    exit_code: Annotated[int, Meta(ge=0, le=123)] = 0
    contains: Line | None = None
    json: dict[Line, JsonValue] = {}
    json_of_system: dict[Line, SystemFile] = {}
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


class BridgedProgram(_Table, frozen=True, kw_only=True):
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


class Bridge(_Table, frozen=True, kw_only=True):
    """The store path bridge: prebuilt programs that are installed before the switch.

    Attributes:
        build_on_host: `true` lets a host build what cannot be realised there.
        programs: Each by its name.
    """

    build_on_host: Annotated[str, Meta(pattern=r"^(true|false)$(?!\n)")] = "false"
    programs: dict[Name, BridgedProgram] = {}


class Health(_Table, frozen=True, kw_only=True):
    """When a host counts as healthy.

    Attributes:
        ready_s: Seconds after the switch within which everything must answer well.
        answers: How many good answers in a row are asked for.
        interval_s: Seconds between two answers.
        soak_s: Seconds over which answers stay good and identities stay the same.
        timeout_s: Seconds that one answer may take.
        max_bytes: Bytes of body that are read of one answer.
    """

    ready_s: Seconds = 120.0
    answers: Annotated[int, Meta(ge=1, le=1000)] = 5
    interval_s: Annotated[float, Meta(ge=0.1, le=60)] = 1.0
    soak_s: Seconds = 15.0
    timeout_s: PositiveSeconds = 5.0
    max_bytes: Annotated[int, Meta(ge=1, le=1_000_000)] = 65536

    @property
    def longest_s(self) -> float:
        """Seconds that a host may take to show whether it is healthy."""
        # What restarts once it was healthy is watched as long again, to see what becomes of it.
        return 2 * (self.ready_s + self.soak_s) + (self.answers + 2) * (self.interval_s + self.timeout_s)


class Converge(_Table, frozen=True, kw_only=True):
    """Limits of the switch.

    Attributes:
        timeout_s: Seconds for fetching, building and switching together.
    """

    timeout_s: PositiveSeconds = 3600.0


class Rollback(_Table, frozen=True, kw_only=True):
    """When a host goes back by itself.

    Attributes:
        confirm_s: Seconds after the switch within which the run must have confirmed the new system, or else the host
            goes back to the earlier one by itself; 0 turns that off. By default as long as the checks may take,
            and four minutes for lost connections.
    """

    confirm_s: Seconds | None = None


class Requires(_Table, frozen=True, kw_only=True):
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


class Waiver(_Table, frozen=True, kw_only=True):
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


class BootLoader(_Table, frozen=True, kw_only=True):
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


class Target(_Table, frozen=True, kw_only=True):
    """A whole target file."""

    provider: ProviderName = ""
    """Its name; one that its transport describes may be left out, and is then what `--provider` says."""
    transport: Transport | None = None
    """How the hosts of a provider of one's own are reached."""
    repository: Repository
    ssh: Ssh = Ssh()
    ssm: Ssm = Ssm()
    hosts: Annotated[tuple[Host, ...], Meta(min_length=1)]
    hypervisor: Endpoint
    runtime: Annotated[dict[Name, Endpoint], Meta(min_length=1)]
    bridge: Bridge = Bridge()
    health: Health = Health()
    converge: Converge = Converge()
    rollback: Rollback = Rollback()
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

    @property
    def way(self) -> Way:
        """How the hosts are reached."""
        return OWN_WAYS.get(self.provider, "ssh")

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


def load_contract(path: Path, environ: Mapping[str, str]) -> Contract:
    """Read from a target file what healthy means; where its hosts are need not be known.

    Raises:
        UsageError: Names the file, the line, the key, what was found and what is allowed.
    """
    raw = {key: item for key, item in _read(path).items() if key in Contract.__struct_fields__}
    with _lines_named(path):
        looked_up = _looked_up(raw, path, environ, set())
        _need_hypervisor(path, looked_up)
        try:
            contract = msgspec.convert(looked_up, Contract)
        except msgspec.ValidationError as error:
            raise UsageError(f"{path}: {_at_key(str(error), looked_up, Contract)}") from error
        _check_endpoints(path, contract)
    return contract


@contextmanager
def _lines_named(path: Path) -> Iterator[None]:
    """Add to an error about a key of the file the line that it stands in."""
    try:
        yield
    except UsageError as error:
        raise UsageError(with_line(str(error), path)) from error


def roster(path: Path) -> dict[str, tuple[str, ...]]:
    """Name every host of a target file that `load` has read, selected or not, with its groups."""
    return {str(host["name"]): tuple(host.get("groups", ())) for host in _read(path)["hosts"]}


def load(path: Path, environ: Mapping[str, str], select: Sequence[str] = ()) -> Target:
    """Read a target file.

    Args:
        path: The TOML file.
        environ: Where values like `{ env = "NAME" }` come from.
        select: Host names, globs or `@group`s; none selects every host. Only values of selected hosts are looked up.

    Returns:
        The target with the selected hosts, in the order of the file.

    Raises:
        UsageError: Names the file, the line, the key, what was found and what is allowed.
    """
    raw = _read(path)
    with _lines_named(path):
        whole = _convert(path, _looked_up(raw, path, environ, set()))
        _check(path, whole)
        chosen = _select(path, whole.hosts, select)
        target = _convert(path, _looked_up(raw, path, environ, chosen))
        _check(path, target)
    return msgspec.structs.replace(target, hosts=tuple(host for host in target.hosts if host.name in chosen))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such target file; name one with --targets=FILE") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def _convert(path: Path, raw: dict[str, Any]) -> Target:
    _need_hypervisor(path, raw)
    try:
        return msgspec.convert(with_whole_days(raw), Target)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {_at_key(str(error), raw, Target)}") from error


def _need_hypervisor(path: Path, raw: Mapping[str, Any]) -> None:
    """Refuse a file that says nothing of the hypervisor, not even that there is none."""
    if "hypervisor" not in raw:
        raise UsageError(
            f'{path}: hypervisor: missing; describe it, or write [hypervisor] and absent = "why there is none"'
        )


def _at_key(message: str, raw: object, whole: type[msgspec.Struct]) -> str:
    """Turn msgspec's `… - at `$.hosts[0].port`` into `hosts[0].port: …` with what is allowed and what was found."""
    text, _, where = message.partition(" - at `")
    is_key = where.startswith("key` in `")
    steps = re.findall(r"\[\.\.\.\]|[^.\[\]$]+", where.removeprefix("key` in `").rstrip("`"))
    key, name, found = "", "", raw
    kind = table = msgspec.inspect.type_info(whole)
    for step in [*steps, "[...]"] if is_key else steps:
        table = kind
        kind = step_into(kind, step)
        if isinstance(found, list) and step.isdecimal():
            key, found = f"{key}[{step}]", found[int(step)]
        elif isinstance(found, dict):
            name = step if step != "[...]" else _culprit(found, steps[0], text)
            key, found = f"{key}.{name}" if key else name, found[name]
    if is_key:
        return explain(text, key, name, key_type(table), is_key=True)
    return explain(text, key, found, kind)


def _culprit(table: dict[str, Any], first: str, text: str) -> str:
    """Find the key that msgspec means by `[...]`: the first whose entry brings the same complaint."""
    known: dict[str, list[Any]] = {"runtime": [dict[Name, Endpoint]], "bridge": [dict[Name, BridgedProgram]]}
    kinds = known.get(first, [])
    for name, item in table.items():
        for kind in [*kinds, dict[Line, JsonValue]]:
            try:
                msgspec.convert({name: item}, kind)
            except msgspec.ValidationError as error:
                if str(error).startswith(text):
                    return name
    return next(iter(table))


def _looked_up(raw: dict[str, Any], path: Path, environ: Mapping[str, str], chosen: set[str]) -> dict[str, Any]:
    """Put in the environment's values; in hosts that are not chosen, text that stands for them."""
    looked_up = {}
    for key, item in raw.items():
        if key == "hosts" and isinstance(item, list):
            looked_up[key] = [
                _with_environment(
                    table,
                    path,
                    environ if isinstance(table, dict) and str(table.get("name")) in chosen else None,
                    f"hosts[{index}]",
                )
                for index, table in enumerate(item)
            ]
        else:
            looked_up[key] = _with_environment(item, path, environ, key)
    return looked_up


def _with_environment(value: Any, path: Path, environ: Mapping[str, str] | None, key: str = "") -> Any:
    """Put the environment's values in the place of `{ env = … }`; without one, put text that stands for them."""
    match value:
        case {"env": str() | [str(), *_] as named, **rest} if rest.keys() <= {"default"} and not key.endswith(
            (".json", ".tags")
        ):
            names = [named] if isinstance(named, str) else named
            if environ is None:
                return _STAND_INS.get(key.rpartition(".")[2].partition("[")[0], f"env-{names[0]}")
            given = next((environ[name] for name in names if environ.get(name)), rest.get("default"))
            if given is not None:
                return given
            one = f"variable {names[0]} is" if len(names) == 1 else f"variables {' and '.join(names)} are"
            raise UsageError(f"{path}: {key}: the environment {one} not set")
        case dict():
            return {
                name: _with_environment(item, path, environ, f"{key}.{name}" if key else name)
                for name, item in value.items()
            }
        case list():
            return [_with_environment(item, path, environ, f"{key}[{index}]") for index, item in enumerate(value)]
        case _:
            return value


_STAND_INS = {
    "address": "host.example",
    "host_keys": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    "instance": "i-00000000",
    "region": "xx-env-1",
}


def _select(path: Path, hosts: Sequence[Host], select: Sequence[str]) -> set[str]:
    chosen: set[str] = set()
    for pattern in select:
        if pattern.startswith("@"):
            found = {host.name for host in hosts if pattern[1:] in host.groups}
        else:
            found = {host.name for host in hosts if fnmatch.fnmatchcase(host.name, pattern)}
        if not found:
            names = ", ".join(host.name for host in hosts)
            groups = ", ".join(sorted({f"@{group}" for host in hosts for group in host.groups})) or "none"
            raise UsageError(f"{path}: --host={pattern} selects no host; hosts: {names}; groups: {groups}")
        chosen |= found
    return chosen or {host.name for host in hosts}


def _check(path: Path, target: Target) -> None:
    """Check what types cannot say."""
    if problem := _provider_problem(target):
        raise UsageError(f"{path}: {problem}")
    called = f"provider {target.provider!r}" if target.provider else f"transport {target.transport!r}"
    seen: set[str] = set()
    for index, host in enumerate(target.hosts):
        if host.name in seen:
            raise UsageError(f"{path}: hosts[{index}].name: {host.name!r} is the name of another host already")
        seen.add(host.name)
        if target.way == "ssh" and host.address is None:
            raise UsageError(f"{path}: hosts[{index}].address: missing; {called} connects over SSH")
        if target.way != "ssh" and host.address is not None:
            raise UsageError(f"{path}: hosts[{index}].address: {called} takes none (found {host.address!r})")
        if host.address is not None and (problem := address_problem(host.address)):
            raise UsageError(f"{path}: hosts[{index}].address: {problem}")
        pinned = host.host_keys or target.ssh.known_hosts or target.ssh.config
        if target.way == "ssh" and not pinned:
            raise UsageError(
                f"{path}: hosts[{index}].host_keys: missing; pin the host's key here or in ssh.known_hosts"
            )
        _check_host_keys(path, f"hosts[{index}].host_keys", host.host_keys)
        _check_instance(path, f"hosts[{index}]", host, target.way)
    if target.ssh.jump:
        if problem := address_problem(target.ssh.jump.address):
            raise UsageError(f"{path}: ssh.jump.address: {problem}")
        _check_host_keys(path, "ssh.jump.host_keys", target.ssh.jump.host_keys)
    if problem := transport_problem(target.repository.url or ""):
        raise UsageError(f"{path}: repository.url: {problem}")
    if target.provider == "aws" and (problem := public_problem(target.repository.url or "")):
        raise UsageError(
            f"{path}: repository.url: {problem}; what is sent through SSM can be read in ListCommands and "
            "CloudTrail, so give the hosts their own way to log in, such as a deploy key"
        )
    if target.provider == "local" and len(target.hosts) != 1:
        raise UsageError(f"{path}: hosts: provider 'local' has one host, this machine (found {len(target.hosts)})")
    if "hypervisor" in target.runtime:
        raise UsageError(f"{path}: runtime.hypervisor: the name is taken by the hypervisor itself")
    _check_endpoints(path, target)
    _check_bridge(path, target)
    if (target.boot.loader == "none") != (target.boot.reason is not None):
        raise UsageError(
            f"{path}: boot.reason: "
            + (
                'missing; say why nothing on these hosts decides what boots, such as "containers of another host"'
                if target.boot.reason is None
                else f'only with boot.loader = "none" (found boot.loader = {target.boot.loader!r})'
            )
        )
    if problem := confirm_problem(target):
        raise UsageError(f"{path}: rollback.confirm_s: {problem}")
    _check_waivers(path, target.waivers, [host.name for host in target.hosts])


def _check_waivers(path: Path, waivers: Sequence[Waiver], hosts: Sequence[str]) -> None:
    """Check that waivers are for hosts that there are, and that no two are for the same."""
    for index, waiver in enumerate(waivers):
        if waiver.host is not None and waiver.host not in hosts:
            raise UsageError(
                f"{path}: waivers[{index}].host: no such host (found {waiver.host!r}; allowed: {', '.join(hosts)})"
            )
        if waiver.check in NEVER:
            raise UsageError(
                f"{path}: waivers[{index}].check: {waiver.check} cannot be waived: everything else rests on it"
            )
        for earlier, other in enumerate(waivers[:index]):
            same_host = waiver.host == other.host or None in {waiver.host, other.host}
            if waiver.check == other.check and same_host:
                raise UsageError(
                    f"{path}: waivers[{index}]: covers what waivers[{earlier}] covers; remove one of them"
                )


def _check_host_keys(path: Path, key: str, host_keys: Sequence[str]) -> None:
    for index, text in enumerate(host_keys):
        if problem := host_key_problem(text):
            raise UsageError(
                f"{path}: {key}[{index}]: {problem} (found {text[:60]!r}); copy the whole line of the host's "
                "/etc/ssh/ssh_host_ed25519_key.pub"
            )


def _provider_problem(target: Target) -> str | None:
    """Say what keeps it from being known how the hosts are reached, None if nothing does."""
    if target.transport is None and not target.provider:
        return 'provider: missing; for example provider = "lab", or transport = "ssh" for hosts of your own'
    if target.transport is None and target.provider not in OWN_WAYS:
        near = difflib.get_close_matches(target.provider, OWN_WAYS, 1)
        guess = f'; did you mean provider = "{near[0]}"?' if near else ";"
        return (
            f'transport: missing{guess} Provider {target.provider!r} is one of your own: write transport = "ssh". '
            f"Without a transport are {', '.join(sorted(OWN_WAYS))}"
        )
    if target.transport is not None and OWN_WAYS.get(target.provider, target.transport) != target.transport:
        return f"transport: provider {target.provider!r} has a way of its own; remove the key"
    return None


def _check_instance(path: Path, key: str, host: Host, way: Way) -> None:
    """Check that a host of the provider `aws` is named in one way, and no other host is."""
    if way != "ssm":
        if host.instance or host.tags:
            name = "instance" if host.instance else "tags"
            raise UsageError(f"{path}: {key}.{name}: only hosts of the provider 'aws' have {name}")
    elif host.instance and host.tags:
        raise UsageError(f"{path}: {key}.tags: {key}.instance says already which one it is; leave one of them out")
    elif not host.instance and not host.tags:
        raise UsageError(f"{path}: {key}.instance: missing; give the instance's id, or tags that only it has")


def confirm_problem(target: Target) -> str | None:
    """Say what is wrong with the time to confirm, None if nothing is: it must not end before health can be seen."""
    least = target.health.ready_s + target.health.soak_s
    if 0 < target.confirm_s < least:
        return (
            f"shorter than health.ready_s and health.soak_s together: a good system would be taken back before it "
            f"could pass (found {target.confirm_s:g}; allowed: at least {least:g}, or 0 for never)"
        )
    return None


def _check_endpoints(path: Path, target: Target | Contract) -> None:
    """Check what the kind of each probe asks for."""
    tables = {"hypervisor": target.hypervisor}
    tables.update({f"runtime.{name}": endpoint for name, endpoint in target.runtime.items()})
    for key, endpoint in tables.items():
        if problem := endpoint_problem(key, endpoint):
            raise UsageError(f"{path}: {problem}")


def _check_bridge(path: Path, target: Target) -> None:
    seen: dict[str, str] = {}
    for name, program in target.bridge.programs.items():
        key = f"{path}: bridge.programs.{name}"
        if strangers := [unit for unit in program.units if unit not in target.contract_units]:
            raise UsageError(
                f"{key}.units: {strangers[0]} is no unit of the contract; allowed: {', '.join(target.contract_units)}"
            )
        if other := seen.get(program.at):
            raise UsageError(f"{key}.at: {program.at} is where {other} is installed already")
        seen[program.at] = name


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of target files, for editors."""
    schema = msgspec.json.schema(Target)
    definitions = schema["$defs"]
    definitions["FromEnvironment"] = {
        "title": "A value from an environment variable",
        "type": "object",
        "properties": {
            "env": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
            "default": {"type": "string"},
        },
        "required": ["env"],
        "additionalProperties": False,
    }
    definitions["Endpoint"] |= schema_rules()
    known = {"provider": {"anyOf": [{"enum": sorted(OWN_WAYS)}, {"type": "object"}]}}
    definitions["Target"]["anyOf"] = [{"required": ["provider"], "properties": known}, {"required": ["transport"]}]
    times = [{"type": "string", "format": kind} for kind in ("date-time", "date")]  # as TOML's are told to a schema
    definitions["Waiver"]["properties"]["expires"] = {"anyOf": times}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Switchproof target file",
        **_or_environment(schema),
    }


def _or_environment(schema: Any) -> Any:
    match schema:
        case {"type": "string"}:
            return {"anyOf": [schema, {"$ref": "#/$defs/FromEnvironment"}]}
        case {"title": "A value from an environment variable"}:
            return schema
        case dict():
            return {
                key: item if key in {"required", "enum", "default"} else _or_environment(item)
                for key, item in schema.items()
            }
        case list():
            return [_or_environment(item) for item in schema]
        case _:
            return schema
