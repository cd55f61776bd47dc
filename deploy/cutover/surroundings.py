"""Reads units, processes, sockets and SSH settings outside the contract from a host's answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.target.declared import Declared, is_declared, matches

if TYPE_CHECKING:
    import testinfra.host

SCRIPT = Path(__file__).parents[1] / "host" / "look-around.sh"
"""The program that runs on the host."""

SECTIONS = (
    "units",
    "unit-files",
    "real-paths",
    "placed",
    "closure",
    "processes",
    "sockets",
    "sshd",
    "host-keys",
    "contract-units",
    "credentials",
)

AGENT = re.compile(r"amazon-ssm-agent|snap\.amazon-ssm|ssm-(agent|document|session)-worker")
"""The names of AWS's agent and its helpers, as units, programs and packages."""

_KINDS = (".service", ".socket", ".timer", ".path", ".automount")
_OWN = ("switchproof-*",)
"""Units that a run of Switchproof has on a host while it runs."""

_GENERATED = ("/run/systemd/generator", "/run/systemd/generator.early", "/run/systemd/generator.late")


class Unit(msgspec.Struct, frozen=True):
    """A unit that systemd has loaded, with the real paths of its files."""

    name: str
    files: tuple[str, ...]
    transient: bool


class Process(msgspec.Struct, frozen=True):
    """A process, with the path of its program and its command line."""

    pid: int
    program: str
    command: str


class Listener(msgspec.Struct, frozen=True):
    """A socket that takes connections or datagrams, and the program that owns it."""

    protocol: str
    address: str
    owner: str

    def __str__(self) -> str:
        return f"{self.protocol} {self.address} by {self.owner or 'the kernel'}"


class Served(msgspec.Struct, frozen=True):
    """A unit of the contract, the user of its main process (None without one), and its settings for AWS."""

    name: str
    user: str | None
    of_aws: tuple[str, ...]


class Surroundings:
    """A host's answer. Reading a section that is missing raises `Inconclusive`.

    Args:
        host: The host's name.
        sections: The text of each section.
    """

    def __init__(self, host: str, sections: dict[str, str]) -> None:
        self._host = host
        self._sections = sections

    def _section(self, name: str) -> str:
        if name not in self._sections:
            raise Inconclusive(f"{self._host}: the host did not report its {name.replace('-', ' ')}")
        return self._sections[name]

    def _lines(self, name: str) -> list[str]:
        return [line for line in self._section(name).splitlines() if line.strip()]

    @property
    def closure(self) -> frozenset[str]:
        """The store paths of the running system."""
        paths = frozenset(self._lines("closure"))
        if not paths:
            raise Inconclusive(
                f"{self._host}: the host reported an empty closure of the running system, which is impossible"
            )
        return paths

    @property
    def units(self) -> list[Unit]:
        """All loaded units."""
        real = dict(line.split("\t", 1) for line in self._lines("real-paths") if "\t" in line)
        units = []
        for block in self._section("units").split("\n\n"):
            properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            paths = [*properties.get("FragmentPath", "").split(), *properties.get("DropInPaths", "").split()]
            if properties.get("LoadState") in {"loaded", "masked"} and "Id" in properties:
                files = tuple(real.get(path) or path for path in paths)
                units.append(Unit(properties["Id"], files, properties.get("Transient") == "yes"))
        if not units:
            raise Inconclusive(f"{self._host}: the host reported no unit, which is impossible")
        return units

    @property
    def unit_names(self) -> set[str]:
        """The names of all units that are loaded or could be."""
        return {unit.name for unit in self.units} | set(self._lines("unit-files"))

    @property
    def placed(self) -> dict[str, str]:
        """Unit files in the folders of administrators and programs, loaded or not, with the targets of links."""
        return dict(line.split("\t", 1) for line in self._lines("placed") if "\t" in line)

    @property
    def processes(self) -> list[Process]:
        """All processes."""
        rows = [line.split("\t", 2) for line in self._lines("processes")]
        if not rows:
            raise Inconclusive(f"{self._host}: the host reported no process, which is impossible")
        return [Process(int(row[0]), row[1], row[2].strip()) for row in rows if len(row) == 3]  # noqa: PLR2004

    @property
    def listeners(self) -> list[Listener]:
        """All sockets that take connections or datagrams."""
        listeners = []
        for line in self._lines("sockets"):
            fields = line.split(maxsplit=6)
            if len(fields) < 6:  # noqa: PLR2004 - protocol, state, two queues, local, peer, owner
                raise Inconclusive(
                    f"{self._host}: the host's list of sockets has a line that ss does not print: {line[:80]!r}"
                )
            owner = re.search(r'"([^"]*)"', fields[6]) if len(fields) > 6 else None  # noqa: PLR2004
            listeners.append(Listener(fields[0], fields[4], owner[1] if owner else ""))
        return listeners

    @property
    def sshd(self) -> dict[str, str]:
        """The SSH server's settings by keyword in lower case; OpenSSH 10.6 prints `PermitRootLogin`."""
        pairs = (line.partition(" ") for line in self._lines("sshd"))
        return {keyword.lower(): value for keyword, _, value in pairs}

    @property
    def host_keys(self) -> list[str]:
        """The fingerprints of the SSH server's host keys, as `kind SHA256:…`."""
        return [fingerprint(line) for line in self._lines("host-keys")]

    @property
    def served(self) -> list[Served]:
        """The units of the contract."""
        rows = [line.split("\t") for line in self._section("contract-units").splitlines() if line]
        return [
            Served(row[0], row[1] or None, tuple(word for word in row[2:] if word)) for row in rows if len(row) > 1
        ]

    @property
    def credentials(self) -> list[str]:
        """Folders with AWS credentials in home directories."""
        return self._lines("credentials")


