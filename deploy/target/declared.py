"""The declarations of a target file about its hosts besides health, and about the cutover, as types (pure)."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from switchproof.deploy.target.table import Table

GroupName: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$(?!\n)", max_length=40)]
Socket: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(\*|\d{1,3}(\.\d{1,3}){3}(%[A-Za-z0-9._-]+)?|\[[0-9a-f:]+\](%[A-Za-z0-9._-]+)?):(\d{1,5}|\*)$(?!\n)"
    ),
]
Path: TypeAlias = Annotated[str, Meta(pattern=r"^/[^\x00-\x1f]*$(?!\n)")]
UnitPattern: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9:_.\\@*?-]+$(?!\n)", max_length=255)]
UserName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*\$?$(?!\n)", max_length=64)]
ServedUnit: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9:_.\\@/-]+$(?!\n)", max_length=255)]


class DeclaredFile(Table, frozen=True, kw_only=True):
    """A file of a host, with its owner and permissions.

    Attributes:
        path: Its absolute path.
        mode: Its permissions in octal digits, such as `0600`.
        user: Its owner.
        group: Its group.
    """

    path: Path
    mode: Annotated[str, Meta(pattern=r"^0?[0-7]{3,4}$(?!\n)")]
    user: UserName = "root"
    group: UserName = "root"

    @property
    def bits(self) -> int:
        """The permissions as a number."""
        return int(self.mode, 8)


class Declared(Table, frozen=True, kw_only=True):
    """The listeners, units, users and files of every host besides the contract's endpoints.

    An audit with --cutover finds all others.

    Attributes:
        listeners: Addresses of TCP listeners besides the endpoints, as `address:port`; `*` for any.
        udp: The same for UDP.
        root_login: How root may log in over SSH; a password is never allowed.
        units: Names of further allowed units outside the declared system; `*` and `?` as in a shell.
        unit_folders: Folders whose units belong to the system although it does not contain them.
        users: The user that the main process of each of the contract's units runs as.
        files: Files and their modes.
    """

    listeners: tuple[Socket, ...]
    udp: tuple[Socket, ...] = ()
    root_login: Literal["no", "prohibit-password", "forced-commands-only"] = "prohibit-password"
    units: tuple[UnitPattern, ...] = ()
    unit_folders: tuple[Path, ...] = ()
    users: dict[ServedUnit, UserName]
    files: Annotated[tuple[DeclaredFile, ...], Meta(min_length=1)]


class CutoverTerms(Table, frozen=True, kw_only=True):
    """The terms of the cutover.

    Attributes:
        before: The target file of the hosts that are left behind, relative to this one; by default `aws.toml`, or
            `lab-aws.toml` for the lab.
        staging: The group where a commit is proven first.
        production: The group that serves users.
        max_age: The greatest age of a record that proves something: a number and `m`, `h`, `d` or `w`.
        vouched: Names that the survey of the repository skips, because a person has reviewed them.
    """

    before: Annotated[str, Meta(min_length=1)] | None = None
    staging: GroupName = "staging"
    production: GroupName = "production"
    max_age: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}[mhdw]$(?!\n)")] = "7d"
    vouched: tuple[str, ...] = ()

    @property
    def longest(self) -> dt.timedelta:
        """`max_age` as a span of time."""
        unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[self.max_age[-1]]
        return dt.timedelta(**{unit: int(self.max_age[:-1])})


def undeclared(declared: Declared | None, units: tuple[str, ...]) -> str | None:
    """Return what a declaration lacks for an audit with --cutover; None if nothing.

    Args:
        declared: The declaration, if there is one.
        units: The contract's units.
    """
    if declared is None:
        return "declared: missing; --cutover compares hosts with this table"
    if missing := [unit for unit in units if unit not in declared.users]:
        return f"declared.users: missing {', '.join(missing)}; say which user each unit of the contract runs as"
    if strange := [unit for unit in declared.users if unit not in units]:
        return f"declared.users: {', '.join(strange)}: not a unit of the contract"
    return None


def is_declared(socket: str, allowed: tuple[str, ...]) -> bool:
    """Whether a socket is declared.

    Args:
        socket: Its address as `ss` writes it.
        allowed: The declared addresses.
    """
    address, _, port = socket.rpartition(":")
    for pattern in allowed:
        wanted, _, number = pattern.rpartition(":")
        if wanted in {"*", address} and number in {"*", port}:
            return True
    return False


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a unit's name matches one of some patterns."""
    for pattern in patterns:
        regex = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
        if re.fullmatch(regex, name):
            return True
    return False
