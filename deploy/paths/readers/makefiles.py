"""The targets of a Makefile, from its syntax tree.

make itself is never run: to read a Makefile it runs its `$(shell …)`, even with `--dry-run` or `--print-data-base`.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from switchproof.deploy.paths.call import Call, Text
from switchproof.deploy.paths.files import Files
from switchproof.deploy.paths.patience import step
from switchproof.deploy.paths.programs.shells import separate_scope
from switchproof.deploy.paths.readers.shell import Scope
from switchproof.deploy.paths.survey import Place
from switchproof.deploy.paths.values import Values, either, is_known, joined, mark
from switchproof.deploy.paths.walk import Walker

if TYPE_CHECKING:
    from tree_sitter import Node

NAMES = ("GNUmakefile", "makefile", "Makefile")
_VALUES = frozenset({"-C", "-f", "-I", "-o", "-W", "-j", "-l", "--directory", "--file", "--makefile"})
_DEEPEST = 10
_CONTINUED = re.compile(rb"\\\n(?=[ \t]*\n)")
_REFERENCE = re.compile(r"\$(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\)|\{([^{}]*)\}|(\$)|([@<^?*%+|]))")


class _Rule(msgspec.Struct, frozen=True):
    """A rule of a target: the targets that it needs, and the lines of its recipe with their line numbers."""

    file: str
    line: int
    needs: tuple[str, ...]
    recipe: tuple[tuple[int, str], ...]


class Makefile:
    """The targets of a Makefile and its included files.

    Args:
        files: The repository.
        path: The Makefile.
    """

    def __init__(self, files: Files, path: str) -> None:
        self.files, self.path = files, path
        self.rules: dict[str, list[_Rule]] = {}
        self.variables: dict[str, Values] = {}
        self.strange: list[tuple[Place, str]] = []
        self._read: set[str] = set()
        self._take(path)

    @classmethod
    def of(cls, files: Files) -> Makefile | None:
        """Return the Makefile of a repository; None if there is none."""
        path = next((name for name in NAMES if files.is_file(name)), None)
        return cls(files, path) if path else None

    def _take(self, path: str) -> None:
        import tree_sitter
        import tree_sitter_make

        if path in self._read:
            return
        self._read.add(path)
        # What is continued with an empty line ends there, for make and shells; the grammar takes the line after it.
        text = _CONTINUED.sub(b" \n", (self.files.text(path) or "").encode())
        if why := self.files.unreadable(path):
            self._note(path, 1, why)
        # The grammar expects a line feed at the end.
        tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_make.language())).parse(text + b"\n")
        self._visit(tree.root_node, path)

    def _visit(self, node: Node, path: str) -> None:
        for child in node.named_children:
            line = child.start_point.row + 1
            match child.type:
                case "ERROR":
                    self._note(path, line, "not a readable Makefile")
                case "rule":
                    self._rule(child, path)
                case "variable_assignment" | "shell_assignment":
                    self._variable(child)
                case "include_directive":
                    self._include(child, path, line)
                case "define_directive":
                    self._note(path, line, "define holds text that only make can expand")
                case "comment":
                    pass
                case _:
                    if "eval" in _text(child)[:12]:
                        self._note(path, line, "$(eval …) creates rules that only make can read")
                    self._visit(child, path)

    def _note(self, path: str, line: int, message: str) -> None:
        self.strange.append((self.files.place(path, line), message))

    def _variable(self, node: Node) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None:
            return
        key, text = _text(name), _text(value).strip() if value else ""
        if node.type == "shell_assignment":
            self.variables[key] = (mark(f"$({text})"),)
        elif any(child.type == "+=" for child in node.children) and key in self.variables:
            self.variables[key] = joined([self.variables[key], (text,)], " ")
        elif key in self.variables:
            self.variables[key] = either([self.variables[key], (text,)])
        else:
            self.variables[key] = (text,)

    def _include(self, node: Node, path: str, line: int) -> None:
        words = _text(node).split()
        for word in words[1:]:
            for name in self.expand(word, ""):
                file = self.files.find(name) if is_known(name) else None
                if file:
                    self._take(file)
                elif not words[0].startswith("-") and words[0] != "sinclude":
                    self._note(path, line, f"includes {name}, which is not in the repository")

    def _rule(self, node: Node, path: str) -> None:
        targets: list[str] = []
        needs: list[str] = []
        recipe: list[tuple[int, str]] = []
        for child in node.named_children:
            if child.type == "targets":
                targets = [name for word in _text(child).split() for name in self.expand(word, "")[0].split()]
            elif child.type == "prerequisites":
                needs += [name for word in _text(child).split() for name in self.expand(word, "")[0].split()]
            elif child.type == "recipe":
                self._recipe(child, path, recipe)
        rule = _Rule(path, node.start_point.row + 1, tuple(need for need in needs if need != "|"), tuple(recipe))
        for target in targets:
            self.rules.setdefault(target, []).append(rule)

    def _recipe(self, node: Node, path: str, recipe: list[tuple[int, str]]) -> None:
        for child in node.named_children:
            if child.type == "recipe_line":
                lines = _text(child).split("\n")
                text = "\n".join(line.removeprefix("\t") if at else line for at, line in enumerate(lines))
                recipe.append((child.start_point.row + 1, text))
            elif child.type == "ERROR":
                self._note(path, child.start_point.row + 1, "not a readable recipe")
            elif child.type == "conditional":
                # The grammar parses lines after an indented conditional as part of it, rules included.
                self._conditional(child, path, recipe)

    def _conditional(self, node: Node, path: str, recipe: list[tuple[int, str]]) -> None:
        for child in node.named_children:
            if child.type == "rule":
                self._rule(child, path)
            elif child.type == "recipe_line":
                recipe.append((child.start_point.row + 1, _text(child)))
            else:
                self._conditional(child, path, recipe)

    @property
    def targets(self) -> list[str]:
        """The targets that a person or a service can name."""
        return [name for name in self.rules if not name.startswith(".")]

    def place(self, target: str) -> Place:
        """Return the first line of a target's rule with a recipe, or else of its first rule."""
        rules = self.rules[target]
        rule = next((each for each in rules if each.recipe), rules[0])
        return self.files.place(rule.file, rule.line)

    def run(self, walker: Walker, call: Call) -> bool:
        """Follow `make …`; false if it names no target of this file."""
        words = list(call.words)
        given: dict[str, Values] = {}
        targets: list[str] = []
        while words:
            word = words.pop(0)
            if word[0] in {"-C", "--directory"} or word[0].startswith("--directory="):
                folder = words.pop(0)[0] if word[0] in {"-C", "--directory"} and words else word[0].partition("=")[2]
                if folder not in {".", "./"}:
                    return self._elsewhere(walker, call, folder, words)
            elif word[0] in _VALUES:
                del words[:1]
            elif word[0].startswith("-"):
                continue
            elif "=" in word[0]:
                given[word[0].partition("=")[0].rstrip(":?")] = tuple(each.partition("=")[2] for each in word)
            else:
                targets += list(word)
        for target in targets or self.targets[:1]:
            rule = target if target in self.rules else self._pattern(target)
            if rule is None:
                return False
            self.follow(walker, rule, given, call.scope.variables, provider=call.text.provider)
        return True

    def _pattern(self, target: str) -> str | None:
        """Return the pattern rule that matches a target, such as `deploy-%`."""
        patterns = (name for name in self.rules if "%" in name)
        return next((name for name in patterns if fnmatch.fnmatchcase(target, name.replace("%", "*"))), None)

    def _elsewhere(self, walker: Walker, call: Call, folder: str, words: list[Values]) -> bool:
        path = next((f"{folder}/{name}" for name in NAMES if self.files.is_file(f"{folder}/{name}")), None)
        if path is None:
            return False
        inner = Makefile(self.files, path)
        scope = separate_scope(call)
        scope.folder = folder
        for place, message in inner.strange:
            walker.trail.unknown(place, message)
        return inner.run(walker, replace(call, words=tuple(words), scope=scope))

    def follow(
        self,
        walker: Walker,
        target: str,
        given: dict[str, Values],
        variables: dict[str, Values],
        *,
        provider: str = "local",
        trace: tuple[str, ...] = (),
    ) -> None:
        """Follow a target and the targets that it needs.

        Args:
            walker: The walk.
            target: The target.
            given: Variables on the command line.
            variables: The environment.
            provider: The provider of the machine that runs it.
            trace: The targets that are being followed.
        """
        step()
        if target in trace:
            return
        for rule in self.rules[target]:
            for need in rule.needs:
                needed = need if need in self.rules else self._pattern(need)
                if needed:
                    self.follow(walker, needed, given, variables, provider=provider, trace=(*trace, target))
            for line, text in rule.recipe:
                for body in self.expand(text.lstrip("@-+ \t"), target, given):
                    rows = tuple(range(line, line + body.count("\n") + 1))
                    scope = Scope(variables={**variables, **given})
                    if (
                        not walker.shell(Text(body, rule.file, rows, provider=provider), scope)
                        and walker.trail.refused
                    ):
                        return

    def expand(self, text: str, target: str, given: dict[str, Values] | None = None, depth: int = 0) -> Values:
        """Replace make's variables in a text by their values; unknown ones become marks.

        Args:
            text: The text.
            target: The target, for `$@`.
            given: Variables on the command line.
            depth: How many variables contain the text.
        """
        parts: list[Values] = []
        at = 0
        for reference in _REFERENCE.finditer(text):
            parts.append((text[at : reference.start()],))
            at = reference.end()
            name = reference[1] if reference[1] is not None else reference[2]
            if reference[3]:
                parts.append(("$",))
            elif reference[4]:
                parts.append((target if reference[4] == "@" else mark(reference[4]),))
            else:
                parts.append(self._known((name or "").strip(), target, given or {}, depth))
        parts.append((text[at:],))
        return joined(parts)

    def _known(self, name: str, target: str, given: dict[str, Values], depth: int) -> Values:
        if name in given:
            return given[name]
        if name in {"MAKE", "CURDIR"}:
            return ("make" if name == "MAKE" else ".",)
        if name in self.variables and depth < _DEEPEST:
            return either(self.expand(text, target, given, depth + 1) for text in self.variables[name])
        return (mark(name),)


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")
