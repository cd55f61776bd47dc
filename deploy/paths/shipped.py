"""Whether a file is Switchproof's own host-side script, which is known by its text."""

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
"""What `switchproof script` writes into the script for people: values in quotes, and nothing that runs."""


def is_own(text: str, files: Files, path: str) -> bool:
    """Whether a script is that of this version: as it is written for people, or beside its fragments."""
    if _DEFAULTS.sub("", text, count=1) == whole_script():
        return True
    folder = posixpath.dirname(path)
    return text == SCRIPT.read_text(encoding="utf-8") and all(
        files.text(posixpath.join(folder, name)) == SCRIPT.parent.joinpath(name).read_text(encoding="utf-8")
        for name in fragments()
    )
