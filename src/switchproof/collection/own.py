"""Validates the team's own checks, and refuses all of them if one has a problem."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from switchproof.collection.description import describe
from switchproof.deploy.contract import Clause
from switchproof.deploy.errors import UsageError

CHECKS = Path(__file__).parents[1] / "checks"
FIXTURES = CHECKS.parent / "session" / "fixtures.py"
"""The fixtures that every check may use, and that a team's own fixtures may not replace."""

CONTEXTS = ("deploy", "rollback", "audit")
"""Where a check without a marker `when` applies: to a system that is to stay, or that was restored."""

SEVERITIES = ("low", "medium", "high", "critical")
AUDIT = "audit"
"""The first part of the id of a check that belongs to an audit and to no clause."""

_CLAUSE = pytest.StashKey[Clause | None]()

_REPEATS = ("flaky", "repeat", "retry", "timeout", "parallel_threads", "iterations")
"""Markers of plugins that are refused in a deploy; see `switchproof.session.interference`."""

_PLACES = '@pytest.mark.clause("runtime"), or another clause, or @pytest.mark.audit'
_NAMED = {"severity", "rationale", "remedy"}
"""The named arguments that a marker may have."""


class OwnChecks:
    """The checks in the folders of a team, and the problems with them.

    Args:
        folders: The folders, absolute and without links.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._found: set[Path] = set()
        self._problems: list[str] = []

    def has(self, path: Path) -> bool:
        """Whether a file is in one of the folders."""
        return any(path.is_relative_to(folder) for folder in self._folders)

    def source(self, path: Path) -> str:
        """Name a module by its folder's name and its path in there; empty for a module of the contract."""
        above = [folder for folder in self._folders if path.is_relative_to(folder)]
        return str(path.relative_to(above[0].parent)) if above else ""

    def not_collected(self, path: Path, outcome: str, report: str) -> None:
        """Note a module or folder that could not be collected, or that skips itself."""
        if self.has(path):
            problem = "skips itself" if outcome == "skipped" else "cannot be imported"
            self._problems.append(f"{path} {problem}, so its checks would be missing: {_last_words(report)}")

    def collected(self, item: pytest.Item, *, placed: bool) -> None:
        """Note a test that was collected, and its problems.

        Args:
            item: The test.
            placed: Whether it runs for each host, or does not apply in this run.
        """
        if not self.has(item.path):
            return
        self._found.update(folder for folder in self._folders if item.path.is_relative_to(folder))
        problems = [*_marker_problems(item), *_fixture_problems(item)]
        if not placed:
            problems.append("cannot run on every host, because it is not a plain test function or method")
        self._problems += [f"{item.path}: {_name(item)}: {problem}" for problem in problems]

    def identified(self, ids: Iterable[tuple[pytest.Item, str]], elsewhere: Mapping[str, Path]) -> None:
        """Note own checks with an id that another check has.

        Args:
            ids: Every check of one host on one leg, those of the contract too, with its id.
            elsewhere: The ids of checks that this run does not make, with their modules.
        """
        taken = {check: path for check, path in elsewhere.items() if not self.has(path)}
        first: dict[str, pytest.Item] = {}
        for item, check in sorted(ids, key=lambda each: self.has(each[0].path)):
            earlier = first.setdefault(check, item)
            path = earlier.path if earlier is not item else taken.get(check)
            if path is not None and self.has(item.path):
                owner = str(path) if self.has(path) else f"{path.name} of the contract"
                self._problems.append(
                    f"{item.path}: {_name(item)}: {check} is the id of a check in {owner}: give it another name"
                )

    def named(self, items: Iterable[pytest.Item]) -> None:
        """Note own checks with the node id of another check, and foreign fixtures that act on checks of the contract.

        A node id is a path below the root directory; outside of that, a path in the folder that was collected.
        """
        first: dict[str, pytest.Item] = {}
        for item in items:
            other = first.setdefault(item.nodeid, item)
            if other is not item:
                own_item, path = (item, other.path) if self.has(item.path) else (other, item.path)
                self._problems.append(
                    f"{own_item.path}: {_name(own_item)}: {path} also has a check of this name: rename the file or "
                    "the check"
                )
            acting = [] if self.has(item.path) else _foreign_fixtures(item)
            self._problems += [
                f"{file} has a fixture {name!r} that acts on every check: leave out its plugin, or use the command "
                "`switchproof`, which loads no such plugin"
                for name, file in acting
            ]

    def refuse(self) -> None:
        """Refuse the run if there are problems.

        Raises:
            UsageError: Names each problem, and what to do.
        """
        empty = [folder for folder in self._folders if folder not in self._found] if not self._problems else []
        self._problems += [
            f"{folder}: contains no checks; a check is a function test_… in a file test_*.py" for folder in empty
        ]
        if self._problems:
            problems = list(dict.fromkeys(self._problems))
            raise UsageError("\n  ".join(["the team's own checks have problems, so nothing was touched:", *problems]))


