"""The type of an entry in the list of providers: its way to hosts, its labels, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from switchproof.deploy.connection import Provider
from switchproof.deploy.extras import Extra
from switchproof.deploy.providers.lab.kinds import LabOptions
from switchproof.deploy.target.types import Target
from switchproof.deploy.target.way import Way

Emulated: TypeAlias = Callable[[str, tuple[str, ...]], None]
"""Receives the name of a stand-in for the real thing, and the behaviour that it does not model."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The requirements of a run for a provider.

    Attributes:
        changes_hosts: Whether the run may change hosts; then every host first proves that it runs commands.
        lab: The options of the lab.
        say: Receives progress of long steps.
        emulated: Receives each stand-in, at most once.
        secrets: The result of `read_secrets` of the kind.
    """

    changes_hosts: bool
    lab: LabOptions
    say: Callable[[str], None]
    emulated: Emulated
    secrets: Mapping[str, str]


class Kind(Way, frozen=True, kw_only=True, eq=False):
    """A kind of provider.

    Attributes:
        open: Makes the provider for a target, and loads the modules that it needs.
        read_secrets: Reads the secrets that a target needs, by name, from the environment, files or a person, before
            anything is shown; raises `UsageError` if one is missing.
        extra: The extra with the packages that only this kind needs.
        label: The way to a host, for readers.
        vouched_by: Why its hosts present no host key, for readers; empty if they do.
        reconnect_s: Seconds after a switch within which a new connection must reach a host, unless the target file
            says otherwise.
        is_early: Whether a run may connect before its journal is open: `emulated` is never called, and a connection
            changes nothing.
    """

    open: Callable[[Target, Opening], Provider]
    read_secrets: Callable[[Target, Mapping[str, str]], dict[str, str]] = lambda *_: {}
    extra: Extra | None = None
    label: str = ""
    vouched_by: str = ""
    reconnect_s: float = 30.0
    is_early: bool = False
