"""Shell text → its commands in order, each word with its possible values.

The parser is tree-sitter with its grammar of Bash. It is well maintained, reads POSIX sh as well, and knows every
construct of the language. It marks the part of a text that it cannot parse, and does not reject the rest.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from switchproof.deploy.paths.survey import Place
from switchproof.deploy.paths.values import Values, either, filled, is_known, joined, mark

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

_CONDITIONAL = frozenset(
    {"if_statement", "while_statement", "for_statement", "c_style_for_statement", "case_statement", "elif_clause"}
)
_REDIRECTS = frozenset({"file_redirect", "heredoc_redirect", "herestring_redirect"})
_ALL_ARGUMENTS = re.compile(r"\$\{?[@*]")
_REST = re.compile(r"[@*]:\s*(\d+)\Z")
_CONTINUED_AT_END = re.compile(r"(\s*\\\n\s*)+\Z")
_WRITING = frozenset({">", ">>", ">|", "&>", "&>>"})
_DEFAULTS = frozenset({":-", "-", ":=", "="})


class Scope(msgspec.Struct):
    """The state of a shell while it runs.

    Attributes:
        variables: The values of variables; a missing one comes from the environment.
        arguments: The positional parameters; None if only the caller knows them.
        script: Path of the running script, from the repository's root; None for text without a file.
        folder: The working directory, from the repository's root.
        functions: The defined functions.
        marks: The known values of marks in the text itself.
        called_at: The line that called the running function; None outside of one.
    """

    variables: dict[str, Values] = msgspec.field(default_factory=dict)
    arguments: list[Values] | None = None
    script: str | None = None
    folder: str = "."
    functions: dict[str, tuple[Node, Reader]] = msgspec.field(default_factory=dict)
    marks: dict[str, Values] = msgspec.field(default_factory=dict)
    called_at: Place | None = None


class Command(msgspec.Struct, frozen=True):
    """One simple command.

    Attributes:
        words: Its name and arguments.
        row: Its first line in the text, from 0.
        conditional: Whether a condition decides that it runs.
        assigned: Variables that are set for this command only.
        heredoc: Text of its standard input.
        heredoc_row: First line of that text.
        heredoc_lines: Its line numbers in the file, if another text than the command's contains it.
        stdin: The file of its standard input.
        piped: The command that pipes its output to it.
        writes: The files that the shell writes its output to.
        forwards: Whether it passes all arguments on, so that the caller of its function decides what it runs.
    """

    words: tuple[Values, ...]
    row: int
    conditional: bool
    assigned: dict[str, Values] = msgspec.field(default_factory=dict)
    heredoc: Values | None = None
    heredoc_row: int = 0
    heredoc_lines: tuple[int, ...] = ()
    stdin: Values | None = None
    piped: Command | None = None
    writes: tuple[Values, ...] = ()
    forwards: bool = False


class Assignment(msgspec.Struct, frozen=True):
    """A variable that is set for all following commands."""

    name: str
    value: Values
    row: int


class Strange(msgspec.Struct, frozen=True):
    """A part of the text that the parser does not accept as shell."""

    row: int
    text: str


Step = Command | Assignment | Strange


@functools.cache
def _parse(text: bytes) -> Tree:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language())).parse(text)


class Reader:
    """Reads one text of shell in the order of execution.

    Args:
        text: The shell.
        scope: The state of the shell, which assignments change.
        origin: The place of the text, for the caller of a function that the text defines.
    """

    def __init__(self, text: str, scope: Scope, origin: Any = None) -> None:
        self._tree = _parse(_CONTINUED_AT_END.sub("\n", text).encode())
        self.scope = scope
        self.origin = origin

    def steps(self) -> Iterator[Step]:
        """Yield the steps of the text; those of a function come from `body` when it is called."""
        root = self._tree.root_node
        if root.has_error:
            yield from _errors(root)
        yield from self._visit(root, conditional=False)

    def body(self, node: Node, *, conditional: bool) -> Iterator[Step]:
        """Yield the steps of a function's body."""
        yield from self._visit(node, conditional=conditional)

    def _visit(self, node: Node, *, conditional: bool) -> Iterator[Step]:
        if node.is_error:
            return  # reported by `steps`
        match node.type:
            case "comment" | "heredoc_body" | "heredoc_start" | "heredoc_end":
                return
            case "function_definition":
                name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
                if name and body:
                    self.scope.functions[_text(name)] = (body, self)
            case "variable_assignment":
                yield from self._assign(node, conditional=conditional)
            case "declaration_command":
                for child in node.named_children:
                    yield from self._visit(child, conditional=conditional)
            case "command":
                yield from self._command(node, conditional=conditional)
            case "redirected_statement":
                yield from self._redirected(node, conditional=conditional)
            case "pipeline":
                yield from self._pipeline(node, conditional=conditional)
            case "list":
                first, *rest = node.named_children
                yield from self._visit(first, conditional=conditional)
                for child in rest:
                    yield from self._visit(child, conditional=True)
            case "for_statement":
                yield from self._loop(node)
            case _:
                inner = conditional or node.type in _CONDITIONAL
                for child in node.named_children:
                    yield from self._visit(child, conditional=inner)

    def _loop(self, node: Node) -> Iterator[Step]:
        variable, body = node.child_by_field_name("variable"), node.child_by_field_name("body")
        items = [word for each in node.children_by_field_name("value") for word in self.words(each)]
        for each in node.children_by_field_name("value"):
            yield from self._substituted(each)
        if variable:
            self.scope.variables[_text(variable)] = either(items) if items else (mark(_text(variable)),)
        if body:
            yield from self._visit(body, conditional=True)

    def _assign(self, node: Node, *, conditional: bool) -> Iterator[Step]:
        name_node, value_node = node.child_by_field_name("name"), node.child_by_field_name("value")
        yield from self._substituted(node)
        if name_node is None:
            return
        name = _text(name_node).partition("[")[0]
        value = self._assigned(value_node)
        if any(_text(child) == "+=" for child in node.children):
            value = joined([self.scope.variables.get(name, ("",)), value], " ")
        elif conditional and name in self.scope.variables:
            value = either([self.scope.variables[name], value])
        self.scope.variables[name] = value
        yield Assignment(name, value, node.start_point.row)

    def _assigned(self, node: Node | None) -> Values:
        if node is None:
            return ("",)
        if node.type == "array":
            value = joined([word for child in node.named_children for word in self.words(child)], " ")
        else:
            value = self.value(node)
        return tuple(text.replace("\\\n", "") for text in value)

    def _redirected(self, node: Node, *, conditional: bool) -> Iterator[Step]:
        heredoc: Values | None = None
        stdin: Values | None = None
        writes: list[Values] = []
        words: list[Values] = []
        row = 0
        later: list[Node] = []
        for redirect in node.named_children:
            if redirect.type == "heredoc_redirect":
                for part in redirect.named_children:
                    if part.type == "heredoc_body":
                        heredoc, row = self._heredoc(redirect, part), part.start_point.row
                    elif part.type not in {"heredoc_start", "heredoc_end", "file_descriptor", "file_redirect"}:
                        later.append(part)
            elif redirect.type == "herestring_redirect" and redirect.named_children:
                heredoc, row = self.value(redirect.named_children[-1]), redirect.start_point.row
            elif redirect.type == "file_redirect" and (files := redirect.children_by_field_name("destination")):
                if _operator(redirect) == "<":
                    stdin = self.value(files[0])
                elif _operator(redirect) in _WRITING:
                    writes.append(self.value(files[0]))
                words += [word for each in files[1:] for word in self.words(each)]  # arguments after the file
            if redirect.type in _REDIRECTS:
                yield from self._substituted(redirect)
        body = node.child_by_field_name("body")
        if body:
            steps = list(self._visit(body, conditional=conditional))
            last = next((n for n in range(len(steps) - 1, -1, -1) if isinstance(steps[n], Command)), None)
            if last is not None and (heredoc or stdin or writes or words):
                command = steps[last]
                assert isinstance(command, Command)
                steps[last] = replace(
                    command,
                    words=(*command.words, *words),
                    heredoc=heredoc or command.heredoc,
                    heredoc_row=row if heredoc else command.heredoc_row,
                    stdin=stdin or command.stdin,
                    writes=(*command.writes, *writes),
                )
            yield from steps
        before = steps[last] if body and last is not None else None
        for part in later:
            # The rest of the line after a here-document's mark: a pipeline or list.
            yield from _after(before, self._visit(part, conditional=conditional))

    def _heredoc(self, redirect: Node, body: Node) -> Values:
        start = next((part for part in redirect.named_children if part.type == "heredoc_start"), None)
        if start and any(quote in _text(start) for quote in "'\"\\"):
            return (_text(body),)
        return self._mixed(body)

    def _pipeline(self, node: Node, *, conditional: bool) -> Iterator[Step]:
        before: Command | None = None
        for child in node.named_children:
            steps = list(self._visit(child, conditional=conditional))
            yield from _after(before, steps)
            commands = [step for step in steps if isinstance(step, Command)]
            before = commands[-1] if commands else before

    def _command(self, node: Node, *, conditional: bool) -> Iterator[Step]:
        words: list[Values] = []
        assigned: dict[str, Values] = {}
        heredoc: Values | None = None
        yield from self._substituted(node)
        for child in node.named_children:
            if child.type == "variable_assignment":
                name = child.child_by_field_name("name")
                if name:
                    assigned[_text(name)] = self._assigned(child.child_by_field_name("value"))
            elif child.type == "herestring_redirect" and child.named_children:
                heredoc = self.value(child.named_children[-1])
            elif child.type == "command_name":
                words += [word for part in child.named_children for word in self.words(part)]
            elif child.type not in _REDIRECTS and child.type != "comment":
                words += self.words(child)
        row = node.start_point.row
        if words and words[0] == ("shift",) and self.scope.arguments is not None:
            count = words[1][0] if len(words) > 1 else "1"
            del self.scope.arguments[: int(count) if count.isdigit() else 1]
        if words:
            forwards = bool(_ALL_ARGUMENTS.search(_text(node)))
            yield Command(tuple(words), row, conditional, assigned, heredoc, row, forwards=forwards)

    def _substituted(self, node: Node) -> Iterator[Step]:
        """Yield the steps of command and process substitutions within a node."""
        for child in node.named_children:
            if child.type in {"command_substitution", "process_substitution"}:
                for inner in child.named_children:
                    yield from self._visit(inner, conditional=True)
            elif child.type != "heredoc_redirect" or node.type == "heredoc_redirect":
                yield from self._substituted(child)

    def words(self, node: Node) -> list[Values]:
        """Return the words of a node in an argument list; an unquoted variable may hold several."""
        bare = node
        if (
            node.type == "string"
            and len(node.named_children) == 1
            and _text(node)[1:-1] == _text(node.named_children[0])
        ):
            bare = node.named_children[0]
        if bare.type in {"simple_expansion", "expansion"}:
            name = _text(bare).strip("${}")
            if name in {"@", "*"} and self.scope.arguments is not None:
                return list(self.scope.arguments)
            if (rest := _REST.match(name)) and self.scope.arguments is not None:
                return list(self.scope.arguments[max(int(rest[1]) - 1, 0) :])
            if bare is node or name.endswith(("[@]", "[*]")):
                value = self.value(bare)
                if len(value) == 1 and is_known(value[0]):
                    return [(part,) for part in value[0].split()]
                if len(value) == 1 and " " in value[0]:
                    return [(part,) for part in value[0].split()]
                return [value]
        return [self.value(node)]

    def value(self, node: Node) -> Values:
        """Return every possible value of a word."""
        values = self._value(node)
        if not self.scope.marks or all(is_known(text) for text in values):
            return values
        return either(filled(text, self.scope.marks) for text in values)

    def _value(self, node: Node) -> Values:
        match node.type:
            case "word" | "number" | "string_content" | "heredoc_content" | "extglob_pattern" | "regex":
                return (_unescaped(_text(node)) if node.type == "word" else _text(node),)
            case "raw_string":
                return (_text(node)[1:-1],)
            case "ansi_c_string":
                return (_text(node)[2:-1].replace("\\n", "\n").replace("\\t", "\t").replace("\\'", "'"),)
            case "string":
                return self._mixed(node, 1, 1)
            case "translated_string":
                return self.value(node.named_children[0])
            case "concatenation":
                return joined([self.value(child) for child in node.children if child.type != "``"])
            case "simple_expansion" | "expansion":
                return self._expansion(node)
            case "command_substitution":
                return self._substitution(node)
            case _:
                return (mark(_text(node)[:60]),)

    def _mixed(self, node: Node, before: int = 0, after: int = 0) -> Values:
        """Return the value of text that contains expansions, with the text between them."""
        text = node.text or b""
        parts: list[Values] = []
        at = before
        for child in node.named_children:
            if child.type in {"string_content", "heredoc_content"}:
                continue
            start, end = child.start_byte - node.start_byte, child.end_byte - node.start_byte
            parts += [(_plain(text[at:start]),), self.value(child)]
            at = end
        parts.append((_plain(text[at : len(text) - after]),))
        return joined(parts)

    def _expansion(self, node: Node) -> Values:
        names = [
            child
            for child in node.named_children
            if child.type in {"variable_name", "subscript", "special_variable_name"}
        ]
        if not names:
            return (mark(_text(node).strip("${}")),)
        name = _text(names[0]).partition("[")[0]
        operator = next(
            (child.type for child in node.children if not child.is_named and child.type not in {"${", "}", "$"}), ""
        )
        value = self._variable(name)
        if operator in _DEFAULTS:
            rest = [child for child in node.named_children if child is not names[0] and child != names[0]]
            default = joined([self.value(child) for child in rest]) if rest else ("",)
            if value is None:
                return either([default, (mark(name),)])
            return either(default if text == "" else (text,) for text in value)
        if value is None:
            return (mark(name),)
        if operator in {"", ":?", "?"}:
            return value
        return (mark(_text(node).strip("${}")),)

    def _variable(self, name: str) -> Values | None:
        if name in {"0", "BASH_SOURCE"}:
            return (self.scope.script,) if self.scope.script else None
        if name == "PWD":
            return (self.scope.folder,)
        arguments = self.scope.arguments
        if name in {"@", "*"}:
            return None if arguments is None else joined(arguments, " ") if arguments else ("",)
        if name.isdigit():
            if arguments is None:
                return None
            return arguments[int(name) - 1] if int(name) <= len(arguments) else ("",)
        return self.scope.variables.get(name)

    def _substitution(self, node: Node) -> Values:
        """Return the value of a command substitution, if it only computes a path or a text."""
        scope = replace(self.scope, variables=dict(self.scope.variables))
        inner = Reader("", scope, self.origin)
        steps = [step for child in node.named_children for step in inner.body(child, conditional=False)]
        commands = [step for step in steps if isinstance(step, Command)]
        value = self._computed(commands)
        return value if value is not None else (mark(_text(node).strip("$()`")[:60]),)

    def _computed(self, commands: list[Command]) -> Values | None:
        if not commands:
            return None
        here = self.scope.folder
        for command in commands[:-1]:
            match [word[0] for word in command.words]:
                case ["cd", *_, folder] if is_known(folder):
                    here = posixpath.normpath(posixpath.join(here, folder))
                case ["dirname" | "git" | "basename" | "realpath" | "readlink", *_]:
                    pass  # an argument of a later command
                case _:
                    return None
        match [word[0] for word in commands[-1].words]:
            case ["pwd", *_]:
                return (here,)
            case ["dirname", *_, path] if is_known(path):
                return (posixpath.dirname(path) or ".",)
            case ["basename", path] if is_known(path):
                return (posixpath.basename(path),)
            case ["realpath" | "readlink", *_, path] if is_known(path):
                return (path,)
            case ["git", *_, "rev-parse", "--show-toplevel"]:
                return (".",)
            case ["echo" | "printf", *options] if options and len(commands) == 1:
                return joined(commands[-1].words[-1:])
        return None


def _after(before: Step | None, steps: Iterable[Step]) -> Iterator[Step]:
    """Yield steps, with commands that read the output of an earlier command."""
    for step in steps:
        if isinstance(step, Command) and isinstance(before, Command) and step.piped is None:
            yield replace(step, piped=before)
        else:
            yield step


def _errors(node: Node) -> Iterator[Strange]:
    """Yield every part that the parser does not accept."""
    if node.is_error or node.is_missing:
        yield Strange(node.start_point.row, _text(node).strip()[:80])
    elif node.has_error:
        for child in node.children:
            yield from _errors(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")


def _plain(text: bytes) -> str:
    """Return the text within double quotes; continued lines stay, because a shell that reads it has them too."""
    return text.decode(errors="replace").replace('\\"', '"').replace("\\$", "$")


def _unescaped(text: str) -> str:
    return text.replace("\\\n", "").replace("\\ ", " ") if "\\" in text else text


def _operator(redirect: Node) -> str:
    return next((child.type for child in redirect.children if not child.is_named), "")