def look_around(name: str, host: testinfra.host.Host, units: tuple[str, ...]) -> Surroundings:
    """Ask a host for its units, processes, sockets and SSH settings.

    Args:
        name: The host's name.
        host: testinfra's object for it.
        units: The contract's units.

    Raises:
        Inconclusive: The answer is missing or cut off.
    """
    quoted = " ".join(shlex.quote(unit) for unit in units)
    done = host.run(f"exec bash -c {shlex.quote(SCRIPT.read_text(encoding='utf-8'))} look-around.sh {quoted}")
    return read(name, str(done.stdout))


def read(host: str, output: str) -> Surroundings:
    """Read what `look-around.sh` printed.

    Raises:
        Inconclusive: The text is cut off, or has other text in it.
    """
    sections: dict[str, str] = {}
    lines = output.splitlines()
    if not lines or lines[-1] != "end":
        raise Inconclusive(f"{host}: the host's answer about its surroundings is cut off")
    for line in lines[:-1]:
        name, _, text = line.partition(" ")
        if name not in SECTIONS:
            raise Inconclusive(
                f"{host}: the host's answer about its surroundings has an unknown section: {line[:60]!r}"
            )
        try:
            sections[name] = base64.b64decode(text, validate=True).decode(errors="replace")
        except binascii.Error:
            raise Inconclusive(f"{host}: the host's answer about its {name} is not valid base64") from None
    return Surroundings(host, sections)


def fingerprint(key: str) -> str:
    """Return the fingerprint of a public key as OpenSSH prints it: its kind and `SHA256:` with the digest.

    Args:
        key: The line of a `.pub` file.
    """
    fields = key.split()
    try:
        digest = hashlib.sha256(base64.b64decode(fields[1], validate=True)).digest()
    except (IndexError, binascii.Error):
        return "no key"
    return f"{fields[0]} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def agents(around: Surroundings) -> Iterator[str]:
    """Yield the units, processes and store paths of AWS's agent on a host."""
    yield from sorted(f"unit {name}" for name in around.unit_names if AGENT.search(name))
    for process in around.processes:
        if AGENT.search(process.program) or AGENT.search(posixpath.basename(process.command.partition(" ")[0])):
            yield f"process {process.pid}, {process.program or process.command[:80]}"
    yield from sorted(f"{path} in the running system" for path in around.closure if AGENT.search(path))


def strangers(around: Surroundings, declared: Declared) -> Iterator[str]:
    """Yield every undeclared unit with a file from outside the running system."""
    closure = around.closure
    reported = set()
    folders = tuple(f"{folder.rstrip('/')}/" for folder in (*declared.unit_folders, *_GENERATED))
    for unit in around.units:
        if not unit.name.endswith(_KINDS) or matches(unit.name, (*declared.units, *_OWN)):
            continue
        if unit.transient:
            yield f"{unit.name}, a transient unit"
            continue
        if file := next((file for file in unit.files if not _belongs(file, closure, folders)), None):
            reported.add(unit.name)
            yield f"{unit.name} from {file}"
    for path, file in around.placed.items():
        name = posixpath.basename(path)
        mine = name in reported or matches(name, (*declared.units, *_OWN))
        if name.endswith(_KINDS) and not mine and not _belongs(file or path, closure, folders):
            yield f"{name} from {path}, which is not loaded"


def _belongs(file: str, closure: frozenset[str], folders: tuple[str, ...]) -> bool:
    """Whether a unit's file is in the running system, masks the unit, or lies in an allowed folder."""
    store = "/".join(file.split("/")[:4])
    return store in closure or file == "/dev/null" or file.startswith(folders)


def undeclared_listeners(around: Surroundings, declared: Declared, endpoints: tuple[str, ...]) -> list[str]:
    """Return every listening socket that is neither declared nor an endpoint of the contract."""
    tcp = (*declared.listeners, *endpoints)
    return [
        str(listener)
        for listener in around.listeners
        if not is_declared(listener.address, tcp if listener.protocol == "tcp" else declared.udp)
    ]


def password_ways(sshd: dict[str, str], root_login: str) -> list[str]:
    """Return every SSH server setting that allows a login without a key, or more root logins than declared.

    Raises:
        Inconclusive: The server reported no such setting, but not all settings that decide.
    """
    wanted = {"passwordauthentication": "no", "kbdinteractiveauthentication": "no", "permitemptypasswords": "no"}
    problems = [f"{key} {sshd[key]}" for key, value in wanted.items() if sshd.get(key, value) != value]
    stricter = {"no": 0, "forced-commands-only": 1, "prohibit-password": 2, "yes": 3}
    root = sshd.get("permitrootlogin", root_login).replace("without-password", "prohibit-password")
    if stricter.get(root, 3) > stricter[root_login]:
        problems.append(f"permitrootlogin {root}; {root_login} is declared")
    if not problems and (missing := [key for key in (*wanted, "permitrootlogin") if key not in sshd]):
        raise Inconclusive(f"the SSH server did not report {', '.join(missing)}")
    return problems
