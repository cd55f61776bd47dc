"""What is on a host beside what the contract looks at: what the host tells, as typed data."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.target.declared import Declared, is_declared, matches

if TYPE_CHECKING:
    import testinfra.host

SCRIPT = Path(__file__).parents[1] / "host" / "look-around.sh"
"""What is run on the host."""

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
"""What AWS's agent and its helpers are called, as units, programs and packages."""

_KINDS = (".service", ".socket", ".timer", ".path", ".automount")
_OWN = ("switchproof-*",)
"""What a run of ours leaves on a host for as long as it lasts."""

_GENERATED = ("/run/systemd/generator", "/run/systemd/generator.early", "/run/systemd/generator.late")


@dataclass(frozen=True)
class Unit:
    """A unit that systemd has loaded, and the files that it is made of: where each really is."""

    name: str
    files: tuple[str, ...]
    transient: bool


@dataclass(frozen=True)
class Process:
    """A process, and the program that it is."""

    pid: int
    program: str
    command: str


@dataclass(frozen=True)
class Listener:
    """A socket that takes connections or datagrams, and whose it is."""

    protocol: str
    address: str
    owner: str

    def __str__(self) -> str:
        return f"{self.protocol} {self.address} by {self.owner or 'the kernel'}"


@dataclass(frozen=True)
class Served:
    """A unit of the contract: who its main process runs as, None where it has none, and what in it is for AWS."""

    name: str
    user: str | None
    of_aws: tuple[str, ...]


class Surroundings:
    """What a host told. What it did not tell is inconclusive where it is asked for.

    Args:
        host: Its name.
        told: The text of each section.
    """

    def __init__(self, host: str, told: dict[str, str]) -> None:
        self._host = host
        self._told = told

    def _section(self, name: str) -> str:
        if name not in self._told:
            raise Inconclusive(f"{self._host}: the host did not tell its {name.replace('-', ' ')}")
        return self._told[name]

    def _lines(self, name: str) -> list[str]:
        return [line for line in self._section(name).splitlines() if line.strip()]

    @property
    def closure(self) -> frozenset[str]:
        """The store paths that the running system consists of."""
        found = frozenset(self._lines("closure"))
        if not found:
            raise Inconclusive(f"{self._host}: the closure of the running system is empty, which cannot be")
        return found

    @property
    def units(self) -> list[Unit]:
        """Every unit that is loaded."""
        real = dict(line.split("\t", 1) for line in self._lines("real-paths") if "\t" in line)
        found = []
        for block in self._section("units").split("\n\n"):
            said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            paths = [*said.get("FragmentPath", "").split(), *said.get("DropInPaths", "").split()]
            if said.get("LoadState") in {"loaded", "masked"} and "Id" in said:
                files = tuple(real.get(path) or path for path in paths)
                found.append(Unit(said["Id"], files, said.get("Transient") == "yes"))
        if not found:
            raise Inconclusive(f"{self._host}: the host named no unit, which cannot be")
        return found

    @property
    def unit_names(self) -> set[str]:
        """Every unit that is loaded or could be."""
        return {unit.name for unit in self.units} | set(self._lines("unit-files"))

    @property
    def placed(self) -> dict[str, str]:
        """Unit files that lie where an administrator or a program puts them, loaded or not, and what they lead to."""
        return dict(line.split("\t", 1) for line in self._lines("placed") if "\t" in line)

    @property
    def processes(self) -> list[Process]:
        """Every process."""
        found = [line.split("\t", 2) for line in self._lines("processes")]
        if not found:
            raise Inconclusive(f"{self._host}: the host named no process, which cannot be")
        return [Process(int(row[0]), row[1], row[2].strip()) for row in found if len(row) == 3]  # noqa: PLR2004

    @property
    def listeners(self) -> list[Listener]:
        """Every socket that takes connections or datagrams."""
        found = []
        for line in self._lines("sockets"):
            words = line.split(maxsplit=6)
            if len(words) < 6:  # noqa: PLR2004 - protocol, state, two queues, here, there, whose
                raise Inconclusive(f"{self._host}: no socket as ss tells it: {line[:80]!r}")
            owner = re.search(r'"([^"]*)"', words[6]) if len(words) > 6 else None  # noqa: PLR2004
            found.append(Listener(words[0], words[4], owner[1] if owner else ""))
        return found

    @property
    def sshd(self) -> dict[str, str]:
        """The SSH server's settings by keyword in lower case; OpenSSH 10.6 prints `PermitRootLogin`."""
        pairs = (line.partition(" ") for line in self._lines("sshd"))
        return {keyword.lower(): value for keyword, _, value in pairs}

    @property
    def host_keys(self) -> list[str]:
        """The fingerprints of the keys that the SSH server shows, as `kind SHA256:…`."""
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
        """Folders with AWS's credentials in somebody's home."""
        return self._lines("credentials")


