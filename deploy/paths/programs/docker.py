"""Docker and its relatives: the host whose containers a call changes, and whether it changes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchproof.deploy.paths.values import Values, is_known, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker

PROGRAMS = frozenset({"docker", "docker-compose", "podman", "podman-compose"})

_WITH_VALUE = frozenset(
    {"-H", "--host", "--context", "-c", "--config", "-l", "--log-level", "--tlscacert", "--tlscert", "--tlskey"}
    | {"-f", "--file", "-p", "--project-name", "--project-directory", "--env-file", "--profile", "--progress"}
    | {"--ansi", "--parallel", "--url", "--connection"}
)
"""Options that take a value and stand before a subcommand."""
_GROUPS = frozenset(
    {"builder", "buildx", "compose", "config", "container", "context", "image", "manifest", "network", "node"}
    | {"plugin", "secret", "service", "stack", "swarm", "system", "volume"}
)
"""Subcommands that have subcommands of their own."""
_ASKING = frozenset(
    {"attach", "build", "config", "df", "diff", "events", "export", "help", "history", "images"}
    | {"info", "inspect", "list", "login", "logout", "logs", "ls", "port", "ps", "push", "save", "search", "show"}
    | {"stats", "tag", "top", "version", "wait", "--help", "--version", ""}
)
"""Subcommands that change no container of the host."""
_HERE = re.compile(r"unix:|npipe:|fd:|tcp://(docker|localhost|127\.0\.0\.1|\[::1\])(:|/|\Z)")
"""Addresses of the daemon of this machine, or of a CI job's own service."""


def settles(walker: Walker, call: Call) -> bool:
    """Note a call that changes the containers of a host.

    Returns:
        Whether the call concerns a host; otherwise it concerns the machine that runs the entry point.
    """
    group, verb = _subcommand(call.plain)
    if group == "context":
        if verb == "use":
            call.scope.variables["DOCKER_CONTEXT"] = call.words[-1]
        return False
    is_host = call.text.provider not in {"local", "lab"} or walker.trail.deploys_to_runner
    provider = None if is_host else _elsewhere(call)
    if not is_host and provider is None:
        return False
    if verb in _ASKING:
        return True
    if provider is None or is_known(provider):
        walker.note_change(call, call.name, None if provider is None else "ovh" if "ovh" in provider else "ssh")
    else:
        walker.trail.unknown(
            call.place, f"{call.name} changes containers on {shown(provider)}, which is known only at run time"
        )
    return True


def _subcommand(words: list[str]) -> tuple[str, str]:
    """Return the group, which is empty for most subcommands, and the subcommand."""
    names: list[str] = []
    rest = list(words)
    while rest and len(names) < 2:  # noqa: PLR2004 - a group and its subcommand
        word = rest.pop(0)
        if word in {"--help", "--version"}:
            names.append(word)
        elif word.startswith("-"):
            if word in _WITH_VALUE and rest:
                rest.pop(0)
        else:
            names.append(word)
            if names[0] not in _GROUPS:
                break
    if names and names[0] in _GROUPS:
        return names[0], names[1] if names[1:] else ""
    return "", names[0] if names else ""


def _elsewhere(call: Call) -> str | None:
    """Return the other host that a call addresses; None if it stays on this machine."""
    addresses = (*(call.option("-H", "--host", "--url") or _variable(call, "DOCKER_HOST")),)
    for address in addresses:
        if address and not _HERE.match(address):
            return address
    if addresses:
        return None
    contexts = call.option("--context", "--connection") or _variable(call, "DOCKER_CONTEXT")
    return next((context for context in contexts if context not in {"", "default"}), None)


def _variable(call: Call, name: str) -> Values:
    return call.command.assigned.get(name) or call.scope.variables.get(name) or ()
