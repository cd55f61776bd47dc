"""Shells: the text, script or standard input that a call of sh or bash runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from switchproof.deploy.paths.programs.scripts import find_script, run_file, run_path
from switchproof.deploy.paths.readers.shell import Command, Scope
from switchproof.deploy.paths.values import Values, after_marks, is_known, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call, Text
    from switchproof.deploy.paths.walk import Walker


def run_shell(walker: Walker, call: Call) -> None:
    """Follow a shell: the text of `-c`, its script, or its standard input."""
    words = list(call.words)
    while words and words[0][0].startswith(("-", "+")) and words[0][0] != "-":
        option = words.pop(0)[0]
        letters = "" if option.startswith("--") else option[1:]
        values = option in {"--rcfile", "--init-file"} or letters.count("o") + letters.count("O")
        del words[:values]
        if option.startswith("-") and "c" in letters:
            inline(walker, call, words[0] if words else ("",), words[2:])
            return
        if option.startswith("-") and "n" in letters:
            return  # only parses the script
        if option.startswith("-") and "s" in letters:
            arguments = words[1:] if words and words[0][0] == "--" else words
            run_stdin(walker, call, needed=True, arguments=arguments)
            return
    if words and words[0][0] != "-" and words[0][0] != "/dev/stdin":
        for path in words[0]:
            run_path(
                walker,
                replace(call, name=path if "/" in path else f"./{path}", words=tuple(words[1:])),
            )
        return
    run_stdin(walker, call, needed=bool(words) or call.command.piped is not None)


def run_stdin(
    walker: Walker, call: Call, *, needed: bool, provider: str | None = None, arguments: Iterable[Values] = ()
) -> None:
    """Follow the standard input of a shell.

    Args:
        walker: The walk.
        call: The call of the shell.
        needed: Whether the shell must have input, so that unknown input is not understood.
        provider: The provider of the machine, if another than the caller's.
        arguments: The arguments of a script that is read in this way.
    """
    command = call.command
    script_call = replace(call, words=tuple(arguments))
    text = replace(call.text, provider=provider or call.text.provider, outer=None)
    if command.heredoc:
        rows = _heredoc_lines(command, call.text)
        for body in command.heredoc:
            walker.shell(replace(text, text=body, rows=rows), separate_scope(call))
    elif command.stdin:
        _run_read(walker, replace(script_call, text=text), command.stdin)
    elif command.piped and command.piped.heredoc and command.piped.words[0][0] in {"cat", "tee"}:
        run_stdin(
            walker,
            replace(call, command=command.piped),
            needed=True,
            provider=provider,
            arguments=arguments,
        )
    elif command.piped and command.piped.words[0][0] == "cat" and len(command.piped.words) > 1:
        _run_read(walker, replace(script_call, text=text), [word[0] for word in command.piped.words[1:]])
    elif command.piped and command.piped.words[0][0] in {"echo", "printf"}:
        for body in command.piped.words[-1]:
            walker.shell(replace(text, text=body, rows=(call.place.line,)), separate_scope(call))
    elif needed:
        walker.trail.unknown(call.place, "a shell reads text that is known only at run time")


def _heredoc_lines(command: Command, text: Text) -> tuple[int, ...]:
    """Return the line numbers of a command's here-document, which a text contains."""
    if command.heredoc_lines:
        return command.heredoc_lines
    count = max((body.count("\n") + 1 for body in command.heredoc or ()), default=0)
    return tuple(text.line(command.heredoc_row + row) for row in range(count))


def _with_lines(command: Command, text: Text) -> Command:
    """Return a command that knows the lines of its here-document, for a shell whose own text is another one."""
    piped = _with_lines(command.piped, text) if command.piped else None
    return replace(command, heredoc_lines=_heredoc_lines(command, text), piped=piped)


def _run_read(walker: Walker, call: Call, paths: Iterable[str]) -> None:
    """Follow files that a shell gets as its standard input."""
    for path in paths:
        if script := find_script(walker, path, call):
            run_file(walker, script, call)
        else:
            walker.trail.unknown(call.place, f"a shell reads {shown(path)}, which is not in the repository")


def separate_scope(call: Call) -> Scope:
    """Return the scope of a separate shell, whose changes do not reach the caller."""
    scope = call.scope
    return Scope(variables=dict(scope.variables), script=scope.script, folder=scope.folder, marks=dict(scope.marks))


def inline(
    walker: Walker, call: Call, bodies: Values, words: Iterable[Values] = (), provider: str | None = None
) -> None:
    """Follow shell in an argument.

    Args:
        walker: The walk.
        call: The call that has the argument.
        bodies: The possible values of the argument.
        words: The positional parameters of the shell.
        provider: The provider of the machine, if another than the caller's.
    """
    for body in bodies:
        if not is_known(body) and not after_marks(body).strip() and body.startswith("⟦"):
            if not walker.vouches(body):
                walker.trail.unknown(call.place, f"runs {shown(body)}, which is known only at run time")
            continue
        scope = separate_scope(call)
        scope.arguments = list(words) or None
        scope.functions = dict(call.scope.functions) if provider is None else {}
        first = call.command.row
        rows = tuple(call.text.line(row) for row in range(first, first + body.count("\n") + 1))
        file = call.text.file
        if (call.place.file, call.place.line) != (file, rows[0]):  # the caller of a function decided what runs
            rows, file = (call.place.line,), call.place.file
        outer = _with_lines(call.command, call.text)
        inner = replace(call.text, text=body, file=file, rows=rows, outer=outer)
        inner = replace(inner, provider=provider or call.text.provider)
        walker.shell(inner, scope)
