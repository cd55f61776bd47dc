"""The mistakes that can be made in a module, by the operators of Cosmic Ray."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parent.parent

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
    from cosmic_ray.plugins import get_operator

    source = (ROOT / path).read_text(encoding="utf-8")
    tree = ast.parse(source)
    left_out = [span for node in ast.walk(tree) for span in _left_out(node)]
    nodes = [*ast_nodes(get_ast(source))]
    for operator in (get_operator(f"core/{name}")() for name in _OPERATORS):
        for node in nodes:
            for number, (begin, end) in enumerate(operator.mutation_positions(node)):
                if any(first <= begin and end <= last for first, last in left_out):
                    continue
                try:
                    text = _with_mistake(source, node, operator, number)
                except AttributeError:  # Cosmic Ray replaces no name of an exception that has a full stop
                    continue
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


def _with_mistake(source: str, node: Any, operator: Any, number: int) -> str:
    """Return a text with a mistake in one node of its tree, which stays as it is: parsing it again takes long."""
    from cosmic_ray.ast import ast_nodes

    begin, end = node.get_start_pos_of_prefix(), node.end_pos
    kept = [
        (each, name, copy.copy(getattr(each, name)))
        for each in ast_nodes(node)
        for name in ("children", "value")
        if hasattr(each, name)
    ]
    mistaken: str = operator.mutate(node, number).get_code()
    for each, name, value in kept:
        setattr(each, name, value)
    rows = [*source.splitlines(keepends=True), ""]
    before: str = "".join(rows[: begin[0] - 1]) + rows[begin[0] - 1][: begin[1]]
    after: str = rows[end[0] - 1][end[1] :] + "".join(rows[end[0] :])
    return before + mistaken + after


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
    elif isinstance(node, ast.AnnAssign):
        is_alias = isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"
        parts = [node.annotation, node.value if is_alias else None]
    elif isinstance(node, ast.arg):
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
