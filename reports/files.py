"""Names a run's folder and files, and writes them atomically."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import re
import secrets
from pathlib import Path

from switchproof.deploy.record.record import Record

REPORT = "report.html"
"""The name of a run's report in its folder."""
_SHA_DIGITS = 7


def run_name(started: dt.datetime, mode: str, provider: str, sha: str | None) -> str:
    """Return the name of a run's folder, such as `20261123T151203Z-deploy-lab-1a2b3c4`.

    Args:
        started: When the run began.
        mode: The mode of the run, such as `deploy`.
        provider: The provider's name.
        sha: The full commit; None if the run has no single commit.
    """
    parts = [started.astimezone(dt.UTC).strftime("%Y%m%dT%H%M%SZ"), mode, provider]
    if sha:
        parts.append(sha[:_SHA_DIGITS])
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-.") or "x" for part in parts)


def make_folder(parent: Path, name: str) -> Path:
    """Make a folder for a run, with a number after the name if that is taken.

    Args:
        parent: The folder of all runs, made if missing.
        name: The result of `run_name`.

    Returns:
        The new folder.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError  # pragma: no cover - the numbers do not run out


def write(record: Record, folder: Path, latest: Path) -> None:
    """Write `junit.xml` beside the record, then let the link `latest` point to the run's folder.

    Args:
        record: The run.
        folder: The run's folder.
        latest: The symbolic link to set, such as `reports/latest`.

    Raises:
        OSError: `junit.xml` or the link could not be written.
    """
    from switchproof.reports.ci import junit

    write_text(folder / "junit.xml", junit.render(record, Path(os.path.relpath(folder))))
    point(latest, folder)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 atomically, also if several processes write it at the same time.

    Raises:
        OSError: The file could not be written; an earlier file is unchanged.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def point(link: Path, folder: Path) -> None:
    """Point a symbolic link to a folder atomically.

    Raises:
        OSError: The path is taken by something other than a link, or links are not possible.
    """
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
    try:
        fresh.replace(link)
    except OSError:
        fresh.unlink()
        raise
