"""What of a host's diagnostics bears on a check that did not pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from switchproof.checks.items import Place
from switchproof.deploy.target.types import Target

LAST_WORDS = 3
"""Lines of a unit's journal that stand in the message itself; the whole is evidence."""


def evidence_of(place: Place, target: Target, parts: Mapping[str, str]) -> list[str]:
    """Choose the evidence that bears on a place.

    Args:
        place: Where the check looked.
        target: The target with its endpoints.
        parts: The parts of the host's diagnostics, each with its file.
    """
    endpoint = target.endpoints.get(place.endpoint or "")
    if endpoint is None:
        return [path for name, path in parts.items() if name.split("/")[0] in {"failed-units", "switch-journal"}]
    mine = {*endpoint.units, f"inside/{place.endpoint}"}
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
    endpoint = target.endpoints.get(place.endpoint or "")
    if endpoint is not None:
        units = endpoint.units
    else:
        said = {name.removeprefix("journal/") for name in parts if name.startswith("journal/")}
        others = said - set(target.contract_units)
        units = tuple(sorted(unit for unit in others if unit in message))
    words = ""
    for unit in units:
        if path := parts.get(f"journal/{unit}"):
            try:
                lines = (folder / path).read_text(encoding="utf-8").splitlines()[-LAST_WORDS:]
            except OSError:
                continue
            words += f"\nthe last words of {unit}:\n" + "\n".join(f"  {line}" for line in lines)
    return words
