"""Prints the smallest rule with which sudo lets the login users of a target file run a deploy."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import UsageError

_USER = r"[A-Za-z_][A-Za-z0-9_.-]{0,31}"
_HEAD = """\
# One command suffices for every run. It is root: what it runs comes over the connection.
"""


def main(argv: Sequence[str]) -> int:
    """Print the rule.

    Args:
        argv: The command line after `switchproof sudoers`.

    Returns:
        0, or 4 if the target file cannot be used or no login user becomes root with sudo.
    """
    parser = Parser(prog="switchproof sudoers", description="Print the sudoers rule that a target file's users need.")
    parser.add_argument("file", type=Path, help="a target file")
    parser.add_argument("--nixos", action="store_true", help="print it as a NixOS module")
    arguments = parser.parse_args(list(argv))
    from switchproof.deploy.providers import load
    from switchproof.deploy.providers.aws.table import Ssm
    from switchproof.deploy.providers.ssh.loading import load_paramiko

    try:
        target = load(arguments.file, os.environ, ())
        through_ssm = target.table(Ssm).user
        load_paramiko()
        from switchproof.deploy.providers.ssh.provider import sudo_users
        from switchproof.deploy.providers.ssh.table import Ssh

        users = [through_ssm] if through_ssm else sudo_users(target)
    except UsageError as error:
        print(f"switchproof sudoers: {error}", file=sys.stderr)
        return ExitCode.USAGE
    if odd := [user for user in users if not re.fullmatch(_USER, user)]:
        print(f"switchproof sudoers: {arguments.file}: {odd[0]!r} is not a user's name", file=sys.stderr)
        return ExitCode.USAGE
    if not users:
        print(
            f'switchproof sudoers: {arguments.file}: no login user needs sudo; set ssh.become = "sudo", and '
            "ssh.user or hosts.user to a user other than root; or, for instances of AWS, set ssm.user",
            file=sys.stderr,
        )
        return ExitCode.USAGE
    write = _module if arguments.nixos else _rules
    sys.stdout.write(write(users, asks=target.table(Ssh).become_password is not None))
    return 0


def _rules(users: Iterable[str], *, asks: bool) -> str:
    """Write the rules as a file of /etc/sudoers.d."""
    tag = "" if asks else "NOPASSWD: "
    return _HEAD + "".join(f"{user} ALL=(root) {tag}{_command()}\n" for user in users)


def _module(users: Iterable[str], *, asks: bool) -> str:
    """Write the rules as a NixOS module."""
    names = " ".join(f'"{user}"' for user in users)
    options = "" if asks else ' options = [ "NOPASSWD" ];'
    return (
        f'{_HEAD}{{\n  security.sudo.extraRules = [\n    {{\n      users = [ {names} ];\n      runAs = "root";\n'
        f'      commands = [ {{ command = "{_command()}";{options} }} ];\n    }}\n  ];\n}}\n'
    )


def _command() -> str:
    from switchproof.deploy.providers.elevation import ELEVATED

    return " ".join(ELEVATED)
