"""Programs without a handler that run on a host: whether they change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchproof.deploy.paths.meaning import PASSING
from switchproof.deploy.paths.programs import docker
from switchproof.deploy.paths.values import shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.readers.shell import Command
    from switchproof.deploy.paths.survey import Place
    from switchproof.deploy.paths.walk import Walker

_HERE = frozenset({"local", "lab"})
"""Providers whose host is the machine that runs the entry point, or a lab."""

_HARMLESS = frozenset(
    {"set", "export", "unset", "local", "declare", "typeset", "readonly", "return", "exit", "true", "false", ":"}
    | {"[[", "shift", "read", "wait", "sleep", "umask", "date", "hostname", "hostnamectl", "uname", "whoami", "id"}
    | {"uptime", "head", "tail", "sed", "awk", "cut", "tr", "sort", "uniq", "wc", "jq", "mkdir"}
    | {"stat", "readlink", "realpath", "basename", "dirname", "mktemp", "base64", "gzip"}
    | {"zcat", "sha256sum", "diff", "cmp", "journalctl", "ss", "netstat", "curl", "wget", "nc"}
    | {"ncat", "df", "du", "free", "ps", "lsof", "dmesg", "logger", "seq", "let", "break", "continue", "getopts"}
    | {"printenv", "tty", "nproc", "lsblk", "findmnt", "mountpoint", "ip", "ping", "dig", "getent", "nixos-version"}
    | {"nix-store", "nix-instantiate", "nix-build", "timedatectl", "loginctl", "systemd-cgls"}
    | {"popd", "jobs", "bg", "fg", "alias", "shopt"}
)
"""Programs that neither switch a host nor change its services; any other one is not understood."""

_WRITES = frozenset({"cp", "mv", "ln", "install", "rm", "rmdir", "tee", "touch", "chmod", "chown", "tar", "gunzip"})
"""Programs that change files, which a service of the host may use."""
_INSTALLERS = frozenset({"pip", "pip3", "brew"})
_CHANGES = frozenset(
    {"pm2", "supervisorctl", "reboot", "shutdown", "poweroff"}
    | {"apt", "apt-get", "dnf", "yum", "apk", "pacman", "dpkg", "rpm", "snap", "initctl", "rc-service", "sv", "mount"}
    | {"umount", "dd", "mkfs", "insmod", "modprobe", "sysctl", "iptables", "nft", "crontab", "systemd-nspawn"}
)
"""Programs that change the host on which they run, unless they only ask."""
_ASKING = frozenset(
    {"ps", "images", "logs", "inspect", "info", "version", "stats", "top", "port", "ls", "list", "status", "show"}
    | {"config", "events", "history", "search", "policy", "-l", "--list", "--version", "--help"}
)
"""Arguments with which those only ask."""


def settles(walker: Walker, call: Call) -> bool:
    """Note a program that changes the host on which it runs, or files there.

    Returns:
        Whether it was such a program.
    """
    if call.name in docker.PROGRAMS:
        return docker.settles(walker, call)
    if call.text.provider in _HERE:
        return False
    if call.name in _INSTALLERS:
        installs(walker, call)
        return True
    if call.name in _CHANGES:
        if not _ASKING & set(call.plain):
            walker.note_change(call, call.name)
        return True
    if call.name not in _WRITES or walker.vouches(call.name):
        return False
    lasting = [word for word in call.plain if word.startswith("/") and not word.startswith(PASSING)]
    if lasting:
        walker.trail.unknown(call.place, f"it is unknown what {call.name} does with {shown(lasting[-1])} there")
    return True


def note_written(walker: Walker, command: Command, place: Place) -> None:
    """Note each file of the host that the shell there writes a command's output to."""
    for file in command.writes:
        if file[0].startswith(("/", "~")) and not file[0].startswith(PASSING):
            walker.trail.unknown(place, f"it is unknown what {shown(file[0])} does there, which is written")


def installs(walker: Walker, call: Call) -> None:
    """Note an installer of packages for one language, which changes what a program on a host loads."""
    if call.text.provider not in _HERE and not _ASKING & set(call.plain) and not walker.vouches(call.name):
        walker.trail.unknown(call.place, f"it is unknown what {call.name} changes on the host")


def question(walker: Walker, call: Call) -> None:
    """Note a program on a host if it is unknown whether it changes the host."""
    if call.text.provider not in _HERE and call.name not in _HARMLESS and not walker.vouches(call.name):
        walker.trail.unknown(call.place, f"it is unknown what {shown(call.name)} does on the host")
