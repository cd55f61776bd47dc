"""The command `switchproof`: a verb for each kind of session, in front of the options of pytest, and tools."""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode

_HERE = Path(__file__).parent
_PLUGINS = ("pytest_metadata.plugin", "pytest_html.fixtures", "pytest_html.plugin")
"""Plugins that a session uses beside ours; every other installed plugin stays out."""

_YOUNG = 10_000
"""New objects after which the garbage collector looks at them. Python's 700 have it look 140 times in an audit."""

_HOSTS = ("--provider", "--targets", "--host", "--soak", "--report-dir", "--keep-runs", "--checks")
_LAB = ("--shape", "--lab-keep", "--lab-runtime", "--lab-suite", "--lab-nixos-rebuild", "--lab-switch")
_CHANGES = ("--on-failure", "--build", "--take-lock", "--sign-key")
_GATE = ("--require-record", "--allowed-signers", "--revoked-signers")
_CUTOVER = ("--cutover", "--repo", "--records", "--allowed-signers", "--revoked-signers")


@dataclass(frozen=True)
class Session:
    """A verb that runs a session of pytest.

    Attributes:
        purpose: What it does, for its help.
        takes: The options of pytest that it takes.
        needs: Those of them that it cannot do without.
        means: The words that stand for the verb on pytest's command line.
        value: The option that a positional argument of the verb is the value of, with the argument's name.
        folder: The folder of the package that pytest collects.
    """

    purpose: str
    takes: tuple[str, ...]
    needs: tuple[str, ...] = ("--provider",)
    means: tuple[str, ...] = ()
    value: tuple[str, str] | None = None
    folder: str = "checks"


SESSIONS: Mapping[str, Session] = {
    "deploy": Session(
        "Deploy a revision to hosts and prove the contract.",
        ("--sha", *_HOSTS, *_CHANGES, *_GATE, *_LAB),
        ("--provider", "--sha"),
    ),
    "audit": Session(
        "Verify what hosts run, without changing anything.",
        ("--sha", *_HOSTS, "--parallel", "--shard", "--sign-key", *_CUTOVER, *_LAB),
        means=("--audit",),
    ),
    "plan": Session(
        "Show what a deploy would change, without changing anything.",
        ("--sha", *_HOSTS, *_LAB),
        ("--provider", "--sha"),
        ("--plan",),
    ),
    "rollback": Session(
        "Restore an earlier system of hosts and verify it.",
        (*_HOSTS, *_CHANGES, *_LAB),
        value=("--rollback", "GENERATION|REV"),
    ),
    "drill": Session(
        "Deploy, go back and deploy again, and verify each step.",
        ("--sha", *_HOSTS, *_CHANGES, *_GATE, *_LAB),
        ("--provider", "--sha"),
        value=("--drill", "orderly|dead-man"),
    ),
    "trial": Session(
        "Test another deploy path on lab hosts, scenario by scenario.",
        (
            "--subject",
            "--subject-dir",
            "--subject-first",
            "--subject-timeout",
            "--scenario",
            "--shape",
            "--lab-runtime",
            "--report-dir",
        ),
        ("--subject",),
        ("--provider=lab",),
        folder="trials",
    ),
}

TOOLS: Mapping[str, tuple[str, str]] = {
    "init": ("switchproof.init", "Write a first target file and a CI job into a flake repository."),
    "paths": ("switchproof.deploy.paths.__main__", "Find a repository's deploy paths and check them."),
    "reports": ("switchproof.reports.__main__", "List, show, compare and render finished runs."),
    "lab": ("switchproof.deploy.providers.lab.__main__", "Start, break and stop lab hosts on this machine."),
    "sudoers": ("switchproof.sudoers", "Print the sudoers rule that the login users of a target file need."),
    "schema": ("switchproof.schemas", "Print a JSON Schema, or the SSM document of a target file."),
}
"""Verbs with a command line of their own: the module that has its `main`, and what it does."""


def main(words: Sequence[str]) -> int:
    """Run the command.

    Args:
        words: The command line after `switchproof`.

    Returns:
        The exit code: of a session its verdict, 4 for a wrong command line.
    """
    verb, rest = (words[0], list(words[1:])) if words else ("", [])
    if verb in SESSIONS:
        return run_session(verb, rest)
    if verb in TOOLS:
        module = importlib.import_module(TOOLS[verb][0])
        tool: Callable[[list[str]], int] = module.main
        return int(tool(rest))
    if verb == "--version":
        print(f"switchproof {metadata.version('switchproof')}")
        return 0
    if verb in {"-h", "--help"}:
        print(_overview())
        return 0
    if near := difflib.get_close_matches(verb, [*SESSIONS, *TOOLS], 1):
        sys.stderr.write(f"switchproof: {verb!r} is not a verb; did you mean `switchproof {near[0]}`?\n")
        return ExitCode.USAGE
    found = f"{verb!r} is not a verb" if verb else "a verb is missing"
    sys.stderr.write(f"switchproof: {found}\n{_overview()}\n")
    return ExitCode.USAGE