def look_around(name: str, host: testinfra.host.Host, units: tuple[str, ...]) -> Surroundings:
    """Ask a host what there is on it.

    Args:
        name: The host's name.
        host: testinfra's words for it.
        units: The contract's units.

    Raises:
        Inconclusive: It did not say, or not whole.
    """
    quoted = " ".join(shlex.quote(unit) for unit in units)
    done = host.run(f"exec bash -c {shlex.quote(SCRIPT.read_text(encoding='utf-8'))} look-around.sh {quoted}")
    return read(name, str(done.stdout))


def read(host: str, output: str) -> Surroundings:
    """Read what `look-around.sh` printed.

    Raises:
        Inconclusive: It is not whole, or something else stands in it.
    """
    told: dict[str, str] = {}
    lines = output.splitlines()
    if not lines or lines[-1] != "end":
        raise Inconclusive(f"{host}: what the host tells of itself is cut off")
    for line in lines[:-1]:
        name, _, text = line.partition(" ")
        if name not in SECTIONS:
            raise Inconclusive(f"{host}: what the host tells of itself has something else in it: {line[:60]!r}")
        try:
            told[name] = base64.b64decode(text, validate=True).decode(errors="replace")
        except binascii.Error:
            raise Inconclusive(f"{host}: what the host tells of its {name} is spoilt") from None
    return Surroundings(host, told)


def fingerprint(key: str) -> str:
    """Name a public key as OpenSSH does: its kind and `SHA256:` with the digest in base 64.

    Args:
        key: As in a `.pub` file.
    """
    words = key.split()
    try:
        digest = hashlib.sha256(base64.b64decode(words[1], validate=True)).digest()
    except (IndexError, binascii.Error):
        return "no key"
    return f"{words[0]} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def agents(around: Surroundings) -> Iterator[str]:
    """Name everything of AWS's agent that is on a host: units, processes, members of the system's closure."""
    yield from sorted(f"unit {name}" for name in around.unit_names if AGENT.search(name))
    for process in around.processes:
        if AGENT.search(process.program) or AGENT.search(posixpath.basename(process.command.partition(" ")[0])):
            yield f"process {process.pid}, {process.program or process.command[:80]}"
    yield from sorted(f"{path} in the running system" for path in around.closure if AGENT.search(path))


def strangers(around: Surroundings, declared: Declared) -> Iterator[str]:
    """Name every unit that is made of files outside the running system and outside what is declared."""
    closure = around.closure
    told = set()
    folders = tuple(f"{folder.rstrip('/')}/" for folder in (*declared.unit_folders, *_GENERATED))
    for unit in around.units:
        if not unit.name.endswith(_KINDS) or matches(unit.name, (*declared.units, *_OWN)):
            continue
        if unit.transient:
            yield f"{unit.name}, which was made while the system ran"
            continue
        if file := next((file for file in unit.files if not _belongs(file, closure, folders)), None):
            told.add(unit.name)
            yield f"{unit.name} from {file}"
    for path, file in around.placed.items():
        name = posixpath.basename(path)
        mine = name in told or matches(name, (*declared.units, *_OWN))
        if name.endswith(_KINDS) and not mine and not _belongs(file or path, closure, folders):
            yield f"{name} from {path}, which is not loaded"


def _belongs(file: str, closure: frozenset[str], folders: tuple[str, ...]) -> bool:
    """Whether a unit's file is of the running system, leads to nothing, or is where the system's may be."""
    store = "/".join(file.split("/")[:4])
    return store in closure or file == "/dev/null" or file.startswith(folders)


def undeclared_listeners(around: Surroundings, declared: Declared, endpoints: tuple[str, ...]) -> list[str]:
    """Name every listening socket that is neither declared nor an endpoint of the contract."""
    tcp = (*declared.listeners, *endpoints)
    return [
        str(one)
        for one in around.listeners
        if not is_declared(one.address, tcp if one.protocol == "tcp" else declared.udp)
    ]


def password_ways(sshd: dict[str, str], root_login: str) -> list[str]:
    """Name every setting of an SSH server that lets somebody in without a key, or root in otherwise than declared.

    Raises:
        Inconclusive: The server named no such setting, but it did not name all that decide.
    """
    wanted = {"passwordauthentication": "no", "kbdinteractiveauthentication": "no", "permitemptypasswords": "no"}
    found = [f"{key} {sshd[key]}" for key, value in wanted.items() if sshd.get(key, value) != value]
    stricter = {"no": 0, "forced-commands-only": 1, "prohibit-password": 2, "yes": 3}
    root = sshd.get("permitrootlogin", root_login).replace("without-password", "prohibit-password")
    if stricter.get(root, 3) > stricter[root_login]:
        found.append(f"permitrootlogin {root}; {root_login} is declared")
    if not found and (missing := [key for key in (*wanted, "permitrootlogin") if key not in sshd]):
        raise Inconclusive(f"the SSH server did not report {', '.join(missing)}")
    return found
