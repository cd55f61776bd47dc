"""SSH and its relatives: the commands that they run on a host, the files that they copy there, its host key."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from switchproof.deploy.paths.meaning import PASSING, SSH_VALUES, key_problem
from switchproof.deploy.paths.programs.shells import inline, run_stdin
from switchproof.deploy.paths.survey import SESSION, Kind
from switchproof.deploy.paths.values import Values, is_known, joined, shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


_MARK = re.compile("⟦[^⟧]*⟧")
_QUIET = re.compile("-[46AaCfgKkMnqsTtvXxYy]*[NGQVO]")
"""Options with which SSH runs no command, alone or behind flags that take no value."""
_FLAGS = re.compile("^-[46AaCfgGKkMNnqsTtvXxYy]+(?=[A-Za-z]$)")
"""Flags that take no value, in front of a last option that may take the next word: `-fNL`."""

_OF_MANY = frozenset({"-w", "-x", "-g", "-X", "-l", "-t", "-u", "-f", "-R", "-o", "-c", "-O"})
"""Options of pdsh and clush that take a value."""


def ssh(walker: Walker, call: Call) -> None:
    """Follow the command or the standard input that SSH runs on a host."""
    words = list(call.words)
    destination: Values | None = None
    quiet = False
    while words:
        word = words[0][0]
        if word == "--":
            words.pop(0)
        elif word.startswith("-"):
            words.pop(0)
            quiet = quiet or bool(_QUIET.match(word))
            word = _FLAGS.sub("-", word)
            if word in SSH_VALUES and words:
                value = words.pop(0)
                if word == "-F":
                    _note_configuration(walker, call, value)
        elif not is_known(word) and destination is None and len(words) > 1 and _is_options(word):
            words.pop(0)
        elif destination is None:
            destination = words.pop(0)
        else:
            break
    if destination is None:
        return
    line = " ".join(shown(text) for word in call.words for text in word).lower()
    provider = "ovh" if "ovh" in line else "ssh"
    if words:
        inline(walker, call, joined(words, " "), provider=provider)
    elif not quiet and (call.command.heredoc or call.command.stdin or call.command.piped):
        run_stdin(walker, call, needed=True, provider=provider)
    elif not quiet:
        walker.trail.find(Kind.BY_HAND, call.place, SESSION)


def _note_configuration(walker: Walker, call: Call, paths: Values) -> None:
    """Note each line of a configuration of SSH in the repository that weakens the check of host keys."""
    for path in filter(None, (walker.files.find(each, call.scope.folder) for each in paths)):
        for number, line in enumerate(walker.files.lines(path), 1):
            if (problem := key_problem(line)) and not line.lstrip().startswith("#"):
                walker.trail.find(Kind.HOST_KEY, walker.files.place(path, number), problem)


def _is_options(word: str) -> bool:
    """Whether a variable that is known only at run time probably holds options, by its name."""
    return "@" not in word and any(part in word.upper() for part in ("OPT", "ARGS", "FLAGS"))


def copies(walker: Walker, call: Call) -> None:
    """Note the files that scp or rsync copies to a host, which may run them later."""
    for word in call.words:
        for argument in word:
            if ":" not in argument and (path := walker.files.find(argument, call.scope.folder)):
                walker.trail.copied[posixpath.basename(path)] = path
    _, is_remote, place = _MARK.sub("$", call.plain[-1] if call.words else "").partition(":")
    if is_remote and not place.startswith(PASSING) and not walker.vouches(call.name):
        walker.trail.unknown(
            call.place, f"{call.name} copies files to {shown(call.plain[-1])}; it is unknown what they do there"
        )


def ssh_to_many(walker: Walker, call: Call) -> None:
    """Follow the command that pdsh or clush runs on many hosts, which options name."""
    words = list(call.words)
    while words and words[0][0].startswith("-"):
        if words.pop(0)[0] in _OF_MANY and words:
            words.pop(0)
    if words:
        inline(walker, call, joined(words, " "), provider="ssh")


def cloud_ssh(walker: Walker, call: Call) -> None:
    """Follow the command that a cloud's own tool runs on a host over SSH."""
    if "ssh" in call.plain and (command := call.option("--command")):
        inline(walker, call, command, provider="ssh")


def ssh_keyscan(walker: Walker, call: Call) -> None:
    """Note ssh-keyscan, which accepts any key at deploy time."""
    walker.trail.find(Kind.HOST_KEY, call.place, "ssh-keyscan accepts any key that is presented for the host")
