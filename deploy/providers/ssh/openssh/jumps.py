"""Reads the hosts of a ProxyJump: `user@host:port`, `[::1]:port` or `ssh://…`, with commas between (pure)."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.ssh.addresses import address_problem

_PLACE = re.compile(r"(?:\[(?P<literal>[^\[\]]+)\]|(?P<name>[^:/\[\]]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


class JumpHost(msgspec.Struct, frozen=True):
    """A jump host; `user` and `port` are None if the value does not give them."""

    host: str
    user: str | None = None
    port: int | None = None


def read_jumps(value: str, where: str) -> tuple[JumpHost, ...]:
    """Read the value of a ProxyJump, the nearest host first; empty for `none`.

    Raises:
        UsageError: The value is wrong; the message names file and line.
    """
    if value.lower() == "none":
        return ()
    return tuple(_read(jump, where) for jump in value.split(","))


def _read(text: str, where: str) -> JumpHost:
    is_uri = text.lower().startswith("ssh://")
    user, at, place = (text[len("ssh://") :].removesuffix("/") if is_uri else text).rpartition("@")
    if is_uri:
        user = unquote(user.partition(";")[0])
    match = _PLACE.fullmatch(place)
    port = int(match["port"]) if match and match["port"] else None
    if not match or (at and not user) or (port is not None and not 0 < port < 2**16):
        raise UsageError(f"{where}: ProxyJump: {text!r} is not of the form [user@]host[:port]")
    host = match["literal"] or match["name"]
    if problem := address_problem(host):
        raise UsageError(f"{where}: ProxyJump: {problem}")
    if not user.isprintable():
        raise UsageError(f"{where}: ProxyJump: not a user's name (found {user!r})")
    return JumpHost(host, user or None, port)
