"""Tools that deploy to hosts by themselves, and tools whose own files say what they change: by subcommand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from switchproof.deploy.paths.meaning import key_problem
from switchproof.deploy.paths.survey import Kind
from switchproof.deploy.paths.values import Values, is_known

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker

Subcommand = tuple[str, ...]
"""Arguments that follow each other, without options between them."""


class Tool(msgspec.Struct, frozen=True):
    """A tool that changes hosts.

    Attributes:
        changes: The subcommands that change hosts; empty if every call does.
        asks: The subcommands and options of those that only build, compare or ask.
        here: The subcommands that change the machine itself; with an empty one, all do, but with `--target-host`.
    """

    changes: tuple[Subcommand, ...] = ()
    asks: tuple[Subcommand, ...] = ()
    here: tuple[Subcommand, ...] = ()


def _each(*words: str) -> tuple[Subcommand, ...]:
    return tuple((word,) for word in words)


DEPLOYERS: dict[str, Tool] = {
    "cachix": Tool(changes=(("deploy", "activate"),)),
    "clan": Tool(changes=(("machines", "update"), ("machines", "install"))),
    "colmena": Tool(
        changes=_each("apply", "apply-local", "upload-keys"),
        asks=(("apply", "build"), ("apply", "push"), ("apply", "dry-activate")),
        here=_each("apply-local"),
    ),
    "deploy-rs": Tool(asks=_each("--dry-activate", "--help", "--version")),
    "krops": Tool(),
    "morph": Tool(changes=_each("deploy", "upload-secrets"), asks=_each("dry-activate", "--dry-run")),
    "nh": Tool(
        changes=(("os", "switch"), ("os", "boot"), ("os", "test"), ("os", "rollback")),
        asks=_each("--dry", "-n"),
        here=((),),
    ),
    "nixinate": Tool(),
    "nixops": Tool(
        changes=_each("deploy", "destroy", "reboot", "restore", "rollback", "start", "stop"),
        asks=_each("--dry-run", "--build-only"),
    ),
    "nixos-anywhere": Tool(asks=_each("--vm-test", "--help")),
    "nixos-container": Tool(changes=_each("update", "start", "stop", "restart"), here=((),)),
    "nixos-install": Tool(here=((),)),
    "kamal": Tool(
        asks=(
            *_each("audit", "build", "config", "details", "docs", "help", "init", "registry", "secrets", "version"),
            *_each("containers", "images", "logs", "status", "--help"),
        )
    ),
}
"""Tools that deploy to hosts, by their names."""

_WITH_VALUE = frozenset(
    {"--on", "--config", "-f", "--parallel", "--limit", "-p", "--eval-node-limit", "-I", "--nix-option"}
    | {"-H", "--hostname", "--target-host", "--build-host", "-s", "--specialisation", "-d", "--deployment"}
    | {"--include", "--exclude", "-n", "--namespace", "--context", "--kubeconfig", "--destination", "-c"}
)
"""Options of these tools that take a value."""

_NEW_INPUTS = {"nh": {"--update", "-u", "--update-input", "-U"}}
"""Options with which a tool takes new inputs."""

_RUN_ON_HOSTS = {"colmena": "exec", "morph": "exec", "nixops": "ssh"}
"""The subcommands that run any command on hosts."""

UNREAD: dict[str, tuple[Subcommand, ...]] = {
    "ansible": (("ping",), ("setup",), ("gather_facts",), ("--list-hosts",), ("--version",)),
    "ansible-playbook": _each("--check", "-C", "--syntax-check", "--list-hosts", "--list-tasks", "--list-tags"),
    "helm": _each("lint", "template", "list", "ls", "status", "show", "get", "history", "repo", "dependency"),
    "kubectl": _each("get", "describe", "logs", "diff", "explain", "version", "config", "top", "wait"),
    **dict.fromkeys(
        ("terraform", "tofu", "terragrunt"),
        _each("init", "plan", "fmt", "validate", "output", "show", "providers", "version", "graph", "-version"),
    ),
    "pulumi": _each("preview", "about", "whoami", "version", "logs"),
    "nomad": _each("plan", "status", "fmt", "version"),
    **dict.fromkeys(("pyinfra", "fab", "salt", "salt-ssh", "puppet", "bolt", "chef-client", "knife", "cap"), ()),
    **dict.fromkeys(("pssh", "parallel-ssh"), ()),
}
"""Programs that change hosts as their own files say, which are not read, with the arguments for only asking."""


def has_subcommand(words: Sequence[Values], wanted: Iterable[Subcommand]) -> bool | None:
    """Whether a call has one of these subcommands; None if the run determines it.

    Args:
        words: The arguments of the call.
        wanted: The subcommands; one that begins with a dash is an option.
    """
    plain = _positional(words)
    is_open = False
    for subcommand in wanted:
        if subcommand[0].startswith("-"):
            if any(word[0] == subcommand[0] for word in words):
                return True
            continue
        for at in range(len(plain) - len(subcommand) + 1):
            pairs = list(zip(subcommand, plain[at:], strict=False))
            if all(name in values for name, values in pairs):
                return True
            is_open |= at == 0 and all(name in values or not is_known(values[-1]) for name, values in pairs)
    return None if is_open else False


def _positional(words: Sequence[Values]) -> list[Values]:
    """Return the arguments that are neither options nor their values, up to a command for hosts."""
    rest, positional = list(words), []
    while rest and rest[0][0] != "--":
        word = rest.pop(0)
        if not word[0].startswith("-"):
            positional.append(word)
        elif word[0] in _WITH_VALUE:
            del rest[:1]
    return positional


def deployer(walker: Walker, call: Call) -> None:
    """Note a tool that deploys to hosts, unless the call only builds or asks."""
    tool = DEPLOYERS[call.name]
    run = _RUN_ON_HOSTS.get(call.name)
    if run and run in call.plain[:1]:
        _run_on_hosts(walker, call)
        return
    if has_subcommand(call.words, tool.asks):
        return
    for option in call.plain:
        if option in _NEW_INPUTS.get(call.name, ()):
            walker.trail.find(Kind.FLOATING, call.place, f"{call.name} {option} builds new, unreviewed inputs")
    changes = has_subcommand(call.words, tool.changes) if tool.changes else True
    if changes is None:
        walker.trail.unknown(call.place, f"the arguments of {call.name} are known only at run time")
    if not changes:
        return
    is_here = () in tool.here or has_subcommand(call.words, tool.here)
    if is_here and not call.option("--target-host"):
        walker.note_change(call, call.name)
        return
    walker.note_change(call, call.name, "ssh")
    note_options_of_hosts(walker)


def _run_on_hosts(walker: Walker, call: Call) -> None:
    if "--" not in call.plain:
        walker.trail.unknown(call.place, f"{call.name} {call.plain[0]} runs a command on hosts, which is not read")
        return
    there = replace(call, text=replace(call.text, provider="ssh"))
    walker.again(there, call.words[call.plain.index("--") + 1 :])


def note_options_of_hosts(walker: Walker) -> None:
    """Note each option of SSH in a Nix file that keeps a tool from checking host keys."""
    for path in walker.files.listing:
        if not path.endswith(".nix") or "sshOpt" not in (walker.files.text(path) or ""):
            continue
        for number, line in enumerate(walker.files.lines(path), 1):
            if (problem := key_problem(line)) and not line.lstrip().startswith("#"):
                walker.trail.find(Kind.HOST_KEY, walker.files.place(path, number), problem)


def unread(walker: Walker, call: Call) -> None:
    """Note a program that changes hosts as its own files say, unless the call only asks."""
    if not has_subcommand(call.words, UNREAD[call.name]) and not walker.vouches(call.name):
        walker.trail.unknown(call.place, f"{call.name} changes hosts with its own files, which are not read")
