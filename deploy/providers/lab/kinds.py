"""The kinds of hosts and sandboxes that the lab makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shape = Literal["ovh", "aws"]
Runtime = Literal["microvm", "netns"]
Suite = Literal["trixie", "forky"]


@dataclass(frozen=True, kw_only=True)
class LabOptions:
    """What a run asks of the lab.

    Attributes:
        keep: Leave the hosts running afterwards.
        runtime: What the sandboxes must be; None takes the lab that is up as it is.
        suite: Which release of Debian the hosts must run, in the same way.
        nixos_rebuild: The path of a real nixos-rebuild for the hosts.
        switch: The path of a real switch-to-configuration for them.
        shape: Which shape the hosts have.
    """

    keep: bool = False
    runtime: Runtime | None = None
    suite: Suite | None = None
    nixos_rebuild: str | None = None
    switch: str | None = None
    shape: Shape = "ovh"
