"""Follows what an entry point runs: from shell to the scripts that it calls, wherever they run."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from switchproof.deploy.paths import on_host, programs
from switchproof.deploy.paths.files import Files
from switchproof.deploy.paths.meaning import (
    ASKS,
    HOST_DUTIES,
    HOST_SCRIPT,
    LEADING,
    LEADING_VALUES,
    PYTHON,
    REVISION_VARIABLES,
    RUN_BY_OTHERS,
    RUNNERS,
    SHELLS,
    WRAPPERS,
    is_moving,
    key_problem,
    of_aws,
)
from switchproof.deploy.paths.shell import Assignment, Command, Reader, Scope, Step, Strange
from switchproof.deploy.paths.shipped import is_own
from switchproof.deploy.paths.survey import Action, Kind, Place
from switchproof.deploy.paths.trail import Trail
from switchproof.deploy.paths.values import Values, after_marks, is_known, marks, shown

DEEPEST = 40
"""Calls within calls that are followed."""

MOST_STEPS = 20_000
"""Commands and assignments of one entry point that are followed: functions that call functions multiply."""

OWN_ROOT = Path(__file__).resolve().parents[2]
"""Where this Switchproof is: a clone, or the installed package."""

_TALK = frozenset(
    {"echo", "printf", "cat", "set", "true", ":", "cd", "test", "[", "exit", "return", "shift", "local", "unset"}
)
"""Commands after which nothing has been done yet."""


@dataclass(frozen=True)
class Text:
    """A piece of shell and where it stands.

    Attributes:
        text: The shell.
        file: The file that it stands in.
        rows: The line of the file for each line of the text.
        entry: Whether it stands in the entry point itself and not in a script.
        shared: Whether it is part of the shared host-side script.
        provider: Where what it changes is.
        outer: The command that runs it, whose standard input it has.
    """

    text: str
    file: str
    rows: tuple[int, ...]
    entry: bool = True
    shared: bool = False
    provider: str = "local"
    outer: Command | None = None

    def line(self, row: int) -> int:
        """The line of the file in which a line of the text stands."""
        return self.rows[min(row, len(self.rows) - 1)] if self.rows else 1


@dataclass(frozen=True)
class Call:
    """A program that is run, with all that is known of it.

    Attributes:
        name: The program.
        words: Its arguments.
        command: The command that it is part of.
        text: Where that stands.
        scope: What the shell knows.
        place: The line.
    """

    name: str
    words: tuple[Values, ...]
    command: Command
    text: Text
    scope: Scope
    place: Place

    @property
    def plain(self) -> list[str]:
        """The arguments, of each the first that it may come to."""
        return [word[0] for word in self.words]

    def option(self, *names: str) -> Values | None:
        """The value of an option, written either way."""
        for at, word in enumerate(self.words):
            if word[0] in names:
                return self.words[at + 1] if at + 1 < len(self.words) else None
            for name in names:
                if word[0].startswith(f"{name}="):
                    return tuple(text.removeprefix(f"{name}=") for text in word)
        return None


class Recipes(Protocol):
    """Something that names what can be run: a justfile, a Makefile."""

    def run(self, walker: Walker, call: Call) -> bool:
        """Follow what a call of the tool runs; false if there is nothing of that name."""


class Walker:
    """Follows one entry point.

    Args:
        files: The repository.
        trail: Where it is noted.
        recipes: What a tool's recipes are, by the tool's name.
        vouched: Names, with wildcards, that the caller vouches for; those that were met are noted.
    """

    def __init__(
        self,
        files: Files,
        trail: Trail,
        recipes: dict[str, Recipes],
        vouched: dict[str, bool],
        elsewhere: Callable[[], tuple[Files, dict[str, Recipes]] | None] = lambda: None,
    ) -> None:
        self.files = files
        self.trail = trail
        self.recipes = recipes
        self._vouched = vouched
        self._elsewhere = elsewhere
        self.switchproof = False  # whether the entry point fetched Switchproof
        self._under_way: list[str] = []
        self._steps_left = MOST_STEPS
        self._followed: set[object] = set()
        self._ran: set[str] = set()
        self._judged: set[str] = set()

    def shell(self, text: Text, scope: Scope) -> bool:
        """Follow a text of shell.

        Returns:
            Whether it goes on after it: false if it always ends there.
        """
        if len(self._under_way) > DEEPEST:
            self.trail.unknown(self.files.place(text.file, text.line(0)), "calls are nested too deeply")
            return True
        self._under_way.append("")
        try:
            return self._steps(Reader(text.text, scope, text).steps(), text, scope)
        finally:
            self._under_way.pop()

    def _steps(self, steps: Iterable[Step], text: Text, scope: Scope) -> bool:
        for step in steps:
            place = self.files.place(text.file, text.line(step.row))
            self._steps_left -= 1
            if self._steps_left < 0:
                self.trail.unknown(self.trail.place, f"it runs more than {MOST_STEPS} commands, too many to follow")
                return False
            match step:
                case Strange():
                    self.trail.unknown(place, f"not readable shell: {shown(step.text)!r}")
                case Assignment():
                    self.note_assigned({step.name: step.value}, place)
                case Command():
                    if text.outer and step.heredoc is None and step.stdin is None and step.piped is None:
                        outer = text.outer
                        step = replace(step, heredoc=outer.heredoc, stdin=outer.stdin, piped=outer.piped)  # noqa: PLW2901
                    self._note(step, place)
                    if not self._command(step, text, scope, place):
                        return False
        return True

    def note_assigned(self, assigned: dict[str, Values], place: Place) -> None:
        """Note what variables say by their names and values."""
        for name, value in assigned.items():
            self.note_words([f"{name}={each}" for each in value], place)
            if any(HOST_SCRIPT in each for each in value):
                self.trail.strings.append(place)
            if name in REVISION_VARIABLES and any(is_moving(each, any_name=True) for each in value):
                self.trail.find(Kind.FLOATING, place, f"{name} is {shown(value[0])}, which can move")

    def _note(self, command: Command, place: Place) -> None:
        self.note_assigned(command.assigned, place)
        self.note_words((text for word in command.words for text in word), place)
        said = command.words[0][0] == "echo"
        if not said and any(HOST_SCRIPT in text for word in (*command.words, command.heredoc or ()) for text in word):
            self.trail.strings.append(place)
        self.note_words(command.heredoc or (), place)

    def note_words(self, texts: Iterable[str], place: Place) -> None:
        """Note what words say by themselves, wherever they stand."""
        for text in texts:
            if problem := key_problem(text):
                self.trail.find(Kind.HOST_KEY, place, problem)
            if of_aws(text):
                self.trail.find(Kind.AWS, place, "only makes sense with AWS")

    def _command(self, command: Command, text: Text, scope: Scope, place: Place) -> bool:
        """Follow a command; false if nothing comes after it."""
        going = True
        for name in command.words[0]:
            if name not in _TALK:
                self.trail.did = True
            call = Call(name, command.words[1:], command, text, scope, place)
            if name in {"exit", "return"}:
                if command.conditional:
                    continue
                code = call.plain[0] if call.words else "0"
                if code != "0" and not self.trail.did:
                    self.trail.refused = True
                going = False
            elif name == "exec" and call.words:
                self.run(call)
                going = going and command.conditional
            else:
                self.run(call)
        return going

    def run(self, call: Call) -> None:
        """Follow a program."""
        name = call.name
        self._ran.add(name)
        if name in call.scope.functions:
            self._function(call)
        elif name in WRAPPERS or name in LEADING or self._runner(call):
            self._wrapped(call)
        elif not is_known(name) or "/" in name:
            self._path(call)
        elif name in SHELLS:
            self._run_shell(call)
        elif PYTHON.match(name):
            programs.python(self, call)
        elif handler := programs.HANDLERS.get(name):
            handler(self, call)
        else:
            self._other(call)

    def _other(self, call: Call) -> None:
        """Follow what a program that is not known runs, as far as its arguments name a program that changes hosts.

        On a host every program counts: one that changes it is noted, and one that is not known is not understood.
        """
        if on_host.settles(self, call):
            return
        if call.name in ASKS:
            return
        for at, word in enumerate(call.words):
            if word[0] in RUN_BY_OTHERS:
                self.again(call, call.words[at:])
                return
        on_host.question(self, call)

    def _runner(self, call: Call) -> bool:
        return call.name in RUNNERS and bool(call.words) and call.plain[0] in RUNNERS[call.name]

    def _function(self, call: Call) -> None:
        key = f"function {call.name}"
        if key in self._under_way:
            return
        body, reader = call.scope.functions[call.name]
        # The same call in the same circumstances does the same.
        scope = call.scope
        circumstances = (body.id, call.text.provider, call.words, scope.folder, frozenset(scope.variables.items()))
        if circumstances in self._followed:
            return
        self._followed.add(circumstances)
        before = call.scope.arguments
        self._under_way.append(key)
        call.scope.arguments = list(call.words)
        try:
            origin: Text = reader.origin
            text = replace(
                origin, shared=origin.shared or call.text.shared, provider=call.text.provider, outer=call.text.outer
            )
            self._steps(reader.body(body, conditional=True), text, call.scope)
        finally:
            call.scope.arguments = before
            self._under_way.pop()

    def _wrapped(self, call: Call) -> None:
        """Follow the program that another one runs."""
        takes = WRAPPERS.get(call.name, LEADING_VALUES)
        words = list(call.words)
        if self._runner(call):
            words = words[1:]
        leading = LEADING.get(call.name, 0)
        assigned: dict[str, Values] = {}
        while words:
            word = words[0][0]
            if word == "--":
                words.pop(0)
            elif word.startswith("-") and word != "-":
                if call.name == "command" and word in {"-v", "-V"}:
                    return  # only asks whether there is such a program
                words.pop(0)
                if word in takes and words:
                    words.pop(0)
            elif "=" in word and word.partition("=")[0].isidentifier():
                name = word.partition("=")[0]
                assigned[name] = tuple(each.partition("=")[2] for each in words.pop(0))
            elif leading:
                leading -= 1
                words.pop(0)
            else:
                break
        self.note_assigned(assigned, call.place)
        if words:
            self.again(call, words)

    def again(self, call: Call, words: list[Values] | tuple[Values, ...]) -> None:
        """Follow a command that is part of another one's arguments."""
        command = replace(call.command, words=tuple(words))
        for name in words[0]:
            self.run(replace(call, name=name, words=tuple(words[1:]), command=command))

    def _path(self, call: Call) -> None:
        """Follow a program that is named by a path, or by something that is not known."""
        name = call.name
        base = posixpath.basename(after_marks(name))
        found = self._find(name, call)
        if found:
            self.file(found, call)
        elif base == HOST_SCRIPT:
            programs.unseen_host_script(self, call, name)
        elif base in self.trail.copied:
            self.file(self.trail.copied[base], call)
        elif base and (name.startswith("/") or "/bin/" in name or "/sbin/" in name):
            self.run(replace(call, name=base))
        elif self.vouches(name):
            pass
        elif is_known(name):
            self.trail.unknown(call.place, f"{name} is not in the repository")
        else:
            self.trail.unknown(call.place, f"it is known only at run time what {shown(name)} runs")
            if set(marks(name)) & {"1", "@", "*"} or call.scope.functions:
                for function in list(call.scope.functions):
                    self._function(replace(call, name=function, words=()))

    def _find(self, said: str, call: Call) -> str | None:
        folders = [call.scope.folder]
        if call.scope.script:
            folders.append(posixpath.dirname(call.scope.script))
        found = self.files.find(said, *folders)
        if found is None and posixpath.basename(said) in self.trail.copied:
            return self.trail.copied[posixpath.basename(said)]
        return found

    def file(self, path: str, call: Call) -> None:
        """Follow a file of the repository that is run."""
        key = f"file {path}"
        if key in self._under_way or self.vouches(path):
            return
        text = self.files.text(path)
        if text is None:
            self.trail.unknown(call.place, f"{path} is not a readable text file")
            return
        self.files.followed.add(path)
        host_side = posixpath.basename(path) == HOST_SCRIPT
        if host_side:
            programs.host_script(self, call)
            if is_own(text, self.files, path):
                return
        ran, self._ran = self._ran, set()
        changed = len(self.trail.actions)
        first = text.partition("\n")[0]
        interpreter = _interpreter(first)
        extension = posixpath.splitext(path)[1]
        self._under_way.append(key)
        try:
            if interpreter in SHELLS or (not interpreter and extension in {".sh", ".bash", ""}):
                inner = self.of_file(path, text, call.text)
                scope = Scope(
                    variables={**call.scope.variables, **call.command.assigned},
                    arguments=list(call.words),
                    script=path,
                    folder=call.scope.folder,
                )
                self.shell(replace(inner, shared=call.text.shared or host_side), scope)
            elif PYTHON.match(interpreter) or extension == ".py":
                programs.python_text(self, text, path, call)
            else:
                self.trail.unknown(
                    call.place, f"{path} is a program of {interpreter or extension}, which is not read"
                )
        finally:
            self._under_way.pop()
            if host_side:
                self._judge_host_script(path, list(self.trail.actions.values())[changed:])
            self._ran |= ran

    def _judge_host_script(self, path: str, actions: Sequence[Action]) -> None:
        """Note what a host-side script that is not Switchproof's does not do; it is judged when it is read first."""
        if path in self._judged:
            return
        self._judged.add(path)
        done = self._ran | {"nixos-rebuild switch" for action in actions if action.what == "nixos-rebuild"}
        missing = [duty for duty, shows in HOST_DUTIES.items() if not shows & done]
        if missing:
            self.trail.find(
                Kind.HOST_SCRIPT,
                self.files.place(path, 1),
                f"{path} is not Switchproof's host-side script, and does not {', '.join(missing)}",
            )

    def script(self, path: str, text: str) -> None:
        """Follow a script by itself, as a person may run it."""
        rows = tuple(range(1, text.count("\n") + 2))
        self.shell(Text(text, path, rows, entry=False), Scope(script=path))

    def of_file(self, path: str, text: str, caller: Text) -> Text:
        """Return the text of a whole script."""
        rows = tuple(range(1, text.count("\n") + 2))
        return Text(text, path, rows, entry=False, shared=caller.shared, provider=caller.provider)

    def source(self, path: str, call: Call) -> None:
        """Follow a file that is read into the same shell."""
        key = f"file {path}"
        text = self.files.text(path)
        if text is None:
            self.trail.unknown(call.place, f"{path} is not a readable text file")
        if key in self._under_way or text is None:
            return
        self.files.followed.add(path)
        self._under_way.append(key)
        try:
            self.shell(self.of_file(path, text, call.text), call.scope)
        finally:
            self._under_way.pop()

    def _run_shell(self, call: Call) -> None:
        """Follow a shell: its text, its script, or what it gets to read."""
        words = list(call.words)
        while words and words[0][0].startswith(("-", "+")) and words[0][0] != "-":
            option = words.pop(0)[0]
            letters = "" if option.startswith("--") else option[1:]
            values = option in {"--rcfile", "--init-file"} or letters.count("o") + letters.count("O")
            del words[:values]
            if option.startswith("-") and "c" in letters:
                self.inline(call, words[0] if words else ("",), words[2:])
                return
            if option.startswith("-") and "s" in letters:
                words = [("-",)]
        if words and words[0][0] != "-" and words[0][0] != "/dev/stdin":
            for said in words[0]:
                self._path(replace(call, name=said if "/" in said else f"./{said}", words=tuple(words[1:])))
            return
        self.stdin(call, needed=bool(words) or call.command.piped is not None)

    def stdin(self, call: Call, *, needed: bool, provider: str | None = None) -> None:
        """Follow what a shell gets to read.

        Args:
            call: The call.
            needed: Whether there must be something.
            provider: Where it runs, if elsewhere than what calls it.
        """
        command = call.command
        text = replace(call.text, provider=provider or call.text.provider, outer=None)
        if command.heredoc:
            start = call.text.line(command.heredoc_row)
            for body in command.heredoc:
                rows = tuple(range(start, start + body.count("\n") + 1))
                self.shell(replace(text, text=body, rows=rows), self.elsewhere_scope(call))
        elif command.stdin:
            for said in command.stdin:
                if found := self._find(said, call):
                    self.file(found, replace(call, words=(), text=text))
                else:
                    self.trail.unknown(call.place, f"a shell reads {shown(said)}, which is not in the repository")
        elif command.piped and command.piped.heredoc and command.piped.words[0][0] in {"cat", "tee"}:
            self.stdin(replace(call, command=command.piped), needed=True, provider=provider)
        elif command.piped and command.piped.words[0][0] == "cat" and len(command.piped.words) > 1:
            for word in command.piped.words[1:]:
                if found := self._find(word[0], call):
                    self.file(found, replace(call, words=(), text=text))
                else:
                    self.trail.unknown(call.place, f"a shell reads {shown(word[0])}, which is not in the repository")
        elif command.piped and command.piped.words[0][0] in {"echo", "printf"}:
            for body in command.piped.words[-1]:
                self.shell(replace(text, text=body, rows=(call.place.line,)), self.elsewhere_scope(call))
        elif needed:
            self.trail.unknown(call.place, "a shell reads text that is known only at run time")

    def elsewhere_scope(self, call: Call) -> Scope:
        """What a shell of its own knows, which shares none of the caller's changes."""
        scope = call.scope
        return Scope(
            variables=dict(scope.variables), script=scope.script, folder=scope.folder, marks=dict(scope.marks)
        )

    def inline(self, call: Call, bodies: Values, words: Iterable[Values] = (), provider: str | None = None) -> None:
        """Follow a text that is an argument."""
        for body in bodies:
            if not is_known(body) and not after_marks(body).strip() and body.startswith("⟦"):
                if not self.vouches(body):
                    self.trail.unknown(call.place, f"runs {shown(body)}, which is known only at run time")
                continue
            scope = self.elsewhere_scope(call)
            scope.arguments = list(words) or None
            scope.functions = dict(call.scope.functions) if provider is None else {}
            rows = tuple(
                call.text.line(row) for row in range(call.command.row, call.command.row + body.count("\n") + 1)
            )
            inner = replace(
                call.text,
                text=body,
                rows=rows,
                provider=provider or call.text.provider,
                outer=call.command,
            )
            self.shell(inner, scope)

    def recipe(self, tool: str, call: Call) -> None:
        """Follow a tool's recipe, of the repository or of the Switchproof that the entry point fetched."""
        own = self.recipes.get(tool)
        if own and own.run(self, call):
            return
        if self.switchproof and (other := self._elsewhere()):
            files, recipes = other
            before = self.files
            self.files = files
            try:
                if tool in recipes and recipes[tool].run(self, call):
                    return
            finally:
                self.files = before
        if not self.vouches(tool):
            name = " ".join(shown(word) for word in call.plain[:3])
            self.trail.unknown(call.place, f"{tool} {name}: the repository has no such recipe")

    def vouches(self, name: str) -> bool:
        """Whether the caller vouches for something."""
        for pattern in self._vouched:
            if fnmatch.fnmatchcase(shown(name), pattern):
                self._vouched[pattern] = self.trail.vouched = True
                return True
        return False


def _interpreter(first: str) -> str:
    """The program that a script's first line asks for."""
    if not first.startswith("#!"):
        return ""
    words = first[2:].split()
    if not words:
        return ""
    base = posixpath.basename(words[0])
    if base == "env":
        rest = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return posixpath.basename(rest[0]) if rest else ""
    return base
