"""The container that a workload is in, as the host saw it when the workload was not healthy (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switchproof.deploy.observe.causes.machine import Machine, read_machine


@dataclass(frozen=True)
class Container:
    """What a host saw of a container, and what the systemd outside and the one inside had said in the minute before.

    Both are told as of a machine: a process, and how it ended each time.

    Attributes:
        outer: The container itself; its process is the first one inside.
        inner: The unit inside, whose process is its main one.
        silent: Whether the systemd inside did not answer though its process is there.
        network: Whether the network inside was up; None if that could not be seen.
    """

    outer: Machine
    inner: Machine
    silent: bool
    network: bool | None

    @property
    def seen(self) -> str:
        """Everything that was seen, in one line."""
        return f"the container: {self.outer.seen}; the unit inside: {self.inner.seen}"


def read_container(facts: str, outside: str, inside: str) -> Container:
    """Read a container from what the host said of it.

    Args:
        facts: A fact a line: `leader` and `process` with PID STATE SECONDS WAITS, `systemd WORD`, `network WORD`.
        outside: The host's systemd on the container's unit, as `journalctl -o short-unix` prints it.
        inside: The systemd inside on the unit, likewise.

    Raises:
        ValueError: A fact cannot be understood.
    """
    fact: Mapping[str, str] = dict(line.split(" ", 1) for line in facts.split("\n") if " " in line)
    return Container(
        outer=read_machine(f"process {fact.get('leader', '')}", outside, ""),
        inner=read_machine(f"process {fact.get('process', '')}", inside, ""),
        silent=fact.get("systemd") == "silent",
        network=fact["network"].strip() == "UP" if "network" in fact else None,
    )
