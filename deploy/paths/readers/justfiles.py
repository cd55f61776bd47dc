"""The recipes of a justfile, from `just --dump`; no recipe is run.

`just` itself parses the file, because no library knows the whole language.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from switchproof.deploy.paths.call import Call, Text
from switchproof.deploy.paths.files import Files
from switchproof.deploy.paths.meaning import PYTHON, SHELLS
from switchproof.deploy.paths.patience import step
from switchproof.deploy.paths.programs.python_text import follow_python
from switchproof.deploy.paths.readers.shell import Command, Scope
from switchproof.deploy.paths.survey import Place
from switchproof.deploy.paths.values import Values, either, joined, mark
from switchproof.deploy.paths.walk import Walker

_LIMIT_S = 30.0
_DEEPEST = 20
NAMES = ("justfile", "Justfile", ".justfile", "JUSTFILE")
_VALUES = frozenset({"-f", "--justfile", "-d", "--working-directory", "--shell", "--shell-arg", "--color", "--set"})
_ONLY_TELL = frozenset({"--list", "-l", "--summary", "--dump", "--show", "-s", "--evaluate", "--version", "--fmt"})


class NotRead(Exception):
    """A justfile cannot be read; the message says why."""


class _Run(msgspec.Struct, frozen=True):
    """The call of a recipe: its arguments, its variables, and the provider of the machine."""

    name: str
    recipe: dict[str, Any]
    module: dict[str, Any]
    arguments: list[Values] | None
    known: dict[str, Values]
    variables: dict[str, Values]
    provider: str

    def environment(self, values: _Values) -> dict[str, Values]:
        """Return the variables of its shell, with those that the justfile exports."""
        everything = self.module["settings"]["export"]
        exported = {
            variable["name"]: values.of(variable["value"])
            for variable in self.module["assignments"].values()
            if variable["export"] or everything
        }
        own = {
            parameter["name"]: self.known[parameter["name"]]
            for parameter in self.recipe["parameters"]
            if parameter["export"] or everything
        }
        return {**self.variables, **exported, **own}


class Justfile:
    """The recipes of a justfile; those of its modules are named `module::recipe`.

    Args:
        files: The repository.
        path: The justfile.

    Raises:
        NotRead: `just` is missing or cannot read it.
    """

    def __init__(self, files: Files, path: str) -> None:
        self.files, self.path = files, path
        self.recipes: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.aliases: dict[str, str] = {}
        self.first: str | None = None
        self._take(_dump(files.root / path), "")

    @classmethod
    def of(cls, files: Files) -> Justfile | None:
        """Return the justfile of a repository; None if there is none.

        Raises:
            NotRead: `just` is missing or cannot read it.
        """
        path = next((name for name in NAMES if files.is_file(name)), None)
        return cls(files, path) if path else None

    def _take(self, module: dict[str, Any], prefix: str) -> None:
        for name, recipe in module["recipes"].items():
            self.recipes[prefix + name] = (recipe, module)
        for name, alias in module["aliases"].items():
            self.aliases[prefix + name] = prefix + alias["target"]
        if not prefix:
            self.first = module.get("first")
        for name, inner in module.get("modules", {}).items():
            self._take(inner, f"{prefix}{name}::")

    def place(self, name: str) -> Place:
        """Return the first line of a recipe."""
        path, line = self._at(name)
        return self.files.place(path, line)

    def run(self, walker: Walker, call: Call) -> bool:
        """Follow `just …`; false if it names no recipe of this file."""
        words = list(call.words)
        while words:
            word = words[0][0]
            if word in _ONLY_TELL:
                return True
            if word.startswith("-"):
                words.pop(0)
                if word == "--set":
                    del words[:2]
                elif word in _VALUES and words:
                    if word in {"-f", "--justfile"} and words[0][0].removeprefix("./") != self.path:
                        return False
                    words.pop(0)
            elif re.fullmatch(r"[A-Za-z_][\w-]*=.*", word, re.DOTALL):
                words.pop(0)
            else:
                break
        if not words:
            return self.first is not None and self._call(walker, self.first, [], call)
        name, arguments = words[0][0].replace("/", "::"), words[1:]
        name = self.aliases.get(name, name)
        if name not in self.recipes and len(words) > 1 and f"{name}::{words[1][0]}" in self.recipes:
            name, arguments = f"{name}::{words[1][0]}", words[2:]
        while name in self.recipes:
            parameters = self.recipes[name][0]["parameters"]
            takes = len(arguments) if any(each["kind"] != "singular" for each in parameters) else len(parameters)
            self._call(walker, name, arguments[:takes], call)
            arguments = arguments[takes:]
            if not arguments:
                return True
            name, arguments = arguments[0][0], arguments[1:]
        return False

    def _call(self, walker: Walker, name: str, arguments: list[Values], call: Call) -> bool:
        self.follow(walker, name, arguments, call.scope.variables, provider=call.text.provider)
        return True

    def follow(
        self,
        walker: Walker,
        name: str,
        arguments: list[Values] | None,
        variables: dict[str, Values],
        *,
        provider: str = "local",
        trace: tuple[str, ...] = (),
    ) -> bool:
        """Follow a recipe and its dependencies.

        Args:
            walker: The walk.
            name: The recipe.
            arguments: Its arguments; None if only the caller knows them.
            variables: The environment.
            provider: The provider of the machine that runs it.
            trace: The recipes that are being followed.

        Returns:
            Whether recipes that depend on it continue.
        """
        step()
        if name in trace:
            return True
        recipe, module = self.recipes[name]
        run = _Run(name, recipe, module, arguments, self._bind(recipe, module, arguments), variables, provider)
        prefix = name.rpartition("::")[0]
        for at, dependency in enumerate([*recipe["dependencies"], None]):
            if at == recipe["priors"] and not self._body(walker, run):
                return False
            if dependency is None:
                break
            wanted = f"{prefix}::{dependency['recipe']}" if prefix else dependency["recipe"]
            if wanted not in self.recipes:
                walker.trail.unknown(self.place(name), f"the recipe {wanted}, which it depends on, was not found")
                continue
            given = [_Values(run.known, module).of(argument) for argument in dependency["arguments"]]
            if not self.follow(walker, wanted, given, variables, provider=provider, trace=(*trace, name)):
                return False
        return True

    def _bind(
        self, recipe: dict[str, Any], module: dict[str, Any], arguments: list[Values] | None
    ) -> dict[str, Values]:
        known: dict[str, Values] = {}
        rest = list(arguments or [])
        for parameter in recipe["parameters"]:
            name, default = parameter["name"], parameter["default"]
            if parameter["kind"] != "singular":
                known[name] = joined(rest, " ") if rest else ("",) if arguments is not None else (mark(name),)
                rest = []
            elif rest:
                known[name] = rest.pop(0)
            elif default is not None:
                value = _Values(dict(known), module).of(default)
                known[name] = value if arguments is not None else either([value, (mark(name),)])
            else:
                known[name] = (mark(name),)
        return known

    def _body(self, walker: Walker, run: _Run) -> bool:
        path, header = self._at(run.name)
        values = _Values(run.known, run.module)
        lines = ["".join(values.piece(part) for part in line) for line in run.recipe["body"]]
        whole = Text("", path, (header,), provider=run.provider)
        variables = run.environment(values)
        positional = (
            run.module["settings"]["positional_arguments"] or "positional-arguments" in run.recipe["attributes"]
        )
        given = self._positional(run) if positional else []

        def scope() -> Scope:
            return Scope(variables=dict(variables), arguments=list(given), marks=values.marks)

        for command in values.commands:
            walker.shell(replace(whole, text=command), scope())
        program = self._interpreter(run.recipe, run.module["settings"], lines)
        if PYTHON.match(program):
            command_itself = Command(((program,),), 0, conditional=False)
            call = Call(program, (), command_itself, whole, scope(), self.files.place(path, header + 1))
            follow_python(walker, "\n".join(lines), None, call, range(header + 1, header + 1 + len(lines)))
            return True
        if program not in SHELLS:
            walker.trail.unknown(self.files.place(path, header), f"a recipe of {program}, which is not read")
            return True
        if run.recipe["shebang"]:
            rows = tuple(range(header + 1, header + 1 + len(lines)))
            return walker.shell(replace(whole, text="\n".join(lines), rows=rows), scope())
        for first, text in _logical(lines):
            sigils = re.match(r"[@-]*", text)
            body = text[sigils.end() if sigils else 0 :]
            at = header + 1 + first
            rows = tuple(range(at, at + body.count("\n") + 1))
            if not walker.shell(replace(whole, text=body, rows=rows), scope()) and walker.trail.refused:
                return False
        return True

    def _positional(self, run: _Run) -> list[Values]:
        given = []
        fixed = 0
        for parameter in run.recipe["parameters"]:
            if parameter["kind"] == "singular":
                given.append(run.known[parameter["name"]])
                fixed += 1
            elif run.arguments is None:
                given.append((mark("@"),))
        return [*given, *(run.arguments or [])[fixed:]]

    def _interpreter(self, recipe: dict[str, Any], settings: dict[str, Any], lines: list[str]) -> str:
        for attribute in recipe["attributes"]:
            if isinstance(attribute, dict) and "script" in attribute:
                script = attribute["script"]
                return Path(script["command"]).name if script else "sh"
        if recipe["shebang"] and lines:
            words = [word for word in lines[0].removeprefix("#!").split() if not word.startswith("-")]
            names = [Path(word).name for word in words if Path(word).name != "env"]
            return names[0] if names else "sh"
        shell = settings["shell"]
        return Path(shell["command"]).name if shell else "sh"

    def _at(self, name: str) -> tuple[str, int]:
        """Return the file and line of a recipe. `just --dump` has no line numbers, so find the line that names it."""
        recipe, module = self.recipes[name]
        own = recipe["name"]
        opening = re.compile(rf"@?{re.escape(own)}(?![\w-])[^=]*?(:(?!=)|\s+\w+\s*[:=]|\s+[*+$\"'(])")
        source = Path(module.get("source") or self.files.root / self.path)
        try:
            first = source.resolve().relative_to(self.files.root).as_posix()
        except ValueError:
            first = self.path
        for path in (first, *(path for path in self.files.listing if path.endswith(".just"))):
            for number, line in enumerate(self.files.lines(path), 1):
                if opening.match(line):
                    return path, number
        return first, 1


class _Values:
    """The values of expressions in a justfile.

    Args:
        known: The parameters of the recipe.
        module: The module that defines the variables.
    """

    def __init__(self, known: dict[str, Values], module: dict[str, Any]) -> None:
        self._known, self._module = known, module
        self.marks: dict[str, Values] = {}
        self.commands: list[str] = []

    def piece(self, part: Any) -> str:
        """Return the text of a piece of a recipe, or a mark for an expression."""
        if isinstance(part, str):
            return part
        value = self.of(part[0] if len(part) == 1 else part)
        if len(value) == 1:
            return value[0]
        name = f"expression-{len(self.marks) + 1}"
        self.marks[name] = value
        return mark(name)

    def of(self, expression: Any, depth: int = 0) -> Values:
        """Return every possible value of an expression."""
        step()
        if isinstance(expression, str):
            return (expression,)
        if depth > _DEEPEST or not isinstance(expression, list):
            return (mark("expression"),)
        match expression:
            case ["variable", name]:
                if name in self._known:
                    return self._known[name]
                variable = self._module["assignments"].get(name)
                return self.of(variable["value"], depth + 1) if variable else (mark(name),)
            case ["concatenate", first, second]:
                return joined([self.of(first, depth + 1), self.of(second, depth + 1)])
            case ["join", first, second]:
                return joined([self.of(first, depth + 1), self.of(second, depth + 1)], "/")
            case ["if", _, first, second]:
                return either([self.of(first, depth + 1), self.of(second, depth + 1)])
            case ["evaluate", command]:
                self.commands.append(command)
                return (mark(f"$({command})"),)
            case ["call", "env" | "env_var" | "env_var_or_default" | "env_or_default", _, default]:
                return either([self.of(default, depth + 1), (mark("environment"),)])
            case ["call", "justfile_directory" | "justfile_dir" | "invocation_directory" | "source_directory"]:
                return (".",)
            case ["call", "quote", inner]:
                return self.of(inner, depth + 1)
            case ["call", name, *_] | [name, *_]:
                return (mark(str(name)),)
            case _:
                return (mark("expression"),)


def _logical(lines: list[str]) -> list[tuple[int, str]]:
    """Join lines that end in a backslash, as just passes them to one shell."""
    logical: list[tuple[int, str]] = []
    for at, line in enumerate(lines):
        if logical and logical[-1][1].endswith("\\"):
            logical[-1] = (logical[-1][0], f"{logical[-1][1]}\n{line}")
        elif line:
            logical.append((at, line))
    return logical


def _dump(path: Path) -> dict[str, Any]:
    program = shutil.which("just") or shutil.which("just", path=str(Path(sys.executable).parent))
    if program is None:
        raise NotRead("`just` is missing, but the survey reads justfiles with it: run pip install rust-just")
    command = [program, "--justfile", str(path), "--dump", "--dump-format", "json"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise NotRead(f"`just` did not read it within {_LIMIT_S:g} s") from None
    if done.returncode != 0:
        stderr = " ".join(done.stderr.decode(errors="replace").split())
        raise NotRead(f"`just` cannot read it: {stderr[:300]}")
    dumped: dict[str, Any] = json.loads(done.stdout)
    return dumped
