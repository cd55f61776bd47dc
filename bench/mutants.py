"""Whether the tests of what judges notice a mistake in it: `python -m bench.mutants [PART_OF_A_PATH …]`.

Cosmic Ray makes the mistakes. It would start a pytest for each of them; here one process collects all tests once,
notes which lines each of them runs, and gives a mistake to a fork of itself, which runs the tests of that line until
one fails.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib.util
import inspect
import os
import re
import signal
import sys
import threading
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from bench.mistakes import ROOT, Mutant, mutants_of

LIST = Path(__file__).with_suffix(".toml")
PAGE = ROOT / "docs" / "mutants.md"

_MARK = "<!-- what follows is written by `python -m bench.mutants --write` -->\n"
_ROW = re.compile(r"^\| `(\S+)` \| (\d+) \| (\d+) \| (\d+) \| .*$", re.MULTILINE)

_CPU_S = 6.0
"""Seconds of CPU time after which a fork is in an endless loop, which a test would notice."""

_WAIT_S = 120.0
"""Seconds after which a fork is ended. It may only have been kept waiting by a busy machine, so its mutant lives."""

_SLOW_S = 4.0
"""Seconds of CPU time above which a test holds nothing here; those start processes, or try many inputs."""


class Tests:
    """pytest's tests, collected once in this process; a plugin of that session.

    Attributes:
        seconds: How long each test took, by its index.
        ran: The tests that ran a line, by path and line.
        held: All tests that hold a module, by its path.
        survivors: The mutants that no test noticed.
        broken: The tests that fail without any.
    """

    __test__ = False

    def __init__(self, held: Mapping[str, Sequence[str]], mutants: Sequence[Mutant], jobs: int) -> None:
        self._held = held
        self._mutants = mutants
        self._jobs = jobs
        self.items: list[pytest.Item] = []
        self.seconds: dict[int, float] = {}
        self.ran: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
        self.held: defaultdict[str, set[int]] = defaultdict(set)
        self.survivors: list[Mutant] = []
        self.broken: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run every test once as it is, then every mutant against the tests of its line."""
        self.items = session.items
        files = {str((ROOT / path).resolve()): path for path in self._held}
        for number, item in enumerate(self.items):
            following = self.items[(number + 1) % len(self.items)]  # forks keep what the session made
            began = _cpu_s()
            with _traced(files) as lines:
                failed = _fails(item, following)
            self.seconds[number] = _cpu_s() - began
            if self.seconds[number] > _SLOW_S and not failed:  # the first one may have paid for what all of them load
                began = _cpu_s()
                failed = _fails(item, following)
                self.seconds[number] = _cpu_s() - began
            if failed:
                self.broken.append(item.nodeid)
            holds = {path for path, tests in self._held.items() if item.nodeid.startswith(tuple(tests))}
            if self.seconds[number] > _SLOW_S:
                continue
            for path in holds:
                self.held[path].add(number)
            for path, line in lines:
                if path in holds:
                    self.ran[path, line].add(number)
        if not self.broken:
            gc.collect()
            gc.freeze()
            self._try_all()
        return True

    def _try_all(self) -> None:
        forks: dict[int, Mutant] = {}
        for mutant in self._mutants:
            tests = set().union(*(self.ran.get((mutant.path, line), set()) for line in mutant.lines))
            if not mutant.where:  # it runs when the module is imported
                tests = self.held[mutant.path]
            if not tests:
                self.survivors.append(mutant)
                continue
            if len(forks) >= self._jobs:
                self._await(forks)
            pid = os.fork()
            if pid == 0:
                _become(mutant, [self.items[number] for number in sorted(tests, key=self.seconds.__getitem__)])
            forks[pid] = mutant
        while forks:
            self._await(forks)

    def _await(self, forks: dict[int, Mutant]) -> None:
        pid, status = os.wait()
        mutant = forks.pop(pid)
        if status == 0 or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM):
            self.survivors.append(mutant)


