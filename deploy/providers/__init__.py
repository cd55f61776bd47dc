"""The list of all kinds of providers, and the functions that use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from switchproof.deploy.connection import Provider
from switchproof.deploy.providers.aws.table import AWS
from switchproof.deploy.providers.kind import Kind, Opening
from switchproof.deploy.providers.lab.table import LAB
from switchproof.deploy.providers.local import LOCAL
from switchproof.deploy.providers.ssh.table import SSH
from switchproof.deploy.target import loading, schema
from switchproof.deploy.target.types import Target
from switchproof.deploy.target.way import way_of

KINDS: tuple[Kind, ...] = (SSH, AWS, LOCAL, LAB)
"""Every kind of provider."""


def load(path: Path, environ: Mapping[str, str], select: Sequence[str] = (), build: str | None = None) -> Target:
    """Read a target file; see `loading.load`."""
    return loading.load(path, environ, select, KINDS, build)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of target files, with the tables of all providers."""
    return schema.json_schema(KINDS)


def kind_of(target: Target) -> Kind:
    """Return the kind of provider of a loaded target."""
    kind = way_of(target, KINDS)
    assert kind is not None  # the rules of target files require one
    return kind


def kind_named(name: str) -> Kind | None:
    """Return a kind of provider by its name in a record; None if it no longer exists."""
    return next((kind for kind in KINDS if kind.name == name), None)


def read_secrets(target: Target, environ: Mapping[str, str]) -> dict[str, str]:
    """Read the secrets for a target's connections, by name; this may prompt a person.

    Raises:
        UsageError: A secret is missing or cannot be used.
    """
    return kind_of(target).read_secrets(target, environ)


def open_provider(target: Target, opening: Opening) -> Provider:
    """Open the provider of a target file.

    Args:
        target: The target; the lab adds the hosts that it makes.
        opening: The run's requirements.

    Raises:
        UsageError: The provider cannot work on this machine, or with this target.
    """
    return kind_of(target).open(target, opening)
