"""`--keep-runs=N`: which older runs are removed, and that they go whole."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from switchproof.deploy.contract import HostState, RunVerdict
from switchproof.deploy.record.hold import is_held
from switchproof.reports.kept.runs import Kept, is_run_name, read_kept
from switchproof.reports.text import count

_SYSTEMS = 2
"""Systems of a host of which the newest canonical run stays: the one that it runs, and the one to go back to."""
_ON_THE_WAY_OUT = ".removed-"
_NAMED = 5


@dataclass(frozen=True)
class Tidied:
    """What was removed of a folder of runs.

    Attributes:
        removed: The folders' names, the newest first.
        needed: Names of older runs that stay because later ones look them up.
        problems: What could not be removed, and why.
    """

    removed: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = ", ".join(self.removed[:_NAMED])
        more = f" and {len(self.removed) - _NAMED} more" if len(self.removed) > _NAMED else ""
        kept = f"; {count(len(self.needed), 'older run')} stay, as later ones look them up" if self.needed else ""
        return f"Removed {count(len(self.removed), 'run')}: {names}{more}{kept}."


def tidy(folder: Path, newest: int, latest: Path) -> Tidied:
    """Remove the runs of a folder that are older than its newest ones.

    What `latest` points to stays, and what is no run's folder, cannot be read as a run, or goes on, and whatever
    canonical run a later one looks up (see `needed`).

    Args:
        folder: Where runs are kept.
        newest: How many runs stay at least, from 1.
        latest: The link to the newest one.
    """
    for left in folder.glob(f"{_ON_THE_WAY_OUT}*"):  # of somebody who was killed over it
        shutil.rmtree(left, ignore_errors=True)
    runs = read_kept(folder)
    signed = {run.folder for run in runs if (folder / run.folder / "statement.json.sig").exists()}
    stay = needed(runs, signed)
    removed, kept, problems = [], [], []
    for run in runs[newest:]:
        place = folder / run.folder
        if run.folder in stay:
            kept.append(run.folder)
        elif _may_go(run, place, latest):
            try:
                _remove(place)
                removed.append(run.folder)
            except FileNotFoundError:  # another run that ends now was quicker
                continue
            except OSError as error:
                problems.append(f"{place} could not be removed: {error}")
    return Tidied(tuple(removed), tuple(kept), tuple(problems))


def needed(runs: Sequence[Kept], signed: set[str]) -> set[str]:
    """Name the canonical runs that later ones look up.

    For each host of each provider these are the newest one (what reports compare with), the newest for each of the
    two systems that it was last left with (what a rollback goes back to), and of the signed ones the newest deploy
    and the newest drill (what the promotion gate asks for).

    Args:
        runs: The newest first.
        signed: Names of the folders with a signature.
    """
    seen: set[tuple[str, str, str]] = set()
    systems: dict[tuple[str, str], set[str]] = {}
    found = set()
    for run in runs:
        for host, use in _uses(run, signed=run.folder in signed):
            if (run.provider, host, use) in seen:
                continue
            if use.startswith("/"):
                of_host = systems.setdefault((run.provider, host), set())
                if len(of_host) == _SYSTEMS:
                    continue
                of_host.add(use)
            seen.add((run.provider, host, use))
            found.add(run.folder)
    return found


def _uses(run: Kept, *, signed: bool) -> Iterator[tuple[str, str]]:
    """Say for each host what a later run may want of this one: a use, or the path of a system."""
    if (
        run.end != "over"
        or run.digest is None
        or run.digest.verdict is not RunVerdict.CANONICAL
        or run.mode == "plan"
    ):
        return
    for host in run.digest.hosts:
        yield host.name, "compare"
        if signed and run.mode in {"deploy", "drill"}:
            yield host.name, f"signed {run.mode}"
        if host.state is HostState.CONVERGED and host.toplevel:
            yield host.name, host.toplevel


def _may_go(run: Kept, place: Path, latest: Path) -> bool:
    if run.end not in {"over", "killed"} or not is_run_name(run.folder) or is_held(place):
        return False
    with suppress(OSError):
        return not latest.samefile(place)
    return True  # there is no link, or it leads nowhere


def _remove(place: Path) -> None:
    """Take a folder out of sight first, so that nobody ever sees half a run."""
    out = place.rename(place.with_name(f"{_ON_THE_WAY_OUT}{place.name}-{secrets.token_hex(4)}"))
    shutil.rmtree(out)
