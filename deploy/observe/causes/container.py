"""The container around an unhealthy workload, as the host saw it (pure)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from switchproof.deploy.observe.causes.machine import Machine, read_machine


class Container(msgspec.Struct, frozen=True):
    """A container, and the messages of the systemd outside and inside in the minute before.

    Both parts have the type of a machine: a process, and how it ended each time.

    Attributes:
        outer: The container itself; its process is the first one inside.
        inner: The unit inside, whose process is its main one.
        silent: Whether the systemd inside did not answer although its process exists.
        network: Whether the network inside was up; None if unknown.
    """

    outer: Machine
    inner: Machine
    silent: bool
    network: bool | None

    @property
    def seen(self) -> str:
        """All of it as one line."""
        return f"the container: {self.outer.seen}; the unit inside: {self.inner.seen}"


def read_container(facts: str, outside: str, inside: str) -> Container:
    """Read a container from the host's answer.

    Args:
        facts: One fact per line: `leader` and `process` with PID STATE SECONDS WAITS, `systemd WORD`, `network WORD`.
        outside: Messages of the host's systemd about the container, as `journalctl -o short-unix` prints them.
        inside: Messages of the systemd inside about the unit, in the same format.

    Raises:
        ValueError: A fact is malformed.
    """
    fact: Mapping[str, str] = dict(line.split(" ", 1) for line in facts.split("\n") if " " in line)
    return Container(
        outer=read_machine(f"process {fact.get('leader', '')}", outside, ""),
        inner=read_machine(f"process {fact.get('process', '')}", inside, ""),
        silent=fact.get("systemd") == "silent",
        network=fact["network"].strip() == "UP" if "network" in fact else None,
    )
