"""YAML files, with the line number of each value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.paths.files import Files


class NotYaml(SwitchproofError):
    """A file is not readable YAML.

    Args:
        line: The line of the error.
            message: The error.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Node(msgspec.Struct, frozen=True):
    """A value of a YAML file, with its place.

    Attributes:
        value: A mapping, a sequence or a scalar, as the parser returns it.
        file: The file.
        line: Its first line, from 1.
    """

    value: Any
    file: str
    line: int

    @property
    def tag(self) -> str:
        """Its own tag, such as `!reference`; empty without one."""
        tag = getattr(getattr(self.value, "tag", None), "value", None) or ""
        return tag if tag.startswith("!") and not tag.startswith("!!") else ""

    @property
    def is_map(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether it is a sequence."""
        return isinstance(self.value, list)

    @property
    def text(self) -> str:
        """The scalar as a CI service passes it on, with `true` and `false` as words."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return "" if self.value is None else str(self.value)

    def get(self, *keys: str) -> Node | None:
        """Return the value under a path of keys; None if a key is missing."""
        node: Node | None = self
        for key in keys:
            if node is None or not isinstance(node.value, dict) or key not in node.value:
                return None
            try:
                line = node.value.lc.value(key)[0] + 1  # type: ignore[attr-defined]
            except (AttributeError, KeyError, TypeError):
                line = node.line
            node = Node(node.value[key], node.file, line)
        return node

    def items(self) -> Iterator[tuple[str, Node]]:
        """Yield the keys and values of a mapping."""
        if isinstance(self.value, dict):
            for key in self.value:
                node = self.get(key)
                if node is not None:
                    yield str(key), node

    def parts(self) -> Iterator[Node]:
        """Yield the items of a sequence."""
        if isinstance(self.value, list):
            for at, item in enumerate(self.value):
                try:
                    line = self.value.lc.item(at)[0] + 1  # type: ignore[attr-defined]
                except (AttributeError, KeyError, TypeError):
                    line = self.line
                yield Node(item, self.file, line)

    def rows(self, files: Files) -> tuple[int, ...]:
        """Return the line number in the file for each line of a text."""
        kind = type(self.value).__name__
        count = self.text.count("\n") + 1
        if kind == "LiteralScalarString":
            return tuple(range(self.line + 1, self.line + 1 + count))
        if kind != "FoldedScalarString":
            return (self.line,) * count
        lines = files.lines(self.file)
        rows, at = [], self.line + 1
        for text in self.text.split("\n"):
            rest = text.split()
            rows.append(at)
            while rest and at <= len(lines):
                there = lines[at - 1].split()
                rest = rest[len(there) :] if there else rest
                at += 1
        return tuple(rows)


def load(files: Files, path: str) -> Node:
    """Read a YAML file; no object is constructed from a tag.

    Raises:
        NotYaml: The file is not readable YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="rt", pure=True)
    try:
        if problem := files.unreadable(path):
            raise NotYaml(1, problem)
        value = yaml.load(files.text(path) or "")
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise NotYaml(mark.line + 1 if mark else 1, f"not readable YAML: {error.problem}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise NotYaml(1, f"not readable YAML: {str(error)[:200]}") from None
    return Node(value, path, 1)
