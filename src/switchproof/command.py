"""The command `switchproof`: a verb for each kind of session, in front of the options of pytest, and tools."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode

_HERE = Path(__file__).parent
_PLUGINS = ("pytest_metadata.plugin", "pytest_html.fixtures", "pytest_html.plugin")
"""Plugins that a session uses beside ours; every other installed plugin stays out.

They are given as modules: for each name after `-p`, pytest reads the entry points of all installed packages.
"""

_UNUSED = ("doctest", "junitxml", "pastebin", "setuponly", "setupplan", "stepwise", "cacheprovider")
"""Plugins of pytest itself that a session does not use; some would be called for every fixture of every check."""

_UNUSED_BY_OURS = ("logging", "subtests", "unittest", "tmpdir", "legacypath")
"""Plugins that a team's own checks may use, and that act at every phase of every check."""

_HOSTS = ("--provider", "--targets", "--host", "--soak", "--report-dir", "--keep-runs", "--checks")
_REAL = ("--lab-nixos-rebuild", "--lab-switch", "--lab-ssm-agent")
_LAB = ("--shape", "--lab-keep", "--lab-runtime", "--lab-suite", *_REAL)
_CHANGES = ("--on-failure", "--take-lock", "--sign-key")
_SYSTEM = ("--build", "--source", "--dirty")
_GATE = ("--require-record", "--allowed-signers", "--revoked-signers")
_CUTOVER = ("--cutover", "--repo", "--records", "--allowed-signers", "--revoked-signers")


class Session(NamedTuple):
    """A verb that runs a session of pytest.

    Attributes:
        purpose: What it does, for its help.
        takes: The options of pytest that it takes.
        needs: The options that are mandatory.
        means: The arguments that select the verb on pytest's command line.
        value: The option that takes the verb's positional argument, and the argument's name.
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
        ("--sha", *_HOSTS, *_CHANGES, *_SYSTEM, *_GATE, *_LAB),
    ),
    "audit": Session(
        "Verify what hosts run, without changing anything.",
        ("--sha", *_HOSTS, "--build", "--parallel", "--shard", "--sign-key", *_CUTOVER, *_LAB),
        means=("--audit",),
    ),
    "plan": Session(
        "Show what a deploy would change, without changing anything.",
        ("--sha", *_HOSTS, *_SYSTEM, *_LAB),
        means=("--plan",),
    ),
    "preflight": Session(
        "Show what would keep a deploy from beginning, without changing anything.",
        (*_HOSTS, *_LAB),
        means=("--preflight",),
    ),
    "rollback": Session(
        "Restore an earlier system of hosts and verify it.",
        (*_HOSTS, *_CHANGES, *_LAB),
        value=("--rollback", "GENERATION|REV"),
    ),
    "drill": Session(
        "Deploy, go back and deploy again, and verify each step.",
        ("--sha", *_HOSTS, *_CHANGES, *_SYSTEM, *_GATE, *_LAB),
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
    "script": (
        "switchproof.deploy.host.by_hand",
        "Print the host script of a target file, for deploys by hand.",
    ),
    "schema": ("switchproof.schemas", "Print a JSON Schema, or the SSM document of a target file."),
}
"""Verbs with their own command line: the module with its `main`, and its purpose."""


def main(argv: Sequence[str]) -> int:
    """Run the command.

    Args:
        argv: The command line after `switchproof`.

    Returns:
        The exit code: of a session its verdict, 4 for a wrong command line.
    """
    verb, rest = (argv[0], list(argv[1:])) if argv else ("", [])
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
    import difflib

    if near := difflib.get_close_matches(verb, [*SESSIONS, *TOOLS], 1):
        sys.stderr.write(f"switchproof: {verb!r} is not a verb; did you mean `switchproof {near[0]}`?\n")
        return ExitCode.USAGE
    problem = f"{verb!r} is not a verb" if verb else "a verb is missing"
    sys.stderr.write(f"switchproof: {problem}\n{_overview()}\n")
    return ExitCode.USAGE


def _overview() -> str:
    purposes = {name: session.purpose for name, session in SESSIONS.items()}
    purposes |= {name: purpose for name, (_, purpose) in TOOLS.items()}
    lines = [f"  {name:<9} {purpose}" for name, purpose in purposes.items()]
    return "\n".join(["usage: switchproof VERB …", "", *lines, "", "`switchproof VERB --help` lists its options."])


def run_session(verb: str, argv: Sequence[str]) -> int:
    """Run a session of pytest with the plugins and settings of a deploy, and without those of the user's tests."""
    from switchproof.process import early

    session = SESSIONS[verb]
    translated = arguments(verb, argv)
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)
    import pytest

    from switchproof import plugin
    from switchproof.collection.selection import Typed
    from switchproof.deploy.settings import find_root

    early.begun()
    folder = _HERE / session.folder
    unused = _UNUSED if any(word.startswith("--checks") for word in translated) else (*_UNUSED, *_UNUSED_BY_OURS)
    command_line = [
        *("-c", str(_HERE / "session.ini"), f"--rootdir={find_root(Path.cwd())}", f"--confcutdir={folder}"),
        "--disable-plugin-autoload",
        *(word for name in unused for word in ("-p", f"no:{name}")),
        *translated,
        str(folder),
    ]
    others = [importlib.import_module(name) for name in _PLUGINS]
    plugins = [plugin, Typed(("switchproof", verb, *argv)), *others]
    return int(pytest.main(command_line, plugins=plugins))


