"""What can be made to go wrong between a client, AWS, the agent and the host."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass, field


class Fault(enum.StrEnum):
    """Something that goes wrong, once for each call or command that it is planned for."""

    THROTTLE = "throttle"
    """The request is refused for its rate; nothing is accepted."""
    DENY = "deny"
    """The request is refused for lack of permission."""
    EXPIRE = "expire"
    """The credentials have expired."""
    ERROR_AFTER_ACCEPTING = "error-after-accepting"
    """The request is accepted, and answered with HTTP 500."""
    STALL_AFTER_ACCEPTING = "stall-after-accepting"
    """The request is accepted, and never answered, until the client goes."""
    DELIVERED_TWICE = "delivered-twice"
    """The message reaches the agent twice, which takes it once."""
    RUN_TWICE = "run-twice"
    """The agent runs the command twice at the same time, as one that lost its state would; SSM knows of one."""
    DELIVERY_TIMEOUT = "delivery-timeout"
    """The command never starts, and SSM says so at once."""
    DROPPED = "dropped"
    """The agent loses the message, as it may lose the first one after its start; the command stays pending."""
    UNDELIVERABLE_BUT_RAN = "undeliverable-but-ran"
    """The command runs, and is called undeliverable."""
    AGENT_RESTART = "agent-restart"
    """The agent restarts when the script ends; its worker survives and is taken up again after some silence."""
    AGENT_DIES = "agent-dies"
    """The agent's worker is killed in mid-command; a minute later the command has failed, without any output."""
    REPLY_LOST = "reply-lost"
    """The agent's reply is lost; it comes when the agent repeats it, after five minutes or its restart."""
    BARE_PATH = "bare-path"
    """The agent's unit has coreutils in its path, and nothing else."""
    BUCKET_AWAY = "bucket-away"
    """The instance cannot reach the bucket, and tries for half a minute with each stream before it replies."""
    CANCEL_IN_VAIN = "cancel-in-vain"
    """The request to cancel is accepted, and what runs goes on, which AWS does not exclude."""
    CUT_OUTPUT = "cut-output"
    """Only the first 200 characters of the output are passed on."""


@dataclass
class _Planned:
    fault: Fault
    operation: str
    times: int
    after: int


@dataclass
class Faults:
    """The faults that are planned. Safe to use from several threads."""

    _planned: list[_Planned] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, fault: Fault, *, operation: str = "SendCommand", times: int = 1, after: int = 0) -> None:
        """Plan a fault.

        Args:
            fault: What goes wrong.
            operation: For which calls; faults of a command belong to the SendCommand that makes it.
            times: For how many calls.
            after: How many calls before them go well.
        """
        with self._lock:
            self._planned.append(_Planned(fault, operation, times, after))

    def clear(self) -> None:
        """Let everything go well from now on."""
        with self._lock:
            self._planned.clear()

    def draw(self, operation: str) -> set[Fault]:
        """Return what goes wrong with this call."""
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
