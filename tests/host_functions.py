"""Runs functions of the host's script on this machine, with stubs for those that need a host."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from switchproof.deploy.host import program

NOWHERE = Path("/nonexistent")


def functions(*fragments: str, folder: Path = NOWHERE) -> str:
    """The script up to its last line, with the fragments that are named alone; with all if none is.

    A test may give its constants other values.

    Args:
        fragments: Names such as `lock`.
        folder: Where the script keeps what would stand in /var/lib/switchproof and /run/switchproof.
    """
    text = _functions(fragments)
    return text.replace("/var/lib/switchproof", f"{folder}/state").replace("/run/switchproof", f"{folder}/run")


@functools.cache
def _functions(fragments: tuple[str, ...]) -> str:
    def sourced(match: re.Match[str]) -> str:
        file = program.SCRIPT.parent / match[1]
        return file.read_text(encoding="utf-8") if not fragments or file.stem in fragments else ""

    unknown = {f"script/{name}.sh" for name in fragments} - set(program.fragments())
    assert not unknown, unknown
    text = program._FOLDER.sub("", program.SCRIPT.read_text(encoding="utf-8"))
    text = program._COMMENT.sub("", program._FRAGMENT.sub(sourced, text)).rpartition('\nmain "$@"')[0]
    text = program._INDENT.sub("", text)
    return re.sub(r"(?m)^readonly (?=[A-Z])", "", text)


def attempt(
    text: str,
    *fragments: str,
    folder: Path = NOWHERE,
    stdin: bytes = b"",
    values: Mapping[str, str] | None = None,
    replace: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a text in bash after fragments of the script; it may end in any way.

    Args:
        text: What to run. Functions in it take the place of the script's.
        fragments: See `functions`.
        folder: See there.
        stdin: What it reads.
        values: The caller's variables.
        replace: Texts to put in the place of others, such as a path of the kernel's.
    """
    whole = f"{functions(*fragments, folder=folder)}\n{text}"
    for old, new in (replace or {}).items():
        whole = whole.replace(old, new)
    given = {"FLAKE_ATTR": "x", "SWITCHPROOF_RUN": "r", **(values or {})}
    # Linux takes no longer argument than 128 KiB.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(whole)
        file.flush()
        return subprocess.run(
            ["bash", "-c", f"source {file.name}", "host-switch.sh"],
            input=stdin.decode("utf-8", "surrogateescape"),
            env={"PATH": os.environ["PATH"], **given},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=60,
        )


def run(
    text: str,
    *fragments: str,
    folder: Path = NOWHERE,
    stdin: bytes = b"",
    values: Mapping[str, str] | None = None,
    replace: Mapping[str, str] | None = None,
) -> str:
    """Run a text as `attempt` does; it must end well and say nothing on standard error. Return what it printed."""
    done = attempt(text, *fragments, folder=folder, stdin=stdin, values=values, replace=replace)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
