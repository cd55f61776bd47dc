"""Finds a finished run by the name that a person gives it, and reads it."""

from __future__ import annotations

from pathlib import Path

from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.journal import read_events
from switchproof.deploy.record.record import Record, read_record
from switchproof.deploy.settings import read_settings


def read_run(name: str) -> Record:
    """Read a run: its folder, its `record.json` or `events.jsonl`, or `latest`.

    The record of a killed run is made from its journal.

    Raises:
        UsageError: There is no such run, or it cannot be read.
    """
    place = _place(name)
    if place.is_dir():
        place = next((file for file in (place / "record.json", place / "events.jsonl") if file.exists()), place)
    try:
        return fold(read_events(place)) if place.suffix == ".jsonl" else read_record(place)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"{name}: no run's folder, record.json or events.jsonl is there") from None
    except (OSError, ValueError) as error:
        problem = str(error).removeprefix(f"{place}: ")  # the path, which the readers add as well
        raise UsageError(f"{place}: cannot be read as a run: {problem}") from error


def run_folder(name: str) -> Path:
    """Return the folder of a run that `read_run` found."""
    place = _place(name)
    return place if place.is_dir() else place.parent


def _place(name: str) -> Path:
    return read_settings(Path.cwd()).home / "latest" if name == "latest" else Path(name)
