"""Whether the tests of what judges notice a mistake in it: `python -m bench.mutants [PART_OF_A_PATH …]`.

Cosmic Ray makes the mistakes. It would start a pytest for each of them; here one process collects all tests once,
notes which lines each of them runs, and gives a mistake to a fork of itself, which runs the tests of that line until
one fails.
"""

from __future__ import annotations

import argparse
import ast
import functools
import gc
import importlib.util
import inspect
import os
import signal
import sys
import threading
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_suffix(".toml")

_CPU_S = 6.0
"""Seconds of CPU time after which a fork is in an endless loop, which a test would notice."""

_WAIT_S = 120.0
"""Seconds after which a fork waits for what never comes, which a test would notice too."""

_SLOW_S = 1.5
"""Seconds of CPU time above which a test holds nothing here; those start processes, or try many inputs."""

_OPERATORS = (
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_GtE", "LtE_Gt", "Gt_LtE", "GtE_Lt")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "BitOr_BitAnd")),
    *("ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub", "AddNot"),
    *("ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "NumberReplacer"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop", "ExceptionReplacer"),
)
"""Cosmic Ray's operators. Of those that replace one by each of many only opposites and neighbours are here."""


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        path: The module, from the root of the repository.
        where: The function or method that it is in, by its qualified name; empty for the module itself.
        lines: The lines of the statement that it is in.
        line: Its own line.
        was: That line as it stands, without what surrounds it.
        becomes: The line with the mistake.
        code: The whole module with the mistake, compiled.
    """

    path: str
    where: str
    lines: range
    line: int
    was: str
    becomes: str
    code: CodeType = field(repr=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it in the list of equivalent ones, whatever line it is on."""
        return self.path, self.where, self.was, self.becomes

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.where}\n    {self.was}\n  → {self.becomes}"


def mutants_of(path: str) -> Iterator[Mutant]:
    """Make every mistake in a module, but for those in annotations, decorators and defaults."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import MutationVisitor
    from cosmic_ray.plugins import get_operator

    source = (ROOT / path).read_text(encoding="utf-8")
    tree = ast.parse(source)
    left_out = [span for node in ast.walk(tree) for span in _left_out(node)]
    for name in _OPERATORS:
        operator = get_operator(f"core/{name}")()
        places = [place for node in ast_nodes(get_ast(source)) for place in operator.mutation_positions(node)]
        for number, (begin, end) in enumerate(places):
            if any(first <= begin and end <= last for first, last in left_out):
                continue
            text = MutationVisitor.mutate_code(source, operator, number)
            if "not not " in text:  # the operator that takes a `not` away makes this one
                continue
            where, lines = _place(tree, begin)
            if where.endswith("."):  # the default of a field
                continue
            try:
                code = compile(text, str((ROOT / path).resolve()), "exec", dont_inherit=True)
            except SyntaxError:  # `not` before an assignment expression
                continue
            yield Mutant(path, where, lines, begin[0], *_changed(source, text), code)


def _changed(source: str, text: str) -> tuple[str, str]:
    """Return the lines that differ, of a text and of the same with a mistake, each as one line."""
    before, after = source.splitlines(), text.splitlines()
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    was, becomes = before[head : len(before) - tail], after[head : len(after) - tail]
    return " ".join(" ".join(was).split()), " ".join(" ".join(becomes).split())


def _alike(some: Iterable[str], others: Iterable[str]) -> int:
    """How many lines are alike from the first one on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(some, others, strict=False)))


def _left_out(node: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Give the spans of a node's annotations, decorators and defaults, which are no part of a function's code."""
    parts: list[ast.expr | None] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        parts = [node.returns, *node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
        if node.args.kwonlyargs:  # the star before them is no product
            yield (node.lineno, node.col_offset), (node.args.kwonlyargs[0].lineno, node.args.kwonlyargs[0].col_offset)
    elif isinstance(node, ast.ClassDef):
        parts = [*node.decorator_list]
    elif isinstance(node, ast.arg | ast.AnnAssign):
        parts = [node.annotation]
    for part in parts:
        if part is not None:
            yield (part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)


def _place(tree: ast.Module, begin: tuple[int, int]) -> tuple[str, range]:
    """Find the outermost function around a place, and the lines of the innermost statement that it is in.

    Directly in a module the name is empty, directly in a class it ends with a full stop.
    """
    name = ""
    around: Any = tree
    while (inner := _inside(around, begin)) is not None:
        around = inner
        if isinstance(around, ast.ClassDef):
            name = f"{name}{around.name}."
        elif isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef):
            name += around.name
            break
    while (inner := _inside(around, begin)) is not None:
        around = inner
    head = getattr(around, "test", None) or getattr(around, "iter", None) or around
    return name, range(around.lineno, (head.end_lineno or 0) + 1)


def _inside(node: ast.AST, begin: tuple[int, int]) -> ast.stmt | ast.ExceptHandler | None:
    """Return the statement right inside a node that a place is in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler):
            if (child.lineno, child.col_offset) <= begin < (child.end_lineno or 0, child.end_col_offset or 0):
                return child
        elif isinstance(child, ast.match_case) and (found := _inside(child, begin)):
            return found
    return None


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
            began = _cpu_s()
            with _traced(files) as lines:
                failed = _fails(item, self.items[(number + 1) % len(self.items)])  # forks keep what the session made
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
        if status == 0:
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


def _put_in(mutant: Mutant) -> None:
    module = sys.modules["switchproof." + mutant.path.removesuffix(".py").replace("/", ".")]
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
    return judge(known, mutants, tests.survivors)


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
    """Print who lives and the share that does not; 1 if it is too small or the list of equivalent ones is wrong."""
    equal = {(one["in"], one["at"], one["was"], one["becomes"]) for one in known.get("equivalent", [])}
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
    killed = 100 * (1 - len(living) / len(counted))
    print(f"{killed:.1f} % of {len(counted)} mutants killed; {len(survivors) - len(living)} are equivalent")
    return int(killed < known["at_least"] or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
