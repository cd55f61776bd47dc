"""What earlier runs proved: the records that a folder of runs holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.contract import HostState, RunVerdict
from deploy.earlier import Proven
from deploy.record import Record, read_record


def proven(folder: Path, provider: str, host: str) -> list[Proven]:
    """Find the systems that canonical runs left a host with, the newest run first.

    Args:
        folder: Where runs are kept; one that is not there holds none.
        provider: Only runs of this provider count.
        host: The host's name.
    """
    return [
        Proven(left.after.toplevel, record.run.id)
        for record in sorted(_records(folder), key=lambda record: record.run.started, reverse=True)
        if record.verdict is RunVerdict.CANONICAL and record.provider == provider
        for left in record.hosts
        if left.name == host and left.state is HostState.CONVERGED and left.after and left.after.toplevel
    ]


def _records(folder: Path) -> Iterator[Record]:
    for path in folder.glob("*/record.json"):
        if path.parent.is_symlink():
            continue
        try:
            yield read_record(path)
        except (OSError, ValueError):  # not ours to judge: a record that cannot be read proves nothing
            continue