class _traced:  # noqa: N801 - a context manager that reads as a word
    """Notes which lines of some files run."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._lines: set[tuple[str, int]] = set()

    def __enter__(self) -> set[tuple[str, int]]:
        sys.settrace(self._enter)
        threading.settrace(self._enter)
        return self._lines

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        path = _real(self._files, frame.f_code.co_filename)
        if path is None:
            return None
        lines = self._lines

        def note(frame: FrameType, _event: str, _argument: object) -> Any:
            lines.add((path, frame.f_lineno))
            return note

        return note(frame, "call", None)


_KNOWN: dict[str, str | None] = {}


def _real(files: Mapping[str, str], name: str) -> str | None:
    """Return the judging module that a file is; the packages are links to their rooms."""
    if name not in _KNOWN:
        _KNOWN[name] = files.get(os.path.realpath(name))
    return _KNOWN[name]


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def _become(mutant: Mutant, tests: Sequence[pytest.Item]) -> None:
    """Be the mutant until a test fails, and end: 0 if none does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, _CPU_S)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, _WAIT_S)
    try:
        _put_in(mutant)
        failed = any(_fails(item, following) for item, following in pairwise([*tests, None]) if item)
    except BaseException:  # noqa: BLE001 - a mutant that cannot even be put in place, or ends pytest, is noticed
        failed = True
    os._exit(int(failed))


def name_of(path: str) -> str:
    """Return the name by which a module of a room, or of the package itself, is imported."""
    return "switchproof." + path.removeprefix("src/switchproof/").removesuffix(".py").replace("/", ".")


def _put_in(mutant: Mutant) -> None:
    module = sys.modules[name_of(mutant.path)]
    if mutant.where:
        _function(module, mutant.where).__code__ = _code(mutant.code, mutant.where)
        return
    mutated: dict[str, Any] = {**vars(module)}
    exec(mutant.code, mutated)  # noqa: S102 - our own code
    for name, value in [*vars(module).items()]:
        if name.startswith("__") or isinstance(value, type | ModuleType) or inspect.isroutine(value):
            continue
        for other in [*sys.modules.values()]:
            if (
                getattr(other, "__name__", "").startswith(("switchproof.", "tests."))
                and vars(other).get(name) is value
            ):
                setattr(other, name, mutated[name])


def _function(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, functools.cached_property):
        found = found.func
    elif isinstance(found, staticmethod | classmethod):
        found = found.__func__
    return inspect.unwrap(found)


def _code(code: CodeType, name: str) -> CodeType:
    """Find a function's code in its module's."""
    inside = [each for each in code.co_consts if isinstance(each, CodeType)]
    for each in inside:
        if each.co_qualname == name:
            return each
    return next(_code(each, name) for each in inside if name.startswith(f"{each.co_qualname}."))


def main() -> int:
    """Try every mutant; 1 if more of them live than may, or the list of equivalent ones is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="parts of the paths of the modules to try; all of them without")
    parser.add_argument("--write", action="store_true", help=f"write the result of each module to docs/{PAGE.name}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="forks at a time")
    options = parser.parse_args()
    if importlib.util.find_spec("cosmic_ray") is None:
        print("Cosmic Ray is not installed here: pip install 'cosmic-ray>=8.7'", file=sys.stderr)
        return 1
    known = tomllib.loads(LIST.read_text(encoding="utf-8"))
    held: dict[str, list[str]] = {
        module: group["tests"]
        for group in known["held"]
        for module in group["modules"]
        if not options.only or any(part in module for part in options.only)
    }
    if not held:
        print(f"{LIST.name} lists no module with {' or '.join(options.only)} in its path", file=sys.stderr)
        return 1
    began = time.monotonic()
    mutants = [mutant for path in held for mutant in sorted(mutants_of(path), key=lambda mutant: mutant.line)]
    made_s = time.monotonic() - began
    tests = Tests(held, mutants, options.jobs)
    words = ["-q", "-s", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--assert=plain"]
    os.chdir(ROOT)
    code = pytest.main([*words, *dict.fromkeys(test for names in held.values() for test in names)], [tests, _Quick()])
    if tests.broken or code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        print(f"these tests fail without a mistake: {', '.join(tests.broken) or code}", file=sys.stderr)
        return 1
    print(f"{len(mutants)} mutants, made in {made_s:.0f} s, tried in {time.monotonic() - began - made_s:.0f} s")
    code = judge(known, mutants, tests.survivors)
    if options.write and code == 0:
        write(
            PAGE,
            results(known, mutants, tests.survivors),
            [path for each in known["held"] for path in each["modules"]],
        )
    return code


class _Quick:
    """Has tests of many inputs stop at the first that fails, with the same inputs each time."""

    @staticmethod
    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish() -> None:
        """Set it after the tests' own settings."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", deadline=None, database=None, phases=phases, max_examples=20)
        settings.load_profile("mutants")


