"""GitHub's expressions in a text: known values are inserted, marks stand for the rest (pure)."""

from __future__ import annotations

import re

import msgspec

from switchproof.deploy.paths.patience import step
from switchproof.deploy.paths.values import Values, either, mark

_EXPRESSION = re.compile(r"\$\{\{((?:(?!\$\{\{|\}\}).)*)\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*\Z")


class Context(msgspec.Struct):
    """The values that expressions can refer to.

    Attributes:
        env: The environment.
        inputs: The inputs of a workflow or action.
        matrix: The values of a job's matrix.
        folder: Folder of the action, for `github.action_path`.
        marks: The possible values of inserted marks; filled as texts are read.
    """

    env: dict[str, Values] = msgspec.field(default_factory=dict)
    inputs: dict[str, Values] = msgspec.field(default_factory=dict)
    matrix: dict[str, Values] = msgspec.field(default_factory=dict)
    folder: str = "."
    marks: dict[str, Values] = msgspec.field(default_factory=dict)

    def fill(self, text: str) -> str:
        """Return a text with its known expressions replaced.

        Raises:
            OutOfPatience: The survey has reached its limits.
        """

        def known(expression: re.Match[str]) -> str:
            value = self.of(expression[1].strip())
            step(len(value[0]))
            if len(value) == 1:
                return value[0]
            name = f"either-{len(self.marks) + 1}"
            self.marks[name] = value
            return mark(name)

        filled = _EXPRESSION.sub(known, text)
        step(len(filled))
        return filled

    def values(self, text: str) -> Values:
        """Return every possible value of a text with at most one expression."""
        whole = _EXPRESSION.fullmatch(text.strip())
        return self.of(whole[1].strip()) if whole else (self.fill(text),)

    def of(self, expression: str) -> Values:
        """Return every possible value of an expression."""
        if "||" in expression and "(" not in expression:
            return either(self.of(part.strip()) for part in expression.split("||"))
        if len(expression) > 1 and expression[0] == expression[-1] == "'":
            return (expression[1:-1],)
        if not _NAME.match(expression):
            return (mark(expression[:60]),)
        where, _, name = expression.partition(".")
        if expression == "github.workspace":
            return (".",)
        if expression == "github.action_path":
            return (self.folder,)
        if expression.startswith("github.event.inputs."):
            where, name = "inputs", expression.rpartition(".")[2]
        known = {"env": self.env, "inputs": self.inputs, "matrix": self.matrix}.get(where, {})
        return known.get(name, (mark(expression),))
