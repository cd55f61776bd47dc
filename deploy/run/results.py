"""What the phases of one host's way come to (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.boot.chosen import Boot
from switchproof.deploy.observe.parts.system import System
from switchproof.deploy.observe.parts.units import Unit


class Locked(Inconclusive):
    """Another deploy holds the host; nothing was touched."""


@dataclass(frozen=True)
class Before:
    """What a host was before anything changed; the host keeps the same."""

    system: System
    units: Mapping[str, Unit]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Diagnostics:
    """What a host said when something failed: the parts that hold something, by name, and where they are kept."""

    parts: Mapping[str, str]


@dataclass(frozen=True)
class Differences:
    """What a deploy would change: Nix's and switch-to-configuration's own words."""

    running: str
    expected: str
    closure: str
    units: str


@dataclass(frozen=True)
class Confirmation:
    """What a host answered when it was told to keep the new system.

    Attributes:
        outcome: `ok`; `late`, `booted`, `foreign` or `busy` where it will not keep it.
        detail: The host's words.
        expected: The system that it should keep.
        boot: What it boots now; None where it does not keep the system.
    """

    outcome: str
    detail: str
    expected: str
    boot: Boot | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether the host keeps the system, and boots it."""
        boot = self.boot
        if self.outcome != "ok" or boot is None or boot.doubt:
            return False
        return boot.loader == "none" or not boot.problem(self.expected)


def is_same(one: System, other: System) -> bool:
    """Whether two looks at a host saw the same system, with the same programs of the bridge."""
    what, was = (
        {name: (installed.state, installed.target) for name, installed in system.installed.items()}
        for system in (one, other)
    )
    return (one.running, one.profile, what) == (other.running, other.profile, was)
