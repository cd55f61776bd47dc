"""Python programs: their code is not followed, but code that can reach a host is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from switchproof.deploy.paths.readers.python import Suspect
from switchproof.deploy.paths.survey import Kind

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker

OWN_SCRIPT = "deploy/host/host-switch.sh"
"""The path of the host-side script in Switchproof's own repository."""


def follow_python(walker: Walker, text: str, path: str | None, call: Call, rows: Sequence[int] = ()) -> None:
    """Note every line of a Python program that can reach a host.

    Args:
        walker: The walk.
        text: The program.
        path: Its file; None for a text within shell.
        call: The call that runs it.
        rows: The line number in the caller's file for each line of a text; by default that of the call.
    """
    room = path.removeprefix("src/switchproof/").split("/")[0] if path else ""
    if room in {"deploy", "checks", "reports"} and walker.files.is_file(OWN_SCRIPT):
        return
    for suspicion in Suspect(walker.files).look(text, path):
        if suspicion.file and walker.vouches(suspicion.file):
            continue
        if suspicion.file:
            place = walker.files.place(suspicion.file, suspicion.line)
        elif rows:
            place = walker.files.place(call.text.file, rows[min(suspicion.line, len(rows)) - 1])
        else:
            place = call.place
        walker.trail.unknown(
            place, f"a program of Python that may deploy: {suspicion.why}; such programs are not followed"
        )
        if suspicion.of_aws:
            walker.trail.find(Kind.AWS, place, f"only makes sense with AWS: {suspicion.why}")
