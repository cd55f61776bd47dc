"""What of a host's diagnostics bears on a check that did not pass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from switchproof.collection.items import Place
from switchproof.deploy.target.types import Target

LAST_WORDS = 3
"""Lines of a unit's journal that stand in the message itself; the whole is evidence."""

_OF_SYSTEMD = re.compile(r"^\S+ \S+ systemd\[\d+\]: ")
"""A line in which systemd speaks about a unit, as the journal is printed."""


def evidence_of(place: Place, target: Target, parts: Mapping[str, str], message: str) -> list[str]:
    """Choose the evidence that bears on a place.

    Args:
        place: Where the check looked.
        target: The target with its endpoints.
        parts: The parts of the host's diagnostics, each with its file.
        message: The check's message; the units that it names count where the place is a whole host.
    """
    units = _units(place, target, parts, message)
    if place.endpoint not in target.endpoints:
        named = {f"{kind}/{unit}" for unit in units for kind in ("journal", "status")}
        return [path for name, path in parts.items() if name in {"failed-units", "switch-journal"} | named]
    mine = {*units, f"inside/{place.endpoint}"}
    return [
        path
        for name, path in parts.items()
        if name == "sockets"
        or (name.split("/")[0] in {"status", "journal"} and name.split("/", 1)[1] in mine)
        or name.startswith(tuple(f"{kind}/{place.endpoint}." for kind in ("inside", "machine", "container")))
    ]


def last_words(place: Place, target: Target, parts: Mapping[str, str], folder: Path, message: str) -> str:
    """What the units of a place said last to the journal, for whoever reads only the message.

    Args:
        place: Where the check looked.
        target: The target with its endpoints.
        parts: The parts of the host's diagnostics, each with its file.
        folder: The run's folder, which the files are in.
        message: The check's message; the units that it names count where the place is a whole host.
    """
    words = ""
    for unit in _units(place, target, parts, message):
        if path := parts.get(f"journal/{unit}"):
            try:
                lines = (folder / path).read_text(encoding="utf-8").splitlines()
            except OSError:
                continue
            words += f"\nthe last words of {unit}:\n" + "\n".join(f"  {line}" for line in _last(lines))
    return words


def _units(place: Place, target: Target, parts: Mapping[str, str], message: str) -> tuple[str, ...]:
    """Name the units that a place is about: those of its endpoint, else others that the message names."""
    endpoint = target.endpoints.get(place.endpoint or "")
    if endpoint is not None:
        return endpoint.units
    kept = {name.removeprefix("journal/") for name in parts if name.startswith("journal/")}
    return tuple(sorted(unit for unit in kept - set(target.contract_units) if unit in message))


def _last(lines: list[str]) -> list[str]:
    """Choose the last lines, after the program's own last one where systemd alone speaks in them."""
    last = lines[-LAST_WORDS:]
    if all(_OF_SYSTEMD.match(line) for line in last):
        own = [line for line in lines[:-LAST_WORDS] if not _OF_SYSTEMD.match(line)]
        return [*own[-1:], *last]
    return last