def _overview() -> str:
    purposes = {name: session.purpose for name, session in SESSIONS.items()}
    purposes |= {name: purpose for name, (_, purpose) in TOOLS.items()}
    lines = [f"  {name:<9} {purpose}" for name, purpose in purposes.items()]
    return "\n".join(["usage: switchproof VERB …", "", *lines, "", "`switchproof VERB --help` lists its options."])


def run_session(verb: str, words: Sequence[str]) -> int:
    """Run a session of pytest with the plugins and the settings of a deploy, and with nothing of the user's tests."""
    from switchproof.checks import early

    session = SESSIONS[verb]
    asked = arguments(verb, words)
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    import pytest

    from switchproof import plugin
    from switchproof.checks.selection import Typed
    from switchproof.deploy.settings import find_root

    early.begun()
    folder = _HERE / session.folder
    given = [
        *("-c", str(_HERE / "session.ini"), f"--rootdir={find_root(Path.cwd())}", f"--confcutdir={folder}"),
        *("--disable-plugin-autoload", "-p", "no:cacheprovider"),
        *(word for name in _PLUGINS for word in ("-p", name)),
        *asked,
        str(folder),
    ]
    return int(pytest.main(given, plugins=[plugin, Typed(("switchproof", verb, *words)), _Collector()]))


class _Collector:
    """A plugin that takes from the garbage collector what stays: the checks, and at the end all that there is."""

    def pytest_collection_finish(self) -> None:
        """Let the collector pass by the checks: those of 1,000 hosts are millions of objects, and they stay."""
        gc.freeze()

    def pytest_unconfigure(self) -> None:
        """Let the collector pass by all that there is: the process ends."""
        gc.freeze()


def arguments(verb: str, words: Sequence[str]) -> list[str]:
    """Translate a verb's command line into that of pytest.

    Raises:
        SystemExit: The command line is wrong, or asks for help.
    """
    from switchproof import options

    session = SESSIONS[verb]
    parser = Parser(prog=f"switchproof {verb}", description=session.purpose, allow_abbrev=False)
    details: dict[str, dict[str, Any]] = {}

    def declare(name: str, **given: Any) -> None:
        details[name] = given
        if name in session.takes:
            parser.add_argument(name, required=name in session.needs, **given)

    options.declare(declare)
    if session.value:
        option, label = session.value
        parser.add_argument("value", nargs="?", metavar=label, help=details[option]["help"])
    if session.folder == "checks":
        parser.add_argument(
            "--collect-only", action="store_true", help="list the checks without connecting to any host"
        )
        how_much = parser.add_mutually_exclusive_group()
        how_much.add_argument("-v", "--verbose", action="store_true", help="show a line for each check")
        how_much.add_argument("-q", "--quiet", action="store_true", help="show the verdict alone")
    asked = vars(parser.parse_args(list(words)))
    translated = list(session.means)
    if session.value:
        value = asked["value"]
        choices = details[session.value[0]].get("choices")
        if value is not None and choices and value not in choices:
            parser.error(f"{session.value[1]}: found {value!r}")
        translated.append(session.value[0] if value is None else f"{session.value[0]}={value}")
    if asked.get("collect_only"):
        translated.append("--collect-only")
    translated += [f"--{name}" for name in ("verbose", "quiet") if asked.get(name)]
    for name in session.takes:
        translated += _words(name, asked[options.dest(name)], details[name])
    return translated


def _words(name: str, value: object, details: Mapping[str, Any]) -> list[str]:
    """Write an option as pytest takes it; nothing where it has its default value."""
    if value is None or value is False or value == details.get("default"):
        return []
    if value is True or value == details.get("const"):
        return [name]
    return [f"{name}={each}" for each in (value if isinstance(value, list) else [value])]


def run() -> NoReturn:
    """Run the command of this process, and end it with the exit code, whatever becomes of standard output."""
    from switchproof.deploy.run.streams import forgiving

    gc.set_threshold(_YOUNG)
    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with forgiving(stream):
                stream.flush()
    sys.exit(code)
