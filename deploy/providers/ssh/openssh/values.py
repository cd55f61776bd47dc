"""Parses values of ssh_config directives: ports, flags, and paths with tokens."""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from switchproof.deploy.errors import UsageError

FLAG = {"yes": True, "true": True, "no": False, "false": False}
FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}


def read_port(text: str) -> int | None:
    """Read a port as a number or as a service's name."""
    if re.fullmatch(r"\+?[0-9]{1,9}", text, re.ASCII):
        number = int(text)
        return number if 0 < number < 2**16 else None
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, UnicodeError):
        return None


def expand_path(text: str, tokens: Mapping[str, str], where: str, name: str) -> str:
    """Expand `~`, environment variables and tokens in a path."""

    def variable(match: re.Match[str]) -> str:
        if (value := os.environ.get(match[1])) is None:
            raise UsageError(f"{where}: {name}: the environment variable {match[1]} is not set")
        return value

    whole = re.sub(r"\$\{([^}]*)\}", variable, _home(text, tokens["d"], where, name))
    if "${" in whole:
        raise UsageError(f"{where}: {name}: a variable is not closed with }} (found {text!r})")
    return expand(whole, tokens, where, name)


def _home(text: str, home: str, where: str, name: str) -> str:
    if not text.startswith("~"):
        return text
    whose, _, rest = text[1:].partition("/")
    try:
        folder = pwd.getpwnam(whose).pw_dir if whose else home
    except (KeyError, ValueError):
        raise UsageError(f"{where}: {name}: no user {whose!r} (found {text!r})") from None
    return f"{folder}/{rest}"


def expand(text: str, tokens: Mapping[str, str], where: str, name: str) -> str:
    """Replace tokens such as `%h` by their values."""

    def token(match: re.Match[str]) -> str:
        if (value := {**tokens, "%": "%"}.get(match[1])) is None:
            raise UsageError(f"{where}: {name}: the token {match[0]!r} is not supported")
        return value

    return re.sub(r"%(.?)", token, text, flags=re.DOTALL)


def shown(path: Path) -> str:
    """Return a path as a message shows it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
