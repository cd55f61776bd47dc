"""Script files: which file of the repository a path names, and what that file runs."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from switchproof.deploy.paths.call import script_text
from switchproof.deploy.paths.meaning import HOST_DUTIES, HOST_SCRIPT, PYTHON, SHELLS
from switchproof.deploy.paths.programs.duties import unseen_duties
from switchproof.deploy.paths.programs.python_text import follow_python
from switchproof.deploy.paths.programs.switchproof import host_script, unseen_host_script
from switchproof.deploy.paths.readers.shell import Scope
from switchproof.deploy.paths.shipped import is_own
from switchproof.deploy.paths.survey import Action, Kind
from switchproof.deploy.paths.values import after_marks, is_known, marks, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


def run_path(walker: Walker, call: Call) -> None:
    """Follow a program that is named by a path, or by a word that is known only at run time."""
    name = call.name
    base = posixpath.basename(after_marks(name))
    path = find_script(walker, name, call)
    if path:
        run_file(walker, path, call)
    elif base == HOST_SCRIPT:
        unseen_host_script(walker, call, name)
    elif base in walker.trail.copied:
        run_file(walker, walker.trail.copied[base], call)
    elif base and (name.startswith("/") or "/bin/" in name or "/sbin/" in name):
        walker.run(replace(call, name=base))
    elif walker.vouches(name):
        pass
    elif is_known(name):
        walker.trail.unknown(call.place, f"{name} is not in the repository")
    else:
        walker.trail.unknown(call.place, f"it is known only at run time what {shown(name)} runs")
        if set(marks(name)) & {"1", "@", "*"} or call.scope.functions:
            for function in list(call.scope.functions):
                walker.function(replace(call, name=function, words=()))


def find_script(walker: Walker, path: str, call: Call) -> str | None:
    """Find the file that a call's path names, or a file of that name that was copied to the host."""
    folders = [call.scope.folder]
    if call.scope.script:
        folders.append(posixpath.dirname(call.scope.script))
    script = walker.files.find(path, *folders)
    if script is None and posixpath.basename(path) in walker.trail.copied:
        return walker.trail.copied[posixpath.basename(path)]
    return script


def run_file(walker: Walker, path: str, call: Call) -> None:
    """Follow a file of the repository that a call runs."""
    key = f"file {path}"
    if walker.is_under_way(key) or walker.vouches(path):
        return
    text = walker.files.text(path)
    if text is None:
        walker.trail.unknown(call.place, f"{path} is not a readable text file")
        return
    walker.files.followed.add(path)
    host_side = posixpath.basename(path) == HOST_SCRIPT
    if host_side:
        host_script(walker, call)
        if is_own(text, walker.files, path):
            return
    outer_programs, walker.programs_run = walker.programs_run, set()
    changed = len(walker.trail.actions)
    interpreter = _interpreter(text.partition("\n")[0])
    extension = posixpath.splitext(path)[1]
    try:
        with walker.entering(key):
            if interpreter in SHELLS or (not interpreter and extension in {".sh", ".bash", ""}):
                scope = Scope(
                    variables={**call.scope.variables, **call.command.assigned},
                    arguments=list(call.words),
                    script=path,
                    folder=call.scope.folder,
                )
                inner = script_text(path, text, call.text)
                walker.shell(replace(inner, shared=call.text.shared or host_side), scope)
            elif PYTHON.match(interpreter) or extension == ".py":
                follow_python(walker, text, path, call)
            else:
                walker.trail.unknown(
                    call.place, f"{path} is a program of {interpreter or extension}, which is not read"
                )
    finally:
        if host_side:
            _judge_host_script(walker, path, list(walker.trail.actions.values())[changed:])
        walker.programs_run |= outer_programs


def source_file(walker: Walker, path: str, call: Call) -> None:
    """Follow a file that a call reads into the same shell."""
    key = f"file {path}"
    text = walker.files.text(path)
    if text is None:
        walker.trail.unknown(call.place, f"{path} is not a readable text file")
    if walker.is_under_way(key) or text is None:
        return
    walker.files.followed.add(path)
    with walker.entering(key):
        walker.shell(script_text(path, text, call.text), call.scope)


def _judge_host_script(walker: Walker, path: str, actions: Sequence[Action]) -> None:
    """Note the duties that a host-side script other than Switchproof's lacks; judge each script once."""
    if path in walker.judged_scripts:
        return
    walker.judged_scripts.add(path)
    done = walker.programs_run | {"nixos-rebuild switch" for action in actions if action.what == "nixos-rebuild"}
    missing = [duty for duty, shows in HOST_DUTIES.items() if not shows & done]
    if missing:
        walker.trail.find(
            Kind.HOST_SCRIPT,
            walker.files.place(path, 1),
            f"{path} is not Switchproof's host-side script, and does not {', '.join(missing)}",
        )
    elif not walker.trail.findings and (unseen := list(unseen_duties(walker.files.text(path) or ""))):
        place = walker.files.place(path, 1)
        what = f"{path} is not Switchproof's host-side script, and was not seen to {', '.join(unseen)}"
        walker.trail.unknown(place, what)


def _interpreter(first_line: str) -> str:
    """Return the program that a script's first line names; empty without one."""
    if not first_line.startswith("#!"):
        return ""
    words = first_line[2:].split()
    if not words:
        return ""
    base = posixpath.basename(words[0])
    if base == "env":
        rest = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        return posixpath.basename(rest[0]) if rest else ""
    return base
