"""The provider `ssh` in target files: its table, the keys of its hosts, and its rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from switchproof.deploy.connection import Provider
from switchproof.deploy.providers.kind import Kind, Opening
from switchproof.deploy.providers.ssh.addresses import address_problem
from switchproof.deploy.providers.ssh.host_key import host_key_problem
from switchproof.deploy.target.table import Table
from switchproof.deploy.target.types import Port, PositiveSeconds, Target

HostKey: TypeAlias = Annotated[
    str, Meta(pattern=r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/=]+( .*)?$")
]
PASSWORD = "ssh.become_password"  # noqa: S105 - the key, under which it is known as a secret
_SOURCE = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f]+|prompt)$(?!\n)"
PasswordSource: TypeAlias = Annotated[str, Meta(pattern=_SOURCE)]
_EXAMPLE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


class Jump(Table, frozen=True, kw_only=True):
    """A jump host on the way to the hosts."""

    address: Annotated[str, Meta(min_length=1)]
    port: Port = 22
    user: str = "root"
    host_keys: tuple[HostKey, ...] = ()


class Ssh(Table, frozen=True, kw_only=True):
    """The settings for hosts over SSH.

    Attributes:
        user: The login user, if neither the host nor the ssh_config names one.
        port: The port, in the same case.
        identity_files: Private keys to offer. `~` is expanded.
        agent: Whether keys of the SSH agent are offered.
        config: An ssh_config, read like `ssh -F`; docs/ssh.md lists the directives.
        known_hosts: A known_hosts file that pins host keys in addition to those of the target file.
        jump: A jump host.
        become: The program with which a login user other than root becomes root. `run0` and `doas` must ask for no
            password.
        become_password: The source of the password for sudo: `env:NAME`, `file:PATH` or `prompt`.
        connect_timeout_s: Seconds for each step of connecting, and for becoming root.
        keepalive_s: Seconds between keep-alive messages.
    """

    user: str = "root"
    port: Port = 22
    identity_files: tuple[str, ...] = ()
    agent: bool = False
    config: str | None = None
    known_hosts: str | None = None
    jump: Jump | None = None
    become: Literal["sudo", "run0", "doas"] | None = None
    become_password: PasswordSource | None = None
    connect_timeout_s: PositiveSeconds = 15.0
    keepalive_s: PositiveSeconds = 10.0


class SshHost(Table, frozen=True, kw_only=True):
    """The keys of a host over SSH.

    Attributes:
        address: Name or address to connect to; unused by the providers `local` and `lab`.
        host_keys: Its public host keys; more than one while a key is being replaced.
    """

    address: Annotated[str, Meta(min_length=1)] | None = None
    port: Port | None = None
    user: str | None = None
    host_keys: tuple[HostKey, ...] = ()


def _find_problems(target: Target, is_own: bool) -> Iterator[str]:
    ssh = target.table(Ssh)
    if ssh.become_password and ssh.become != "sudo":
        actual = f"ssh.become is {ssh.become!r}" if ssh.become else "ssh.become is missing"
        yield f'ssh.become_password: a password is only given to sudo, and {actual}; set become = "sudo"'
    called = f"provider {target.provider!r}" if target.provider else f"transport {target.transport!r}"
    for index, host in enumerate(target.hosts):
        key, keys = f"hosts[{index}]", host.part(SshHost)
        if is_own and keys.address is None:
            yield f"{key}.address: missing; {called} connects over SSH and needs one"
        if not is_own and keys.address is not None:
            yield f"{key}.address: {called} does not use addresses; remove it (found {keys.address!r})"
        if keys.address is not None and (problem := address_problem(keys.address)):
            yield f"{key}.address: {problem}"
        if is_own and not (keys.host_keys or ssh.known_hosts or ssh.config):
            yield f"{key}.host_keys: missing; pin the host's key here or in ssh.known_hosts"
        yield from _host_key_problems(f"{key}.host_keys", keys.host_keys)
    yield from _find_problems_of_builders(target, is_own)
    if ssh.jump:
        if problem := address_problem(ssh.jump.address):
            yield f"ssh.jump.address: {problem}"
        yield from _host_key_problems("ssh.jump.host_keys", ssh.jump.host_keys)


def _find_problems_of_builders(target: Target, is_own: bool) -> Iterator[str]:
    ssh = target.table(Ssh)
    for index, builder in enumerate(target.builders):
        key, keys = f"builders[{index}]", builder.part(SshHost)
        if is_own and keys.address is None:
            yield f"{key}.address: missing; a builder is reached over SSH"
        if keys.address is not None and (problem := address_problem(keys.address)):
            yield f"{key}.address: {problem}"
        if is_own and not (keys.host_keys or ssh.known_hosts or ssh.config):
            yield f"{key}.host_keys: missing; pin the builder's key here or in ssh.known_hosts"
        yield from _host_key_problems(f"{key}.host_keys", keys.host_keys)


def _host_key_problems(key: str, host_keys: Sequence[str]) -> Iterator[str]:
    for index, text in enumerate(host_keys):
        if problem := host_key_problem(text):
            yield (
                f"{key}[{index}]: {problem} (found {text[:60]!r}); copy the whole line of the host's "
                "/etc/ssh/ssh_host_ed25519_key.pub"
            )


def _open(target: Target, opening: Opening) -> Provider:
    from switchproof.deploy.providers.ssh.loading import load_paramiko

    load_paramiko()
    from switchproof.deploy.providers.ssh.provider import SshProvider

    return SshProvider(target, opening.say, opening.secrets.get(PASSWORD, ""))


def _read_secrets(target: Target, environ: Mapping[str, str]) -> dict[str, str]:
    source = target.table(Ssh).become_password
    if source is None:
        return {}
    from switchproof.deploy.providers.ssh.loading import load_paramiko

    load_paramiko()
    from switchproof.deploy.providers.ssh.auth.password import read_password
    from switchproof.deploy.providers.ssh.provider import sudo_users

    users = sudo_users(target)
    return {PASSWORD: read_password(source, environ, ", ".join(users))} if users else {}


SSH = Kind(
    name="ssh",
    providers=("ovh",),
    is_transport=True,
    table=Ssh,
    host=SshHost,
    find_problems=_find_problems,
    patterns={
        r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/=]+( .*)?$": (
            "a public host key, as in /etc/ssh/ssh_host_ed25519_key.pub",
            _EXAMPLE,
        ),
        _SOURCE: ("env:NAME, file:PATH or prompt", "env:DEPLOY_SUDO_PASSWORD"),
    },
    stand_ins={"address": "host.example", "host_keys": _EXAMPLE},
    open=_open,
    read_secrets=_read_secrets,
    label="SSH",
    is_early=True,
)
