"""Refuses options and plugins that would run checks again, elsewhere, in another order or not at all."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import pytest

from switchproof.deploy.errors import UsageError

_IDLE: tuple[object, ...] = (None, False, 0, "", "0", "no", [], ())
"""Values with which an option does nothing."""


class Meddler(msgspec.Struct, frozen=True):
    """Something that changes how often, where or in which order checks run.

    Attributes:
        does: What it does, after the option's name.
        options: The option's spellings, by the name under which pytest keeps its value. A spelling that ends in `=`
            takes a value.
        inis: Settings of a configuration file that do the same.
        variables: Environment variables that do the same.
        instead: What to add where the option cannot be left out.
        once: Whether 1 does nothing either, as with a number of runs or threads.
        idle: A value of a setting that does nothing either.
    """

    does: str
    options: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    inis: Sequence[str] = ()
    variables: Sequence[str] = ()
    instead: str = ""
    once: bool = False
    idle: str = ""


_ELSEWHERE = "runs checks in other processes or threads"
_AGAIN = "runs checks more than once"
_ORDER = "puts checks into another order"
_OUT = "leaves out checks unnoticed"
_ENDS = "ends a check in the middle, and leaves the host as it is then"

MEDDLERS = (
    Meddler(
        _ELSEWHERE,
        {
            "numprocesses": ("-n=", "--numprocesses="),
            "dist": ("--dist=",),
            "distload": ("-d",),
            "tx": ("--tx=",),
            "px": ("--px=",),
            "looponfail": ("-f", "--looponfail"),
        },
        instead="-n 0",
    ),
    Meddler(_ELSEWHERE, {"forked": ("--forked",), "boxed": ("--boxed",)}),
    Meddler(
        _ELSEWHERE,
        {
            "workers": ("--workers=",),
            "tests_per_worker": ("--tests-per-worker=",),
            "parallel_threads": ("--parallel-threads=",),
        },
        once=True,
    ),
    Meddler(_AGAIN, {"reruns": ("--reruns=",), "force_reruns": ("--force-reruns=",)}, inis=("reruns",)),
    Meddler(_AGAIN, {"retries": ("--retries=",)}, inis=("retries",)),
    Meddler(_AGAIN, {"force_flaky": ("--force-flaky",)}),
    Meddler(_AGAIN, {"count": ("--count=",)}, once=True),
    Meddler(_AGAIN, {"iterations": ("--iterations=",), "forever": ("--forever",)}, once=True),
    Meddler(_AGAIN, {"flake_finder_enable": ("--flake-finder",)}),
    Meddler(
        _ORDER,
        {
            "random_order_enabled": ("--random-order",),
            "": ("--random-order-bucket=", "--random-order-seed="),
        },
    ),
    Meddler(_ORDER, {"reverse": ("--reverse",)}),
    Meddler(_ORDER, {"failedfirst": ("--ff", "--failed-first"), "newfirst": ("--nf", "--new-first")}),
    Meddler(
        _ENDS,
        {"timeout": ("--timeout=",), "session_timeout": ("--session-timeout=",)},
        inis=("timeout", "session_timeout"),
        variables=("PYTEST_TIMEOUT",),
    ),
    Meddler(_OUT, {"ignore": ("--ignore=",), "ignore_glob": ("--ignore-glob=",)}),
    Meddler(_OUT, {"lf": ("--last-failed", "--lf")}),
    Meddler(
        _OUT,
        {
            "stepwise": ("--stepwise", "--sw"),
            "stepwise_skip": ("--stepwise-skip", "--sw-skip"),
            "stepwise_reset": ("--stepwise-reset", "--sw-reset"),
        },
    ),
    Meddler(_OUT, {"setuponly": ("--setup-only",), "setupplan": ("--setup-plan",)}),
    Meddler(_OUT, {"splits": ("--splits=",), "num_shards": ("--num-shards=",)}, once=True),
    Meddler(_OUT, {"testmon": ("--testmon",), "picked": ("--picked",)}),
    Meddler(_OUT, inis=("empty_parameter_set_mark",), idle="skip"),
    Meddler(_ENDS, inis=("faulthandler_exit_on_timeout",)),
)

OVERRIDDEN: Mapping[str, Sequence[str]] = {
    "filterwarnings": (),
    "norecursedirs": ("*.egg", ".*", "_darcs", "build", "CVS", "dist", "node_modules", "venv", "{arch}"),
    "python_classes": ("Test",),
    "python_files": ("test_*.py",),
    "python_functions": ("test",),
    "usefixtures": (),
}
"""Settings of pytest that a user's configuration file makes for its own tests, with the values of a deploy."""


