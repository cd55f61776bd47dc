"""YAML files with the line of everything that stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.paths.files import Files


class NotYaml(SwitchproofError):
    """A file is no YAML that can be read; says where.

    Args:
        line: The line.
    """

    def __init__(self, line: int, words: str) -> None:
        super().__init__(words)
        self.line = line


@dataclass(frozen=True)
class Node:
    """A value of a YAML file and where it stands.

    Attributes:
        value: As the parser gives it: a mapping, a sequence or a scalar.
        file: The file.
        line: Where it begins, from 1.
    """

    value: Any
    file: str
    line: int

    @property
    def tag(self) -> str:
        """The tag that it has, such as `!reference`; empty for none of its own."""
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
        """What it says, as a service passes it on: true and false are words there."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return "" if self.value is None else str(self.value)

    def get(self, *keys: str) -> Node | None:
        """What stands under a key, and a key of that."""
        found: Node | None = self
        for key in keys:
            if found is None or not isinstance(found.value, dict) or key not in found.value:
                return None
            try:
                line = found.value.lc.value(key)[0] + 1  # type: ignore[attr-defined]
            except (AttributeError, KeyError, TypeError):
                line = found.line
            found = Node(found.value[key], found.file, line)
        return found

    def items(self) -> Iterator[tuple[str, Node]]:
        """Yield the keys of a mapping, with what stands under them."""
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
        """The line of the file for each line of a text."""
        kind = type(self.value).__name__
        count = self.text.count("\n") + 1
        if kind == "LiteralScalarString":
            return tuple(range(self.line + 1, self.line + 1 + count))
        if kind != "FoldedScalarString":
            return (self.line,) * count
        lines = files.lines(self.file)
        rows, at = [], self.line + 1
        for text in self.text.split("\n"):
            words = text.split()
            rows.append(at)
            while words and at <= len(lines):
                there = lines[at - 1].split()
                words = words[len(there) :] if there else words
                at += 1
        return tuple(rows)


def load(files: Files, path: str) -> Node:
    """Read a YAML file; anchors, merges and tags are kept apart, and no object is made of any of them.

    Raises:
        NotYaml: It is none.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="rt", pure=True)
    try:
        if why := files.unreadable(path):
            raise NotYaml(1, why)
        value = yaml.load(files.text(path) or "")
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise NotYaml(mark.line + 1 if mark else 1, f"not readable YAML: {error.problem}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise NotYaml(1, f"not readable YAML: {str(error)[:200]}") from None
    return Node(value, path, 1)