def judge(known: Mapping[str, Any], mutants: Sequence[Mutant], survivors: Sequence[Mutant]) -> int:
    """Print who lives and the share that does not.

    Returns:
        The exit status: 1 if the share of any module is too small, or the list of equivalent ones is wrong.
    """
    equal = _equivalent(known)
    paths = {one.path for one in mutants}
    lives = {one.key for one in survivors}
    wrong = [key for key in equal if key[0] in paths and key not in lives]
    counted = [one for one in mutants if one.key not in equal]
    living = [one for one in survivors if one.key not in equal]
    for one in living:
        print(one)
    of, alive = Counter(one.path for one in counted), Counter(one.path for one in living)
    for path in of:
        print(f"{100 * (1 - alive[path] / of[path]):5.1f} %  {of[path] - alive[path]:4} of {of[path]:4}  {path}")
    for path, where, was, becomes in wrong:
        print(f"{path} {where}: {was} → {becomes} does not live: take it off {LIST.name}", file=sys.stderr)
    killed = 100 * (1 - len(living) / max(1, len(counted)))  # some modules have nothing to mistake
    print(f"{killed:.1f} % of {len(counted)} mutants killed; {len(survivors) - len(living)} are equivalent")
    below = [path for path in of if 100 * (1 - alive[path] / of[path]) < known["at_least"]]
    if below:
        print(f"less than {known['at_least']:g} % of the mutants of {', '.join(below)} are killed", file=sys.stderr)
    return int(bool(below or wrong))


@dataclass(frozen=True)
class Tried:
    """The result of a module: how many mutants there were, and how many of them are equivalent and were killed."""

    mutants: int
    equivalent: int
    killed: int

    def __str__(self) -> str:
        share = 100 * self.killed / (self.mutants - self.equivalent)
        return f"{self.mutants} | {self.equivalent} | {self.killed} | {share:.1f} %"


def results(known: Mapping[str, Any], mutants: Sequence[Mutant], survivors: Sequence[Mutant]) -> dict[str, Tried]:
    """Return the result of each module that was tried."""
    equal = _equivalent(known)
    of = Counter(one.path for one in mutants)
    same = Counter(one.path for one in mutants if one.key in equal)
    alive = Counter(one.path for one in survivors if one.key not in equal)
    return {path: Tried(of[path], same[path], of[path] - same[path] - alive[path]) for path in of}


def write(page: Path, tried: Mapping[str, Tried], listed: Sequence[str]) -> None:
    """Put the results of modules into the table of a page; those of modules that were not tried now stay.

    Args:
        page: The page. Its table follows a mark.
        tried: The new results, by module.
        listed: The modules in the order of the table; others leave it.
    """
    above, _, below = page.read_text("utf-8").partition(_MARK)
    rows = {path: Tried(*map(int, numbers)) for path, *numbers in _ROW.findall(below)} | {**tried}
    rows = {path: rows[path] for path in listed if path in rows}
    total = Tried(*(sum(column) for column in zip(*map(astuple, rows.values()), strict=True)))
    lines = [
        "| module | mutants | equivalent | killed | share |",
        "|---|---|---|---|---|",
        *(f"| `{path}` | {result} |" for path, result in rows.items()),
        f"| all | {total} |",
    ]
    page.write_text(f"{above}{_MARK}\n" + "".join(f"{line}\n" for line in lines), "utf-8")


def _equivalent(known: Mapping[str, Any]) -> set[tuple[str, str, str, str]]:
    return {(one["in"], one["at"], one["was"], one["becomes"]) for one in known.get("equivalent", [])}


if __name__ == "__main__":
    sys.exit(main())
