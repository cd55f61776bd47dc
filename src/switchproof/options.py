"""Declares the options of a deploy and of a trial, beside those of other plugins."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import pytest

TRIGGERS = ("--provider", "--subject")
"""Options that make a session a deploy or a trial; without them every other option of ours is refused."""


def is_asked(argv: Sequence[str]) -> bool:
    """Whether a command line asks for a deploy or a trial, unless its options belong to another plugin."""
    before = argv[: argv.index("--")] if "--" in argv else argv
    return any(word.partition("=")[0] in TRIGGERS for word in before)


def register(parser: pytest.Parser) -> tuple[str, ...]:
    """Register the options with pytest, after those of every other plugin and `conftest.py`.

    An option that another plugin has registered stays that plugin's. If that is `--provider` or `--subject`, none of
    ours is registered, because the command line is not meant for us.

    Returns:
        The options of ours that belong to another plugin.
    """
    group = parser.getgroup("switchproof", "deploy a revision to NixOS hosts and prove the contract")
    declared: list[tuple[str, dict[str, object]]] = []
    declare(lambda name, **details: declared.append((name, details)))
    triggers = [each for each in declared if each[0] in TRIGGERS]
    if taken := tuple(_add(group, triggers)):
        return taken
    return tuple(_add(group, (each for each in declared if each not in triggers)))


def _add(group: pytest.OptionGroup, options: Iterable[tuple[str, dict[str, object]]]) -> Iterator[str]:
    """Add options to a group; yield those whose names, or whose values' names, another plugin uses."""
    for name, details in options:
        try:
            group.addoption(name, **details)
        except (ValueError, argparse.ArgumentError):
            yield name


def belongs_to_others(foreign: Collection[str]) -> bool:
    """Whether the options that make a session a deploy or a trial are another plugin's."""
    return not set(TRIGGERS).isdisjoint(foreign)


def refuse_alone(config: pytest.Config, foreign: Collection[str]) -> None:
    """Refuse options of a deploy in a session that is not one.

    Args:
        config: Of pytest.
        foreign: Options that belong to another plugin.

    Raises:
        pytest.UsageError: Names what is missing.
    """
    stray: list[str] = []

    def compare(name: str, **details: object) -> None:
        default = details.get("default", False if details.get("action") == "store_true" else None)
        if name not in foreign and getattr(config.option, dest(name), default) != default:
            stray.append(name)

    declare(compare)
    if stray:
        raise pytest.UsageError(f"--provider=P is missing: it says where the hosts are (found {', '.join(stray)})")


def dest(name: str) -> str:
    """Return the name under which the value of an option is kept."""
    return name.removeprefix("--").replace("-", "_")


def join_values(argv: Sequence[str]) -> list[str]:
    """Return a command line on which `--option VALUE` is `--option=VALUE`, for every option of a deploy."""
    takes_value: set[str] = set()
    declare(lambda name, **details: takes_value.add(name) if details.get("action") != "store_true" else None)
    joined, rest = list[str](), list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*joined, word, *rest]
        if word in takes_value and rest and not rest[0].startswith("-"):
            word = f"{word}={rest.pop(0)}"
        joined.append(word)
    return joined


