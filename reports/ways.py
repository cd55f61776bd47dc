"""Names the way to a host in the words of its provider."""

from __future__ import annotations

from switchproof.deploy.connection import ConnectionFacts
from switchproof.deploy.providers import kind_named


def label(connection: ConnectionFacts) -> str:
    """Return the label of a connection's kind; the kind itself if no provider of this version has it."""
    kind = kind_named(connection.kind)
    return kind.label if kind else connection.kind


def vouched_by(connection: ConnectionFacts) -> str:
    """Return why a host showed no host key; empty for kinds of connection that show one."""
    kind = kind_named(connection.kind)
    return kind.vouched_by if kind else ""
