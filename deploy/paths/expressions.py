"""GitHub's expressions in a text: what is known of them in place, marks for the rest (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from switchproof.deploy.paths.patience import step
from switchproof.deploy.paths.values import Values, either, mark

_EXPRESSION = re.compile(r"\$\{\{((?:(?!\$\{\{|\}\}).)*)\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*\Z")


@dataclass
class Context:
    """What expressions know.

    Attributes:
        env: The environment.
        inputs: The inputs of a workflow or action.
        matrix: The values of a job's matrix.
        folder: Where the action is, for `github.action_path`.
        marks: What the marks that were put in place stand for; filled as texts are read.
    """

    env: dict[str, Values] = field(default_factory=dict)
    inputs: dict[str, Values] = field(default_factory=dict)
    matrix: dict[str, Values] = field(default_factory=dict)
    folder: str = "."
    marks: dict[str, Values] = field(default_factory=dict)

    def fill(self, text: str) -> str:
        """Return a text with what is known put in place."""

        def known(found: re.Match[str]) -> str:
            value = self.of(found[1].strip())
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
        """Return all that a text with at most one expression may come to."""
        whole = _EXPRESSION.fullmatch(text.strip())
        return self.of(whole[1].strip()) if whole else (self.fill(text),)

    def of(self, expression: str) -> Values:
        """What an expression may come to."""
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