def refuse_interference(config: pytest.Config) -> None:
    """Refuse options and plugins that would run checks again, elsewhere, in another order or not at all.

    A plugin that is installed and does nothing is fine.

    Raises:
        UsageError: Names the option, where it was given, and what to leave out or to add.
    """
    if problems := list(_problems(config)):
        raise UsageError("; ".join(dict.fromkeys(problems)))


def override_settings(config: pytest.Config) -> None:
    """Give settings that are about a user's own tests the values that they have in every deploy."""
    for name, values in OVERRIDDEN.items():
        config.getini(name)[:] = values
    config.option.importmode = "importlib"


def _problems(config: pytest.Config) -> Iterator[str]:
    if hasattr(config, "workerinput"):
        yield f"-n: not allowed in a deploy, because it {_ELSEWHERE}: leave it out, or add -n 0"
    command_line = _words(config)
    for meddler in MEDDLERS:
        acting = {
            spellings[0].removesuffix("="): _given(command_line, spellings)
            for name, spellings in meddler.options.items()
            if _is_active(meddler, config.getoption(name, None) if name else _given(command_line, spellings))
        }
        # One option may set others, as -n does; those that were given are what a person can leave out.
        active = [option for option in acting.values() if option] or list(acting)[:1]
        active += [
            f"{name} (in the configuration file)"
            for name in meddler.inis
            if _is_set(_ini(config, name), meddler.idle)
        ]
        active += [name for name in meddler.variables if _acts(os.environ.get(name)) and _knows(config, meddler)]
        for option in active:
            or_add = f", or add {meddler.instead}" if meddler.instead else ""
            yield f"{option}: not allowed in a deploy, because it {meddler.does}: leave out {option}{or_add}"
    if config.pluginmanager.has_plugin("randomly") and config.getoption("randomly_reorganize", None):
        yield f"pytest-randomly: not allowed in a deploy, because it {_ORDER}: add -p no:randomly"
    yield from (
        f"-W {filter_}: not allowed in a deploy, because it fails a check on any warning: leave out -W {filter_}"
        for filter_ in config.getoption("pythonwarnings", None) or ()
        if filter_.partition(":")[0] == "error"
    )
    yield from (
        f"--override-ini={setting}: not allowed in a deploy, because it {_OUT}"
        for setting in config.getoption("override_ini", None) or ()
        if setting.startswith("python_")
    )


def _is_active(meddler: Meddler, value: object) -> bool:
    only_once = meddler.once and value is not True and value in {1, "1"}
    return _acts(value) and not only_once


def _acts(value: object) -> bool:
    return value not in _IDLE


def _is_set(value: object, idle: str) -> bool:
    return _acts(value) and (not idle or value != idle)


def _ini(config: pytest.Config, name: str) -> object:
    try:
        return config.getini(name)
    except (KeyError, ValueError):  # no plugin knows the setting
        return None


def _knows(config: pytest.Config, meddler: Meddler) -> bool:
    """Whether the plugin is there, so that its environment variables count."""
    return any(hasattr(config.option, name) for name in meddler.options)


def _words(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the words of the command line, each with where it stands if that is not the command line itself."""
    try:
        from_environment = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    except ValueError:
        from_environment = []
    return [
        *((str(word), "") for word in config.invocation_params.args),
        *((word, "PYTEST_ADDOPTS") for word in from_environment),
        *((str(word), "addopts in the configuration file") for word in config.getini("addopts")),
    ]


def _given(command_line: Sequence[tuple[str, str]], spellings: Sequence[str]) -> str:
    """Return an option as it was given, with its value and where it stands; empty if it was not."""
    for index, (word, place) in enumerate(command_line):
        for spelling in spellings:
            name, takes_value = spelling.removesuffix("="), spelling.endswith("=")
            short = len(name) == len("-n")
            if word != name and not (takes_value and word.startswith(name if short else f"{name}=")):
                continue
            value = (
                f" {command_line[index + 1][0]}"
                if word == name and takes_value and index + 1 < len(command_line)
                else ""
            )
            return f"{word}{value} ({place})" if place else f"{word}{value}"
    return ""
