"""Faults that can be injected between a client, AWS, the agent and the host."""

from __future__ import annotations

import enum
import threading

import msgspec


class Fault(enum.StrEnum):
    """A fault, which happens once for each planned call or command."""

    THROTTLE = "throttle"
    """The request is throttled; nothing is accepted."""
    DENY = "deny"
    """The request is refused for lack of permission."""
    EXPIRE = "expire"
    """The credentials have expired."""
    ERROR_AFTER_ACCEPTING = "error-after-accepting"
    """The request is accepted, and answered with HTTP 500."""
    STALL_AFTER_ACCEPTING = "stall-after-accepting"
    """The request is accepted, but never answered."""
    DELIVERED_TWICE = "delivered-twice"
    """The message reaches the agent twice, which accepts it once."""
    RUN_TWICE = "run-twice"
    """The agent runs the command twice at the same time, like one that lost its state; SSM knows of one run."""
    DELIVERY_TIMEOUT = "delivery-timeout"
    """The command never starts, and SSM reports that at once."""
    DROPPED = "dropped"
    """The agent loses the message, as it may lose the first one after its start; the command stays pending."""
    UNDELIVERABLE_BUT_RAN = "undeliverable-but-ran"
    """The command runs, but SSM reports it as undeliverable."""
    AGENT_RESTART = "agent-restart"
    """The agent restarts when the script ends; its worker survives, and is found again after some silence."""
    AGENT_DIES = "agent-dies"
    """The agent's worker is killed in mid-command; a minute later the command has failed, without any output."""
    REPLY_LOST = "reply-lost"
    """The agent's reply is lost; the agent sends it again after five minutes or a restart."""
    BARE_PATH = "bare-path"
    """The agent's unit has only coreutils in its PATH."""
    BUCKET_AWAY = "bucket-away"
    """The instance cannot reach the bucket, and tries for half a minute per stream before it replies."""
    CANCEL_IN_VAIN = "cancel-in-vain"
    """The request to cancel is accepted, but the command continues, which AWS does not exclude."""
    CUT_OUTPUT = "cut-output"
    """Only the first 200 characters of the output are returned."""


class _Planned(msgspec.Struct):
    fault: Fault
    operation: str
    times: int
    after: int


class Faults(msgspec.Struct):
    """The planned faults. Thread-safe."""

    _planned: list[_Planned] = msgspec.field(default_factory=list)
    _lock: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def plan(self, fault: Fault, *, operation: str = "SendCommand", times: int = 1, after: int = 0) -> None:
        """Plan a fault.

        Args:
            fault: The fault.
            operation: The affected operation; faults of a command belong to its SendCommand.
            times: The number of affected calls.
            after: The number of calls before them that succeed.
        """
        with self._lock:
            self._planned.append(_Planned(fault, operation, times, after))

    def clear(self) -> None:
        """Cancel all planned faults."""
        with self._lock:
            self._planned.clear()

    def draw(self, operation: str) -> set[Fault]:
        """Return the faults of this call."""
        drawn = set()
        with self._lock:
            for planned in self._planned:
                if planned.operation != operation:
                    continue
                if planned.after > 0:
                    planned.after -= 1
                elif planned.times > 0:
                    planned.times -= 1
                    drawn.add(planned.fault)
        return drawn
