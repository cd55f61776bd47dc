"""Counts the function calls of the runner's main thread in an audit: `python -m tests.own.counting FOLDER HOSTS…`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import FrameType

import switchproof.deploy.providers
from switchproof import command
from tests.own.sessions import Hosts, Scenario, prepare


def calls(folder: Path, hosts: int) -> int:
    """Audit healthy hosts, and return how many functions written in Python were called."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    names = tuple(f"h{number}" for number in range(hosts))
    order = prepare(folder / f"{hosts}", Scenario(options=("-q",), hosts=names))
    words = [word for word in order if word != "-p" and not word.startswith("no:")]  # the command loads few plugins
    sys.setprofile(note)
    try:
        status = command.main(["audit", *words])
    finally:
        sys.setprofile(None)
    assert status == 0, f"the audit of {hosts} hosts ended with {status}"
    return count


def main(folder: Path, sizes: list[int]) -> None:
    """Write the counts as JSON, in a last line of their own."""
    switchproof.deploy.providers.open_provider = lambda *_, **__: Hosts()
    print("\n" + json.dumps([calls(folder, size) for size in sizes]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])
