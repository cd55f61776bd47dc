"""Reads a host-side script that is not Switchproof's: whether it keeps to the contract is seen, or not."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SWITCH = re.compile(r"^(?:if ! |sudo |exec |\w+=\S+ )*nixos-rebuild\b.*\bswitch\b")
"""A switch that nothing decides about: it begins its line, in no block."""
_ASK = re.compile(r"\b(?:curl|wget|nc|ncat)\b")
_GIVEN = re.compile(r"\b(?:git|nixos-rebuild)\b.*\$\{?(?:[1-9@]|\w*(?:SHA|REV|COMMIT|sha|rev|commit)\w*)")
_FORGIVEN = re.compile(r"\|\|\s*(?:true|:|echo\b|printf\b|/bin/true|exit 0)|;\s*(?:true|:|exit 0)\s*$|&\s*$")
_ENDS_ON_ERROR = re.compile(r"^set -\w*e|^set -o errexit|^#!.*\s-\w*e")


def unseen_duties(text: str) -> Iterator[str]:
    """Yield each duty that reading a script does not show: it may be kept in a form that is not read.

    Args:
        text: A script in which all programs of the duties were seen.
    """
    code = [line if line.startswith("#!") else line.partition(" #")[0] for line in text.splitlines()]
    code = [line for line in code if line.startswith("#!") or not line.lstrip().startswith("#")]
    switch = next((at for at, line in enumerate(code) if _SWITCH.search(line)), None)
    asks = [line for at, line in enumerate(code) if switch is not None and at > switch and _ASK.search(line)]
    if not any(_GIVEN.search(line) for line in code):
        yield "switch to the commit that it is given"
    if switch is None:
        yield "switch in any case"
    elif not asks:
        yield "ask for health after the switch"
    ends = any(_ENDS_ON_ERROR.search(line) for line in code[: switch or 0])
    for line, what in (
        (code[switch] if switch is not None else "", "the switch"),
        (asks[0] if asks else "", "health"),
    ):
        handled = ends or "if !" in line or "||" in line
        if line and (_FORGIVEN.search(line) or not handled):
            yield f"end with a failure of {what}"