def clause_of(node: pytest.Item) -> Clause | None:
    """Return the clause that a check's marker names; None for a check of an audit, or without a valid marker."""
    if _CLAUSE in node.stash:
        return node.stash[_CLAUSE]
    marker = node.get_closest_marker("clause")
    known = marker is not None and len(marker.args) == 1 and marker.args[0] in list(Clause)
    clause = node.stash[_CLAUSE] = Clause(marker.args[0]) if marker and known else None
    return clause


def contexts_of(node: pytest.Item) -> Collection[str]:
    """Return the contexts in which a check applies."""
    if node.get_closest_marker("audit"):
        return (AUDIT,)
    when = node.get_closest_marker("when")
    return when.args if when else CONTEXTS


def _marker_problems(item: pytest.Item) -> Iterator[str]:
    clause, audit = item.get_closest_marker("clause"), item.get_closest_marker("audit")
    if (clause is None) == (audit is None):
        both = '@pytest.mark.clause("…") and @pytest.mark.audit'
        yield f"has both {both}; remove one of them" if clause else f"has no marker that says when it runs: {_PLACES}"
        return
    if clause and clause_of(item) is None:
        values = ", ".join(map(repr, clause.args)) or "nothing"
        yield f"@pytest.mark.clause says {values}; allowed: one of {', '.join(Clause)}"
    if audit and audit.args:
        yield f"@pytest.mark.audit takes only {', '.join(sorted(_NAMED))}, by name (found {audit.args[0]!r})"
    marker = clause or audit
    if marker and (strange := sorted(marker.kwargs.keys() - _NAMED)):
        yield f"@pytest.mark.{marker.name} says {strange[0]}; allowed: {', '.join(sorted(_NAMED))}"
    severity = describe(item).severity
    if severity and severity not in SEVERITIES:
        yield f"its severity is {severity!r}; allowed: {', '.join(SEVERITIES)}"
    if item.get_closest_marker("last"):
        yield "@pytest.mark.last is the contract's own: what comes last confirms the system"
    for name in _REPEATS:
        if item.get_closest_marker(name):
            yield f"@pytest.mark.{name} runs a check more than once, or ends it in the middle: leave it out"
    if item.get_closest_marker("xfail"):
        yield "@pytest.mark.xfail hides a failure: waive it in the target file, with a reason and an end"
    when = item.get_closest_marker("when")
    if when and audit:
        yield "@pytest.mark.when is for checks of a clause; one with @pytest.mark.audit is made in audits"
    elif when and (not when.args or set(when.args) - set(CONTEXTS)):
        yield f"@pytest.mark.when says {', '.join(map(repr, when.args)) or 'nothing'}; allowed: {', '.join(CONTEXTS)}"


def _fixture_problems(item: pytest.Item) -> Iterator[str]:
    """Name fixtures of ours that others replace: then it would be unknown what a check looked at."""
    info = getattr(item, "_fixtureinfo", None)
    for name, definitions in info.name2fixturedefs.items() if info else ():
        files = [Path(definition.func.__code__.co_filename) for definition in definitions]
        if FIXTURES in files and files[-1] != FIXTURES:
            yield f"{files[-1]} has a fixture {name!r}, which is Switchproof's own: give it another name"


def _foreign_fixtures(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """Yield the fixtures of a contract check that come from neither Switchproof nor pytest, with their files."""
    info = getattr(item, "_fixtureinfo", None)
    for name, definitions in info.name2fixturedefs.items() if info else ():
        for definition in definitions[-1:]:
            module = getattr(definition.func, "__module__", None) or "a module without a name"
            code = getattr(definition.func, "__code__", None)  # a function made in C has none
            file = code.co_filename if code else module
            if not _is_ours(file) and module.partition(".")[0] != "_pytest":
                yield name, file


@functools.cache
def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(CHECKS) or Path(file) == FIXTURES


def _name(item: pytest.Item) -> str:
    return getattr(item, "originalname", None) or item.name


def _last_words(report: str) -> str:
    """Return the last line of pytest's report of a failed import: its error."""
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    errors = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")]
    return next(itertools.chain(reversed(errors), reversed(lines)), "it does not say why")
