"""How a host was reached, in words of the provider that reached it."""

from __future__ import annotations

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.providers import kind_named


def label(connection: ConnectionFacts) -> str:
    """Return the way to a host for a reader; its own word if no provider of this version has that kind."""
    kind = kind_named(connection.kind)
    return kind.label if kind else connection.kind


def vouched_by(connection: ConnectionFacts) -> str:
    """Return why a host showed no host key; empty if hosts that are reached in this way show one."""
    kind = kind_named(connection.kind)
    return kind.vouched_by if kind else ""
