"""Recognises Switchproof's own host-side script by its text."""

from __future__ import annotations

import posixpath
import re

from switchproof.deploy.host.program import SCRIPT, fragments, whole_script
from switchproof.deploy.paths.files import Files

_DEFAULTS = re.compile(
    r"^# What the target file says of this host\.\n"
    r"""(?:\[ -n "\$\{[A-Z_]+\+given\}" \] \|\| [A-Z_]+=\$'(?:[^'\\\n]|\\.)*'\n)*""",
    re.MULTILINE,
)
"""Lines that `deploy.host.by_hand` adds to the script for people: quoted values, and no commands."""


def is_own(text: str, files: Files, path: str) -> bool:
    """Whether a script is this version's, either whole as for people, or beside its fragments."""
    if _DEFAULTS.sub("", text, count=1) == whole_script():
        return True
    folder = posixpath.dirname(path)
    return text == SCRIPT.read_text(encoding="utf-8") and all(
        files.text(posixpath.join(folder, name)) == SCRIPT.parent.joinpath(name).read_text(encoding="utf-8")
        for name in fragments()
    )
