"""What a provider brings to the list of providers: its way to hosts, its words, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from switchproof.deploy.connection import Provider
from switchproof.deploy.extras import Extra
from switchproof.deploy.providers.lab.kinds import LabOptions
from switchproof.deploy.target.types import Target
from switchproof.deploy.target.way import Way

Emulated: TypeAlias = Callable[[str, tuple[str, ...]], None]
"""Told what stands in for the real thing, and what of that it does not do."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a run asks of a provider.

    Attributes:
        changes_hosts: Whether the run may; then every host proves first that it runs what it is given.
        lab: What the lab is to be.
        say: Told what takes long.
        emulated: Told, at most once for each, what stands in for the real thing.
        secrets: What `read_secrets` of the kind returned.
    """

    changes_hosts: bool
    lab: LabOptions
    say: Callable[[str], None]
    emulated: Emulated
    secrets: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind(Way):
    """A kind of provider.

    Attributes:
        open: Makes the provider for a target, and loads what that needs.
        read_secrets: Reads the secrets that a target needs, by name, from the environment, files or a person, before
            anything is shown; raises `UsageError` where one is missing.
        extra: The extra that has the packages which only it needs.
        label: How a host was reached, for a reader; its name is the word for that in events.
        vouched_by: Why it shows no host key, for a reader; empty where every host shows one.
    """

    open: Callable[[Target, Opening], Provider]
    read_secrets: Callable[[Target, Mapping[str, str]], dict[str, str]] = lambda *_: {}
    extra: Extra | None = None
    label: str = ""
    vouched_by: str = ""
