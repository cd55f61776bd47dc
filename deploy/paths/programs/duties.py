"""Reads a host-side script that is not Switchproof's: whether it keeps to the contract is seen, or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SWITCH = re.compile(r"^(?:if ! |sudo |exec |\w+=\S+ )*nixos-rebuild\b.*\bswitch\b")
"""A switch that nothing decides about: it begins its line, in no block."""
_ASK = re.compile(r"\b(?:curl|wget|nc|ncat)\b")
_GIVEN = re.compile(r"\b(?:git|nixos-rebuild)\b.*\$\{?(?:[1-9@]|\w*(?:SHA|REV|COMMIT|sha|rev|commit)\w*)")
_HANDLED = re.compile(r"\bif ! |\|\|")
_FORGIVEN = re.compile(r";\s*(?:true|:|exit 0)\s*$|(?<!&)&\s*$")
_ENDS = re.compile(r"\bexit\b(?! 0\b)|\b(?:return [1-9]|false|die|fail)\b")
"""What ends a script, in the branch that handles a failure."""
_BRANCH_ENDS = re.compile(r"^\s*(?:fi|\}|\))|\}\s*;?\s*$")
_ENDS_ON_ERROR = re.compile(r"^set -\w*e|^set -o errexit|^#!.*\s-\w*e")


def unseen_duties(text: str) -> Iterator[str]:
    """Yield each duty that reading a script does not show: it may be kept in a form that is not read.

    Args:
        text: A script in which all programs of the duties were seen.
    """
    code = [line if line.startswith("#!") else line.partition(" #")[0] for line in text.splitlines()]
    code = [line for line in code if line.startswith("#!") or not line.lstrip().startswith("#")]
    switch = next((at for at, line in enumerate(code) if _SWITCH.search(line)), None)
    ask = next((at for at, line in enumerate(code) if switch is not None and at > switch and _ASK.search(line)), None)
    if not any(_GIVEN.search(line) for line in code):
        yield "switch to the commit that it is given"
    if switch is None:
        yield "switch in any case"
    elif ask is None:
        yield "ask for health after the switch"
    ends = any(_ENDS_ON_ERROR.search(line) for line in code[: switch or 0])
    for at, what in ((switch, "the switch"), (ask, "health")):
        if at is not None and not _ends_there(code, at, ends=ends):
            yield f"end with a failure of {what}"


def _ends_there(code: Sequence[str], at: int, *, ends: bool) -> bool:
    """Whether a script ends where the command of a line fails: by itself, or in the branch that handles it."""
    if _FORGIVEN.search(code[at]):
        return False
    if (handled := _HANDLED.search(code[at])) is None:
        return ends
    branch = [code[at][handled.end() :]]
    if handled[0] != "||" or branch[0].rstrip().endswith(("{", "(")):
        for line in code[at + 1 :]:
            branch.append(line)
            if _BRANCH_ENDS.search(line):
                break
    return _ENDS.search("\n".join(branch)) is not None
