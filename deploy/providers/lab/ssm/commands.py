"""A command as AWS knows it, and the answers of the service about it."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from switchproof.deploy.providers.lab.ssm.documents import Document
from switchproof.deploy.providers.lab.ssm.faults import Fault
from switchproof.deploy.providers.lab.ssm.outputs import STDERR_KEPT, Reply

_ENDED = {"Success", "Failed", "TimedOut", "Cancelled"}


class Pace(msgspec.Struct, frozen=True):
    """Durations of AWS and the agent, in seconds. The first three are invented, the others measured or from source.

    Attributes:
        invisible_s: From acceptance of a command to its place in lists.
        pickup_s: From acceptance of a command to the agent's start of it.
        report_s: From the script's end to the last status.
        restart_s: The silence of an agent that a switch restarts, which takes 7 of these seconds to stop.
        back_s: Until an agent is back after all its processes were killed (NixOS has RestartSec=90).
        worker_lost_s: Until the agent reports a lost worker.
        repeat_s: Between two attempts to send a lost reply.
        upload_s: The agent's attempts to upload one stream to an unreachable bucket.
        backoff_s: Until the first attempt to reconnect after an outage; doubled each time.
        backoff_max_s: The longest of these pauses.
        reboot_s: From a script's request for a reboot to its second run.
        output_rate: Bytes of output that the agent reads in a second.
    """

    invisible_s: float = 0.2
    pickup_s: float = 0.7
    report_s: float = 0.1
    restart_s: float = 9.5
    back_s: float = 95.0
    worker_lost_s: float = 60.0
    repeat_s: float = 300.0
    upload_s: float = 30.0
    backoff_s: float = 5.0
    backoff_max_s: float = 2400.0
    reboot_s: float = 60.0
    output_rate: float = 500_000.0

    def times(self, factor: float) -> Pace:
        """Return the pace with every duration multiplied."""
        durations = {name: value * factor for name, value in asdict(self).items() if name.endswith("_s")}
        return replace(self, **durations, output_rate=self.output_rate / factor)


class Spent(msgspec.Struct, frozen=True):
    """Seconds of a command.

    Attributes:
        host_s: The work on the host.
        aws_s: AWS's own time until it knew the end.
        wait_s: From then until a client asked for the status.
    """

    host_s: float
    aws_s: float
    wait_s: float


class Command(msgspec.Struct):
    """One command to one instance, as AWS knows it."""

    request: Mapping[str, Any]
    instance: str
    document: Document
    faults: set[Fault]
    id: str = msgspec.field(default_factory=lambda: str(uuid.uuid4()))
    accepted: float = msgspec.field(default_factory=time.monotonic)
    requested: dt.datetime = msgspec.field(default_factory=lambda: dt.datetime.now(dt.UTC))
    state: tuple[str, str] = ("Pending", "Pending")
    reply: Reply | None = None
    began: dt.datetime | None = None
    ended: dt.datetime | None = None
    ending: threading.Event = msgspec.field(default_factory=threading.Event)
    cancelled: bool = False
    died: bool = False
    known: float | None = None
    reported: float | None = None
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)

    def set(self, status: str, details: str | None = None) -> None:
        """Set a status and its details together; a final status stays."""
        with self.lock:
            if not self.over:
                self.known = time.monotonic() if status in _ENDED else None
                self.state = status, details or status

    def conclude(self, reply: Reply) -> None:
        """Apply the agent's reply; the status is written last."""
        self.reply = reply
        self.set(reply.status, reply.details)

    def cancel(self) -> None:
        """Cancel it as far as possible."""
        self.set("Cancelling")
        if not self.over:
            self.cancelled = True
            self.ending.set()

    @property
    def spent(self) -> Spent:
        """The durations of a command whose end was reported."""
        on_host = (self.ended - self.began).total_seconds() if self.began and self.ended else 0.0
        known = self.known or self.accepted
        return Spent(on_host, known - self.accepted - on_host, (self.reported or known) - known)

    @property
    def status(self) -> str:
        """Its status as one word."""
        return self.state[0]

    @property
    def over(self) -> bool:
        """Whether its status is final."""
        return self.status in _ENDED

    def invocation(self) -> dict[str, Any]:
        """Return the answer of GetCommandInvocation."""
        status, details = self.state
        reply = self.reply if status in _ENDED else None
        if status in _ENDED and self.reported is None:
            self.reported = time.monotonic()
        return {
            "CommandId": self.id,
            "InstanceId": self.instance,
            "Comment": self.request.get("Comment", ""),
            "DocumentName": self.document.name,
            "DocumentVersion": self.request.get("DocumentVersion", "$DEFAULT"),
            "PluginName": self.document.plugin,
            "ResponseCode": reply.code if reply else -1,
            "ExecutionStartDateTime": _stamp(self.began),
            "ExecutionElapsedTime": _elapsed(self.began, self.ended),
            "ExecutionEndDateTime": _stamp(self.ended),
            "Status": status,
            "StatusDetails": details,
            "StandardOutputContent": reply.stdout if reply else "",
            "StandardOutputUrl": "",
            "StandardErrorContent": reply.stderr[:STDERR_KEPT] if reply else "",
            "StandardErrorUrl": "",
            "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
        }

    def listed_invocation(self, *, plugins: bool) -> dict[str, Any]:
        """Return the answer of ListCommandInvocations."""
        status, details = self.state
        reply = self.reply if status in _ENDED else None
        plugin = {
            "Name": self.document.plugin,
            "Status": status,
            "StatusDetails": details,
            "ResponseCode": reply.code if reply else -1,
            "Output": reply.both if reply else "",
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
            "OutputS3BucketName": self.request.get("OutputS3BucketName", ""),
            "OutputS3KeyPrefix": self.request.get("OutputS3KeyPrefix", ""),
        }
        return {
            "CommandId": self.id,
            "InstanceId": self.instance,
            "InstanceName": "",
            "Comment": self.request.get("Comment", ""),
            "DocumentName": self.document.name,
            "DocumentVersion": self.request.get("DocumentVersion", "$DEFAULT"),
            "RequestedDateTime": self.requested.timestamp(),
            "Status": status,
            "StatusDetails": details,
            "StandardOutputUrl": "",
            "StandardErrorUrl": "",
            "CommandPlugins": [plugin] if plugins else [],
        }

    def listed(self, siblings: Sequence[Command]) -> dict[str, Any]:
        """Return the answer of SendCommand and ListCommands about it and its siblings."""
        over = [one for one in siblings if one.over]
        failed = [one for one in over if one.status != "Success"]
        timeout = self.request.get("TimeoutSeconds", 3600)
        status, details = ("InProgress",) * 2 if 0 < len(over) < len(siblings) else self.state
        return {
            "CommandId": self.id,
            "DocumentName": self.document.name,
            "DocumentVersion": self.request.get("DocumentVersion", "$DEFAULT"),
            "Comment": self.request.get("Comment", ""),
            "ExpiresAfter": (self.requested + dt.timedelta(seconds=timeout)).timestamp(),
            "Parameters": dict(self.request.get("Parameters", {})),
            "InstanceIds": list(self.request.get("InstanceIds", [])),
            "Targets": list(self.request.get("Targets", [])),
            "RequestedDateTime": self.requested.timestamp(),
            "Status": status,
            "StatusDetails": details,
            "OutputS3BucketName": self.request.get("OutputS3BucketName", ""),
            "OutputS3KeyPrefix": self.request.get("OutputS3KeyPrefix", ""),
            "MaxConcurrency": "50",
            "MaxErrors": "0",
            "TargetCount": len(siblings),
            "CompletedCount": len(over),
            "ErrorCount": len(failed),
            "DeliveryTimedOutCount": sum(one.state[1] == "DeliveryTimedOut" for one in over),
            "TimeoutSeconds": timeout,
        }


def _stamp(at: dt.datetime | None) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if at else ""


def _elapsed(began: dt.datetime | None, ended: dt.datetime | None) -> str:
    return f"PT{(ended - began).total_seconds():.3f}S" if began and ended else ""
