"""The kinds of hosts and sandboxes that the lab makes."""

from __future__ import annotations

from typing import Literal

import msgspec

Shape = Literal["ovh", "aws"]
Runtime = Literal["microvm", "netns"]
Suite = Literal["trixie", "forky"]


class LabOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the lab for a run.

    Attributes:
        keep: Whether the hosts stay up afterwards.
        runtime: The kind of sandboxes; None accepts those of the running lab.
        suite: The hosts' release of Debian, in the same way.
        nixos_rebuild: The path of a real nixos-rebuild for the hosts.
        switch: The path of a real switch-to-configuration for them.
        ssm_agent: The folder of a real amazon-ssm-agent for them.
        shape: The shape of the hosts.
    """

    keep: bool = False
    runtime: Runtime | None = None
    suite: Suite | None = None
    nixos_rebuild: str | None = None
    switch: str | None = None
    ssm_agent: str | None = None
    shape: Shape = "ovh"
