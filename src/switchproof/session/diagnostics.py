"""Chooses the parts of a host's diagnostics that explain a check that did not pass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from switchproof.collection.items import Place
from switchproof.deploy.target.types import Target

LAST_WORDS = 3
"""How many lines of a unit's journal the message itself quotes; the whole journal is evidence."""

_OF_SYSTEMD = re.compile(r"^\S+ \S+ systemd\[\d+\]: ")
"""A line of the journal that systemd wrote about a unit."""


def evidence_of(place: Place, target: Target, parts: Mapping[str, str], message: str) -> list[str]:
    """Choose the evidence that explains a failure at a place.

    Args:
        place: Where the check looked.
        target: The target with its endpoints.
        parts: The parts of the host's diagnostics, each with its file.
        message: The check's message; the units that it names count where the place is a whole host.
    """
    units = _units(place, target, parts, message)
    if place.endpoint not in target.endpoints:
        names = {f"{kind}/{unit}" for unit in units for kind in ("journal", "status")}
        return [path for name, path in parts.items() if name in {"failed-units", "switch-journal"} | names]
    unit_names = {*units, f"inside/{place.endpoint}"}
    return [
        path
        for name, path in parts.items()
        if name == "sockets"
        or (name.split("/")[0] in {"status", "journal"} and name.split("/", 1)[1] in unit_names)
        or name.startswith(tuple(f"{kind}/{place.endpoint}." for kind in ("inside", "machine", "container")))
    ]


def last_words(place: Place, target: Target, parts: Mapping[str, str], folder: Path, message: str) -> str:
    """Quote the last lines that the units of a place wrote to the journal, for people who read only the message.

    Args:
        place: Where the check looked.
        target: The target with its endpoints.
        parts: The parts of the host's diagnostics, each with its file.
        folder: The run's folder, which the files are in.
        message: The check's message; the units that it names count where the place is a whole host.
    """
    text = ""
    for unit in _units(place, target, parts, message):
        if path := parts.get(f"journal/{unit}"):
            try:
                lines = (folder / path).read_text(encoding="utf-8").splitlines()
            except OSError:
                continue
            text += f"\nthe last words of {unit}:\n" + "\n".join(f"  {line}" for line in _last(lines))
    return text


def _units(place: Place, target: Target, parts: Mapping[str, str], message: str) -> tuple[str, ...]:
    """Name the units that a place is about: those of its endpoint, else others that the message names."""
    endpoint = target.endpoints.get(place.endpoint or "")
    if endpoint is not None:
        return endpoint.units
    kept = {name.removeprefix("journal/") for name in parts if name.startswith("journal/")}
    return tuple(sorted(unit for unit in kept - set(target.contract_units) if unit in message))


def _last(lines: list[str]) -> list[str]:
    """Choose the last lines; if systemd wrote all of them, put the program's own last line before them."""
    last = lines[-LAST_WORDS:]
    if all(_OF_SYSTEMD.match(line) for line in last):
        program_lines = [line for line in lines[:-LAST_WORDS] if not _OF_SYSTEMD.match(line)]
        return [*program_lines[-1:], *last]
    return last
