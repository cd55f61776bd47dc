"""Reads the values of an ssh_config for one host, and refuses unsupported directives with file and line."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import msgspec

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.ssh.addresses import address_problem
from switchproof.deploy.providers.ssh.openssh.directives import ONLY
from switchproof.deploy.providers.ssh.openssh.jumps import JumpHost, read_jumps
from switchproof.deploy.providers.ssh.openssh.reading import Person, Reading, Setting
from switchproof.deploy.providers.ssh.openssh.values import FAMILIES, FLAG, expand_path, read_port


class HostConfig(msgspec.Struct, frozen=True):
    """The values of an ssh_config for one host.

    Attributes:
        hostname: The name or address to connect to.
        port: The port; None if the file says nothing.
        user: The user; None if the file says nothing.
        family: The address family to use.
        identity_files: Private keys, in order, also missing files.
        certificate_files: Certificates in addition to those beside a key.
        identities_only: Whether the agent may offer only keys that files name.
        identity_agent: The agent's socket; empty for no agent; None if the file says nothing.
        jumps: Jump hosts, the nearest first; None if the file says nothing.
        jumps_at: File and line of the jumps.
        host_key_alias: The host's name in known_hosts; empty for its own name.
        known_hosts: Files of host keys, also missing files.
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
    algorithms: dict[str, Setting] = msgspec.field(default_factory=dict)


def read_host(
    path: Path, host: str, *, user: str | None = None, port: int | None = None, default_user: str | None = None
) -> HostConfig:
    """Read the values of an ssh_config for a host.

    Args:
        path: The file.
        host: The host as the target file or a jump names it.
        user: The user, if another source gives it; the file does not change it then.
        port: The port, in the same way.
        default_user: The user for `Match user` if nothing names one; by default that of this process.

    Raises:
        UsageError: A directive is wrong or unsupported; the message names file and line.
    """
    person = Person.current()
    reading = Reading(host, person, user, default_user or person.name)
    reading.read(path, active=True)
    if reading.wants_final:
        reading.begin_final()
        reading.read(path, active=True)
    return _resolve(reading, port)


def _resolve(reading: Reading, port: int | None) -> HostConfig:
    """Convert directives to values: refuse unsupported ones, and replace tokens."""
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
    """Return the agent's socket by IdentityAgent; empty for no agent."""
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
    """Return the values of the tokens in file names."""
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
