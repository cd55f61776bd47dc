"""Follows an entry point command by command, into each script, function and recipe that it runs."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from switchproof.deploy.paths.call import Call, Recipes, Text, script_text
from switchproof.deploy.paths.files import Files
from switchproof.deploy.paths.meaning import (
    ASKS,
    HOST_SCRIPT,
    LEADING,
    PYTHON,
    REVISION_VARIABLES,
    RUN_BY_OTHERS,
    SHELLS,
    WRAPPERS,
    is_moving,
    key_problem,
    of_aws,
    publishes,
)
from switchproof.deploy.paths.programs import interpreters, on_host, scripts, shells, wrappers
from switchproof.deploy.paths.programs.handlers import HANDLERS
from switchproof.deploy.paths.readers.shell import Assignment, Command, Reader, Scope, Step, Strange
from switchproof.deploy.paths.survey import Kind, Place
from switchproof.deploy.paths.trail import Trail
from switchproof.deploy.paths.values import Values, is_known, shown

DEEPEST = 40
"""Levels of nested calls that are followed."""

MOST_STEPS = 20_000
"""Commands and assignments that are followed per entry point, because functions that call functions multiply."""

OWN_ROOT = Path(__file__).resolve().parents[2]
"""The folder of this Switchproof: a clone, or the installed package."""

_HARMLESS_START = frozenset(
    {"echo", "printf", "cat", "set", "true", ":", "cd", "test", "[", "exit", "return", "shift", "local", "unset"}
)
"""Commands that an entry point may run before it refuses, because they do nothing yet."""


class Walker:
    """Follows one entry point.

    Args:
        files: The repository.
        trail: The notes on the entry point.
        recipes: The recipes of each tool, by the tool's name.
        vouched: Names, with wildcards, that the caller vouches for; a name that occurs is set to true.
        elsewhere: Returns the files and recipes of Switchproof itself, for a job that fetches it.

    Attributes:
        fetched_switchproof: Whether the entry point has fetched Switchproof.
        programs_run: The programs that ran so far in the current script.
        judged_scripts: The host-side scripts that were judged already.
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
        self.fetched_switchproof = False
        self.programs_run: set[str] = set()
        self.judged_scripts: set[str] = set()
        self._vouched = vouched
        self._elsewhere = elsewhere
        self._under_way: list[str] = []
        self._steps_left = MOST_STEPS
        self._followed: set[object] = set()

    def shell(self, text: Text, scope: Scope) -> bool:
        """Follow a text of shell.

        Returns:
            Whether the caller continues after it; false if the text always ends the shell.
        """
        if len(self._under_way) > DEEPEST:
            self.trail.unknown(self.files.place(text.file, text.line(0)), "calls are nested too deeply")
            return True
        with self.entering(""):
            return self._steps(Reader(text.text, scope, text).steps(), text, scope)

    def script(self, path: str, text: str) -> None:
        """Follow a script on its own, as a person may run it."""
        self.shell(script_text(path, text), Scope(script=path))

    @contextmanager
    def entering(self, key: str) -> Iterator[None]:
        """Hold a file or function as under way, so that it is not followed within itself."""
        self._under_way.append(key)
        try:
            yield
        finally:
            self._under_way.pop()

    def is_under_way(self, key: str) -> bool:
        """Whether a file or function is being followed."""
        return key in self._under_way

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
                        step = replace(  # noqa: PLW2901 - the command with the input of the one that runs it
                            step,
                            heredoc=outer.heredoc,
                            heredoc_lines=outer.heredoc_lines,
                            stdin=outer.stdin,
                            piped=outer.piped,
                        )
                    self._note(step, place, text.provider)
                    if step.forwards and scope.called_at:
                        place = scope.called_at
                    if not self._command(step, text, scope, place):
                        return False
        return True

    def note_assigned(self, assigned: dict[str, Values], place: Place) -> None:
        """Note host key options, AWS and floating revisions in the names and values of variables."""
        for name, value in assigned.items():
            self.note_words([f"{name}={each}" for each in value], place)
            if any(HOST_SCRIPT in each for each in value):
                self.trail.strings.append(place)
            if name in REVISION_VARIABLES and any(is_moving(each, any_name=True) for each in value):
                self.trail.find(Kind.FLOATING, place, f"{name} is {shown(value[0])}, which can move")

    def _note(self, command: Command, place: Place, provider: str) -> None:
        self.note_assigned(command.assigned, place)
        self.note_words((text for word in command.words for text in word), place)
        if provider not in {"local", "lab"}:
            on_host.note_written(self, command, place)
        is_echo = command.words[0][0] == "echo"
        texts = (text for word in (*command.words, command.heredoc or ()) for text in word)
        if not is_echo and any(HOST_SCRIPT in text for text in texts):
            self.trail.strings.append(place)
        self.note_words(command.heredoc or (), place)

    def note_words(self, texts: Iterable[str], place: Place) -> None:
        """Note host key options and AWS in any words."""
        for text in texts:
            if problem := key_problem(text):
                self.trail.find(Kind.HOST_KEY, place, problem)
            if of_aws(text):
                self.trail.find(Kind.AWS, place, "only makes sense with AWS")

    def note_change(self, call: Call, action: str, provider: str | None = None) -> None:
        """Note that a call changes a host.

        Args:
            call: The call.
            action: The command, for readers.
            provider: The provider of the host; None for that of the text.
        """
        provider = provider or call.text.provider
        self.trail.act(action, call.place, provider, shared=call.text.shared, inline=call.text.entry)

    def _command(self, command: Command, text: Text, scope: Scope, place: Place) -> bool:
        """Follow a command; false if nothing runs after it."""
        goes_on = True
        for name in command.words[0]:
            if name not in _HARMLESS_START:
                self.trail.did = True
            call = Call(name, command.words[1:], command, text, scope, place)
            if name in {"exit", "return"}:
                if command.conditional:
                    continue
                code = call.plain[0] if call.words else "0"
                if code != "0" and not self.trail.did:
                    self.trail.refused = True
                goes_on = False
            elif name == "exec" and call.words:
                self.run(call)
                goes_on = goes_on and command.conditional
            else:
                self.run(call)
        return goes_on

    def run(self, call: Call) -> None:
        """Follow the call of a program."""
        name = call.name
        self.programs_run.add(name)
        self.trail.published |= publishes(name, call.plain)
        if name in call.scope.functions:
            self.function(call)
        elif name in WRAPPERS or name in LEADING or wrappers.is_runner(call):
            wrappers.run_wrapped(self, call)
        elif not is_known(name) or "/" in name:
            scripts.run_path(self, call)
        elif name in SHELLS:
            shells.run_shell(self, call)
        elif PYTHON.match(name):
            interpreters.python(self, call)
        elif handler := HANDLERS.get(name):
            handler(self, call)
        else:
            self._other(call)

    def _other(self, call: Call) -> None:
        """Follow a program without a handler, if its arguments name a program that changes hosts.

        On a host every program counts: it changes the host, or is known to be harmless, or is not understood.
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

    def function(self, call: Call) -> None:
        """Follow a function of the shell, once for the same arguments and variables."""
        key = f"function {call.name}"
        if self.is_under_way(key):
            return
        body, reader = call.scope.functions[call.name]
        scope = call.scope
        circumstances = (body.id, call.text.provider, call.words, scope.folder, frozenset(scope.variables.items()))
        if circumstances in self._followed:
            return
        self._followed.add(circumstances)
        before = call.scope.arguments, call.scope.called_at
        call.scope.arguments, call.scope.called_at = list(call.words), call.place
        try:
            origin: Text = reader.origin
            shared = origin.shared or call.text.shared
            text = replace(origin, shared=shared, provider=call.text.provider, outer=call.text.outer)
            with self.entering(key):
                self._steps(reader.body(body, conditional=True), text, call.scope)
        finally:
            call.scope.arguments, call.scope.called_at = before

    def again(self, call: Call, words: Sequence[Values]) -> None:
        """Follow a command that another command has as its arguments."""
        command = replace(call.command, words=tuple(words))
        for name in words[0]:
            self.run(replace(call, name=name, words=tuple(words[1:]), command=command))

    def recipe(self, tool: str, call: Call) -> None:
        """Follow a tool's recipe, of the repository or of the Switchproof that the entry point fetched."""
        own = self.recipes.get(tool)
        if own and own.run(self, call):
            return
        if self.fetched_switchproof and (other := self._elsewhere()):
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
        """Whether the caller vouches for a name; notes that the name occurred."""
        for pattern in self._vouched:
            if fnmatch.fnmatchcase(shown(name), pattern):
                self._vouched[pattern] = self.trail.vouched = True
                return True
        return False