def declare(add: Callable[..., None]) -> None:
    """Declare each option to a function that takes what `argparse` takes."""
    add(
        "--provider",
        metavar="P",
        help="where the hosts are: lab, local, or a target file's name",
    )
    add(
        "--sha",
        metavar="REV",
        help="the revision: a full or short commit, a branch or a tag; an audit checks that hosts run it",
    )
    add("--audit", action="store_true", help="verify only; changes nothing on any host")
    add("--plan", action="store_true", help="show what would change; changes nothing")
    add("--preflight", action="store_true", help="show what would keep a deploy from beginning; changes nothing")
    add(
        "--rollback",
        nargs="?",
        const="",
        metavar="GENERATION|REV",
        help="go back to an earlier system and verify it (default: the last one that a canonical run left)",
    )
    add(
        "--drill",
        nargs="?",
        const="orderly",
        choices=("orderly", "dead-man"),
        help="deploy, go back and deploy again; dead-man: the hosts go back by themselves (default: orderly)",
    )
    add("--targets", metavar="FILE", help="the target file (default: deploy/targets/<provider>.toml)")
    add(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host of the target file, a glob or @group; repeatable",
    )
    add(
        "--on-failure",
        choices=("rollback", "keep"),
        default="rollback",
        help="what to do with a changed host that fails (default: rollback)",
    )
    add(
        "--build",
        metavar="WHERE",
        help="where systems are built: host, runner, or a host's or builder's name (default: build.on of the target "
        "file)",
    )
    add("--source", metavar="DIR", help="send the commit from this clone; the hosts fetch nothing")
    add("--dirty", action="store_true", help="with --source: its working tree as it is; the run is inconclusive")
    add("--take-lock", action="store_true", help="take over the lock of a run that has not begun to switch")
    add(
        "--soak",
        type=float,
        metavar="SECONDS",
        help="how long hosts must stay healthy (default: health.soak_s of the target file)",
    )
    add(
        "--report-dir",
        metavar="DIR",
        help="where to make the run's folder (default: reports/runs; of a trial: reports/trials)",
    )
    add(
        "--keep-runs", type=int, metavar="N", help="at the end, keep only the newest N runs there (default: keep all)"
    )
    add("--lab-keep", action="store_true", help="leave the lab's hosts running")
    shapes = "the shape of the lab's hosts: ovh over SSH, aws through a stand-in for SSM (default: ovh)"
    add("--shape", choices=("ovh", "aws"), default="ovh", help=shapes)
    add(
        "--parallel",
        type=int,
        metavar="N",
        help="how many hosts an audit connects to at the same time (default: 64)",
    )
    add("--shard", metavar="K/N", help="audit only part K of N of the hosts; `switchproof reports merge` joins them")
    add(
        "--sign-key",
        metavar="FILE",
        help="sign the run at its end: a private key, or the public key of one in the agent",
    )
    add("--require-record", metavar="PATH", help="deploy only a commit that this run, or one in this folder, proved")
    add(
        "--allowed-signers",
        metavar="FILE",
        help="the keys that may sign a required record, in the format of ssh-keygen(1)",
    )
    add("--revoked-signers", metavar="FILE", help="revoked keys: a key revocation list or public keys")
    own = "a folder with your own checks, in addition to the target file's `checks`; repeatable"
    add("--checks", action="append", default=[], metavar="DIR", help=own)
    add("--subject", metavar="COMMAND", help="test this deploy path, a command for /bin/sh, instead of deploying")
    add("--subject-dir", metavar="DIR", help="the folder to run the deploy path in (default: this one)")
    add("--subject-timeout", type=float, metavar="SECONDS", help="its time limit in each scenario (default: 600)")
    first = "let the deploy path set each host's first system itself, which its own way back may need"
    add("--subject-first", action="store_true", help=first)
    add("--scenario", action="append", default=[], metavar="NAME", help="run only this scenario; repeatable")
    steps = "for an audit: report which step of the cutover is proven, or demand STEP"
    add("--cutover", nargs="?", const=0, type=int, metavar="STEP", help=steps)
    add("--repo", metavar="DIR", help="with --cutover: the repository whose deploy paths to read")
    add("--records", metavar="DIR", help="with --cutover: the folder of runs that prove the steps")
    runtimes = "what the lab's sandboxes are (default: microvm, or those of a running lab)"
    add("--lab-runtime", choices=("microvm", "netns"), help=runtimes)
    suites = "the release of Debian on the lab's hosts (default: trixie, or that of a running lab)"
    add("--lab-suite", choices=("trixie", "forky"), help=suites)
    rebuilds = "run a real nixos-rebuild on the lab's hosts: an executable, or the folder of nixos-rebuild-ng"
    add("--lab-nixos-rebuild", metavar="PATH", help=rebuilds)
    add("--lab-switch", metavar="PATH", help="run a real switch-to-configuration on the lab's hosts")
    add("--lab-ssm-agent", metavar="DIR", help="run a real amazon-ssm-agent on the lab's hosts of --shape=aws")
