"""Reads the password of a login user from a variable, a file or a person at the terminal."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from pathlib import Path

from switchproof.deploy.errors import UsageError
from switchproof.deploy.redact.values import SHORTEST

_KEY = "ssh.become_password"
_LONGEST = 1024


def read_password(source: str, environ: Mapping[str, str], user: str) -> str:
    """Return the password that a target file's `ssh.become_password` names.

    Args:
        source: `env:NAME`, `file:PATH` or `prompt`.
        environ: The environment.
        user: Its user, for the prompt.

    Raises:
        UsageError: It is missing, readable by others, or not a valid password.
    """
    kind, _, name = source.partition(":")
    if kind == "env":
        value, where = environ.get(name, ""), f"the variable {name}"
    elif kind == "file":
        value, where = _of_file(Path(name).expanduser()), f"the file {name}"
    else:
        value, where = _ask(user), "what was typed"
    if not value:
        raise UsageError(f"{_KEY}: {where} is empty; it has to hold the password of {user}")
    if len(value) < SHORTEST or len(value) > _LONGEST or not value.isprintable():
        raise UsageError(
            f"{_KEY}: {where} cannot be used as a password; it must be one line of {SHORTEST} to {_LONGEST} "
            "characters, because a shorter one cannot be hidden without hiding ordinary text"
        )
    return value


def _of_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as opened:
            if os.fstat(opened.fileno()).st_mode & 0o077:
                raise UsageError(f"{_KEY}: {path} can be read by others; run chmod 600 {path}")
            return opened.read(_LONGEST + 2).removesuffix("\n")
    except OSError as error:
        raise UsageError(f"{_KEY}: {path} cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise UsageError(f"{_KEY}: {path} is not a text file") from error


def _ask(user: str) -> str:
    try:
        # Without a terminal, getpass would read a password with echo.
        with Path("/dev/tty").open("r+b", buffering=0):
            return getpass.getpass(f"Password of {user} on the hosts, for sudo: ")
    except (OSError, EOFError) as error:
        raise UsageError(
            f"{_KEY}: there is no terminal to ask on; name a variable (env:NAME) or a file (file:PATH) instead"
        ) from error
