"""The kinds of hosts and sandboxes that the lab makes."""

from __future__ import annotations

from typing import Literal

Shape = Literal["ovh", "aws"]
Runtime = Literal["microvm", "netns"]
Suite = Literal["trixie", "forky"]
