"""What came of the cells: kept in a folder, and written as a page."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.deploys.sessions import ROOT
from tests.faults.scene import MODES, PLACES, Fault, Mode, Outcome

PAGE: Final = ROOT / "docs" / "faults.md"
ABOUT: Final = """\
# Faults

`just faults` wrote this page. It runs a session of each mode against every fault below, and compares the result with
the expected one. `python -m tests.faults --help` says how to run a part of the table, and how to continue an
interrupted run. The expectations are beside the faults in `tests/faults/`.

A cell gives the verdict, the exit code, and the state in which the run says it left the host. The host itself is
inspected as well, and must agree. `refused` is a session that ended before it had a host, and so has no record. A
cell with ✗ is wrong and says what was expected. "Does not apply" marks a fault that the mode cannot meet: an audit
switches nothing, for example.

The sandboxes of these hosts are processes in network namespaces. Some faults need a microVM or a container:
`tests/deploys/test_faults.py` and `tests/deploys/test_container_faults.py` try them in both units, with deploys and
audits. `just faults` runs those too. [cut-points.md](cut-points.md) has the table of connections that break in the
middle of a deploy, and [parity.md](parity.md) the behaviours that are compared over SSH and through SSM.
"""
TITLES: Final = {
    "host": "The host",
    "transport": "The way to it, over SSH",
    "runner": "The machine that runs the session",
    "repository": "What is deployed",
    "cloud": "The cloud",
}
NOT_TRIED: Final = "not tried"
DOES_NOT_APPLY: Final = "does not apply"


class Results:
    """What came of cells, one file each.

    Args:
        folder: Where the files are; is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def key(fault: Fault, mode: Mode) -> str:
        """Return the name of a cell."""
        return f"{fault.place}: {fault.name}, {mode}"

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"

    def keep(self, fault: Fault, mode: Mode, outcome: Outcome) -> None:
        """Write down what came of a cell."""
        name = self.key(fault, mode)
        path = self._path(name)
        path.with_suffix(".part").write_bytes(msgspec.json.encode((name, outcome)))
        path.with_suffix(".part").replace(path)

    def was_kept_since(self, fault: Fault, mode: Mode, time_s: float) -> bool:
        """Return whether what came of a cell was written down after a moment, as by another run beside this one."""
        path = self._path(self.key(fault, mode))
        return path.exists() and path.stat().st_mtime > time_s

    def all(self) -> dict[str, Outcome]:
        """Return what came of every cell that was tried."""
        read = [path.read_bytes() for path in self._folder.glob("*.json")]
        return dict(msgspec.json.decode(one, type=tuple[str, Outcome]) for one in read)


def render(faults: Sequence[Fault], results: Mapping[str, Outcome]) -> str:
    """Write the page in Markdown."""
    cells = [Results.key(fault, mode) for fault in faults for mode in MODES if mode in fault.expected]
    tried = [results[name] for name in cells if name in results]
    wrong = sum(bool(outcome.problem) for outcome in tried)
    lines = [ABOUT, f"{len(faults)} faults, {len(cells)} cells; {len(tried)} tried, {wrong} wrong."]
    for place in PLACES:
        lines += ["", f"## {TITLES[place]}", "", f"| fault | {' | '.join(MODES)} |", f"|---|{'---|' * len(MODES)}"]
        for fault in faults:
            if fault.place == place:
                words = [_word(fault, mode, results.get(Results.key(fault, mode))) for mode in MODES]
                lines.append(f"| {fault.name} | {' | '.join(words)} |")
    return "\n".join(lines) + "\n"


def _word(fault: Fault, mode: Mode, outcome: Outcome | None) -> str:
    if mode not in fault.expected:
        return DOES_NOT_APPLY
    if outcome is None:
        return NOT_TRIED
    return f"✗ {outcome}: {outcome.problem}" if outcome.problem else str(outcome)
