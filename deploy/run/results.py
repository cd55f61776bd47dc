"""The results of a host's phases (pure)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.observe.boot.chosen import Boot
from switchproof.deploy.observe.parts.system import System
from switchproof.deploy.observe.parts.units import Unit


class Locked(Inconclusive):
    """Another deploy holds the host; nothing was touched."""


class Before(msgspec.Struct, frozen=True):
    """The state of a host before anything changed; the host notes it as well."""

    system: System
    units: Mapping[str, Unit]
    failed: tuple[str, ...]


class Diagnostics(msgspec.Struct, frozen=True):
    """A host's diagnostics after a failure: the path in the evidence of each part that is not empty."""

    parts: Mapping[str, str]


class Confirmation(msgspec.Struct, frozen=True):
    """A host's answer to the request to keep the new system.

    Attributes:
        outcome: `ok`; `late`, `booted`, `foreign` or `busy` if it does not keep it.
        detail: The host's explanation.
        expected: The system that it should keep.
        boot: Its next boots; None if it does not keep the system.
    """

    outcome: str
    detail: str
    expected: str
    boot: Boot | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether the host keeps the system and boots it."""
        boot = self.boot
        if self.outcome != "ok" or boot is None or boot.doubt:
            return False
        return boot.loader == "none" or not boot.problem(self.expected)


def is_same(one: System, other: System) -> bool:
    """Whether two observations show the same system, with the same programs of the bridge."""
    programs, other_programs = (
        {name: (installed.state, installed.target) for name, installed in system.installed.items()}
        for system in (one, other)
    )
    return (one.running, one.profile, programs) == (other.running, other.profile, other_programs)
