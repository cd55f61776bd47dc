"""Interpreters of other languages: Python, whose programs are inspected, and those whose programs are not read."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec.structs import replace

from switchproof.deploy.paths.meaning import PYTHON
from switchproof.deploy.paths.programs.python_text import follow_python
from switchproof.deploy.paths.programs.scripts import run_file
from switchproof.deploy.paths.programs.switchproof import command, session
from switchproof.deploy.paths.values import is_known, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


def python(walker: Walker, call: Call) -> None:
    """Follow Python: a module, a text or a script."""
    words = list(call.words)
    while words and words[0][0].startswith("-") and words[0][0] not in {"-", "-c", "-m"}:
        option = words.pop(0)[0]
        if option in {"-W", "-X"} and words:
            words.pop(0)
    match [word[0] for word in words]:
        case ["-m", "pytest", *_]:
            session(walker, replace(call, name="pytest", words=tuple(words[2:])))
        case ["-m", "switchproof", *_]:
            command(walker, replace(call, words=tuple(words[2:])))
        case ["-m", module, *_]:
            _module(walker, call, module)
        case ["-c", text, *_]:
            follow_python(walker, text, None, call)
        case [] | ["-", *_]:
            for text in call.command.heredoc or ():
                follow_python(walker, text, None, call)
        case [script, *_]:
            path = walker.files.find(script, call.scope.folder, posixpath.dirname(call.scope.script or ""))
            if path:
                run_file(walker, path, replace(call, words=tuple(words[1:])))
            elif not walker.vouches(script):
                walker.trail.unknown(call.place, f"{shown(script)} is not in the repository")
        case _:
            pass


def _module(walker: Walker, call: Call, module: str) -> None:
    path = module.replace(".", "/")
    for candidate in (f"{path}.py", f"{path}/__main__.py", f"src/{path}.py", f"src/{path}/__main__.py"):
        if (text := walker.files.text(candidate)) is not None:
            follow_python(walker, text, candidate, call)
            return
    if not is_known(module):
        walker.trail.unknown(call.place, f"the module {shown(module)} is known only at run time")


def other_interpreter(walker: Walker, call: Call) -> None:
    """Note a program of an interpreter whose language is not read, such as node."""
    if any(word in {"-e", "-E", "--eval"} for word in call.plain) and not PYTHON.match(call.name):
        walker.trail.unknown(call.place, f"a program of {call.name}, which is not read")
        return
    script = next((word for word in call.plain if not word.startswith("-")), None)
    if script and walker.files.find(script, call.scope.folder):
        walker.trail.unknown(call.place, f"{script} is a program of {call.name}, which is not read")
