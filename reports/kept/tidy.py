"""Removes older runs for `--keep-runs=N`, each completely."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from switchproof.deploy.contract import HostState, RunVerdict
from switchproof.deploy.record.facts import LOOKING_AHEAD
from switchproof.deploy.record.hold import is_held
from switchproof.reports.kept.runs import Kept, is_run_name, read_kept
from switchproof.reports.text import count

_SYSTEMS = 2
"""Systems of a host whose newest canonical runs stay: the current one and the one to go back to."""
_ON_THE_WAY_OUT = ".removed-"
_NAMED = 5


class Tidied(msgspec.Struct, frozen=True):
    """The result of tidying a folder of runs.

    Attributes:
        removed: The names of removed folders, the newest first.
        needed: The names of older runs that stay because later runs look them up.
        problems: A sentence for each folder that could not be removed.
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

    These stay: the target of `latest`, folders that are not runs, unreadable and running runs, and the canonical
    runs that a later one looks up (see `needed`).

    Args:
        folder: The folder of kept runs.
        newest: The least number of runs that stay, from 1.
        latest: The link to the newest run.
    """
    for left in folder.glob(f"{_ON_THE_WAY_OUT}*"):  # from a run that was killed while it removed
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
            except FileNotFoundError:  # another run, which ends now, removed it
                continue
            except OSError as error:
                problems.append(f"{place} could not be removed: {error}")
    return Tidied(tuple(removed), tuple(kept), tuple(problems))


def needed(runs: Sequence[Kept], signed: set[str]) -> set[str]:
    """Return the folder names of canonical runs that later runs look up.

    For each host of each provider these are: the newest one, with which reports compare; the newest for each of
    its last two systems, to which a rollback goes back; the newest signed deploy and the newest signed drill, which
    the promotion gate asks for.

    Args:
        runs: The kept runs, the newest first.
        signed: The names of folders with a signature.
    """
    seen: set[tuple[str, str, str]] = set()
    systems: dict[tuple[str, str], set[str]] = {}
    folders = set()
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
            folders.add(run.folder)
    return folders


def _uses(run: Kept, *, signed: bool) -> Iterator[tuple[str, str]]:
    """Yield each host with a use that a later run has for this one: a word, or the path of a system."""
    if (
        run.end != "over"
        or run.digest is None
        or run.digest.verdict is not RunVerdict.CANONICAL
        or run.mode in LOOKING_AHEAD
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
    return True  # no link, or a dangling one


def _remove(place: Path) -> None:
    """Rename a folder first, so that a half-removed run is never listed."""
    out = place.rename(place.with_name(f"{_ON_THE_WAY_OUT}{place.name}-{secrets.token_hex(4)}"))
    shutil.rmtree(out)