def arguments(verb: str, argv: Sequence[str]) -> list[str]:
    """Translate a verb's command line into that of pytest.

    Raises:
        SystemExit: The command line is wrong, or asks for help.
    """
    from switchproof import options

    session = SESSIONS[verb]
    parser = Parser(prog=f"switchproof {verb}", description=session.purpose, allow_abbrev=False)
    details: dict[str, dict[str, Any]] = {}

    def declare(name: str, **details_given: Any) -> None:
        details[name] = details_given
        if name in session.takes:
            parser.add_argument(name, required=name in session.needs, **details_given)

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
    values = vars(parser.parse_args(list(argv)))
    translated = list(session.means)
    if session.value:
        value = values["value"]
        choices = details[session.value[0]].get("choices")
        if value is not None and choices and value not in choices:
            parser.error(f"{session.value[1]}: found {value!r}")
        translated.append(session.value[0] if value is None else f"{session.value[0]}={value}")
    if values.get("collect_only"):
        translated.append("--collect-only")
    translated += [f"--{name}" for name in ("verbose", "quiet") if values.get(name)]
    for name in session.takes:
        translated += _words(name, values[options.dest(name)], details[name])
    return translated


def _words(name: str, value: object, details: Mapping[str, Any]) -> list[str]:
    """Write an option as pytest takes it; nothing if it has its default value."""
    if value is None or value is False or value == details.get("default"):
        return []
    if value is True or value == details.get("const"):
        return [name]
    return [f"{name}={each}" for each in (value if isinstance(value, list) else [value])]


def run() -> NoReturn:
    """Run the command of this process, and end with its exit code even if standard output is closed.

    Python would take apart all that was loaded first, which is a tenth of an audit's way to its end.
    """
    from switchproof.deploy.run.streams import forgiving
    from switchproof.process import garbage

    if sys.argv[1:2] and sys.argv[1] in SESSIONS:
        garbage.wait()
    code = main(sys.argv[1:])
    alone = all(thread.daemon or thread is threading.current_thread() for thread in threading.enumerate())
    if alone:
        atexit._run_exitfuncs()  # noqa: SLF001 - the function that Python itself calls has no other name
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with forgiving(stream):
                stream.flush()
    if alone:
        os._exit(code)
    sys.exit(code)
