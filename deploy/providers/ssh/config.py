"""Read what an ssh_config sets for one host; refuse unsupported directives with file and line."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.ssh.addresses import address_problem
from switchproof.deploy.providers.ssh.directives import ONLY
from switchproof.deploy.providers.ssh.jumps import JumpHost, read_jumps
from switchproof.deploy.providers.ssh.reading import Person, Reading, Setting
from switchproof.deploy.providers.ssh.values import FAMILIES, FLAG, expand_path, read_port


@dataclass(frozen=True)
class HostConfig:
    """What an ssh_config says about one host.

    Attributes:
        hostname: The name or address to connect to.
        port: The port; None if the file says nothing.
        user: The user; None if the file says nothing.
        family: What addresses may be used.
        identity_files: Private keys, in order, also those that do not exist.
        certificate_files: Certificates beside those that lie next to a key.
        identities_only: Whether the agent may offer only keys that are named as files.
        identity_agent: The agent's socket; empty if no agent may be asked; None if the file says nothing.
        jumps: Hosts on the way, the nearest first; None if the file says nothing.
        jumps_at: File and line of the jumps.
        host_key_alias: The name that known_hosts has for the host; empty if it is the host's own.
        known_hosts: Files of host keys that are named, also those that do not exist.
        algorithms: Lists of algorithms by directive in lower case.
    """

    hostname: str
    port: int | None = None
    user: str | None = None
    family: socket.AddressFamily = socket.AF_UNSPEC
    identity_files: tuple[Path, ...] = ()
    certificate_files: tuple[Path, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None
    jumps: tuple[JumpHost, ...] | None = None
    jumps_at: str = ""
    host_key_alias: str = ""
    known_hosts: tuple[Path, ...] = ()
    algorithms: dict[str, Setting] = field(default_factory=dict)


def read_host(
    path: Path, host: str, *, user: str | None = None, port: int | None = None, default_user: str | None = None
) -> HostConfig:
    """Read what an ssh_config says about a host.

    Args:
        path: The file.
        host: The host as the target file or a jump names it.
        user: The user, if it was given otherwise; the file does not change it then.
        port: The port, likewise.
        default_user: Whom `Match user` sees where nothing names a user; else the user of this process.

    Raises:
        UsageError: Names the file, the line and the directive that is wrong or not supported.
    """
    person = Person.current()
    reading = Reading(host, person, user, default_user or person.name)
    reading.read(path, active=True)
    if reading.wants_final:
        reading.begin_final()
        reading.read(path, active=True)
    return _resolve(reading, port)


def _resolve(reading: Reading, port: int | None) -> HostConfig:
    """Turn what was read into values: refuse what is not supported, put in the values of tokens."""
    first = reading.first
    for keyword, (name, harmless) in ONLY.items():
        if (setting := first.get(keyword)) and not re.fullmatch(harmless, setting.text, re.IGNORECASE):
            raise UsageError(
                f"{setting.where}: {name}: not supported (found {setting.text!r}); it changes where or how ssh "
                "connects, so it is not ignored"
            )
    hostname = reading.lookup_name
    if (setting := first.get("hostname")) and (problem := address_problem(hostname)):
        raise UsageError(f"{setting.where}: HostName: {problem}")
    if port is None and "port" in first:
        port = read_port(first["port"].text)
    user = reading.user() if reading.given_user or "user" in first else None
    tokens = _tokens(reading, hostname, port)

    def files(settings: list[Setting], name: str) -> tuple[Path, ...]:
        words = [(word, setting.where) for setting in settings for word in setting.words]
        named = [(word, where) for word, where in words if word.lower() != "none"]
        return tuple(dict.fromkeys(Path(expand_path(word, tokens, where, name)) for word, where in named))

    pins = [first[name] for name in ("userknownhostsfile", "globalknownhostsfile") if name in first]
    agent = first.get("identityagent")
    jumps = first.get("proxyjump")
    return HostConfig(
        hostname=hostname,
        port=port,
        user=_user_name(user, first["user"].where) if user and not reading.given_user else user,
        family=FAMILIES[first["addressfamily"].text.lower()] if "addressfamily" in first else socket.AF_UNSPEC,
        identity_files=files(reading.repeated.get("identityfile", []), "IdentityFile"),
        certificate_files=files(reading.repeated.get("certificatefile", []), "CertificateFile"),
        identities_only="identitiesonly" in first and FLAG[first["identitiesonly"].text.lower()],
        identity_agent=None if agent is None else _agent(agent, tokens),
        jumps=None if jumps is None else read_jumps(jumps.text, jumps.where),
        jumps_at=jumps.where if jumps else "",
        host_key_alias=first["hostkeyalias"].text if "hostkeyalias" in first else "",
        known_hosts=files(pins, "UserKnownHostsFile"),
        algorithms={
            name: first[name] for name in ("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms") if name in first
        },
    )


def _user_name(user: str, where: str) -> str:
    if not user.isprintable() or "%" in user:
        raise UsageError(f"{where}: User: not a user's name (found {user!r})")
    return user


def _agent(setting: Setting, tokens: dict[str, str]) -> str:
    """Return the socket of the agent that IdentityAgent names, empty for none."""
    value = setting.text
    if value.lower() == "none":
        return ""
    if value == "SSH_AUTH_SOCK" or re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", value):
        name = value.removeprefix("$")
        if socket_path := os.environ.get(name):
            return socket_path
        raise UsageError(f"{setting.where}: IdentityAgent: the environment variable {name} is not set")
    return expand_path(value, tokens, setting.where, "IdentityAgent")


def _tokens(reading: Reading, hostname: str, port: int | None) -> dict[str, str]:
    """Return the values of the tokens that stand in names of files."""
    local = socket.gethostname()
    alias = reading.first.get("hostkeyalias")
    return {
        "d": reading.person.home,
        "h": hostname,
        "i": str(reading.person.uid),
        "k": alias.text if alias else reading.original,
        "L": local.partition(".")[0],
        "l": local,
        "n": reading.original,
        "p": str(port or 22),
        "r": reading.user(),
        "u": reading.person.name,
    }
