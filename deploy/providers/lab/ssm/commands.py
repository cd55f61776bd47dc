"""The life of a command: accepted, seen after a while, taken by the agent, ended; and what is told of it."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from deploy.providers.lab.ssm.agent import KILLED, Agent, Finished
from deploy.providers.lab.ssm.documents import Document
from deploy.providers.lab.ssm.faults import Fault

STDOUT_KEPT, STDERR_KEPT, PLUGIN_KEPT = 24_000, 8_000, 2_500
"""Characters that AWS keeps of a command's output (GetCommandInvocation; ListCommandInvocations)."""
WORKERS = 5
"""Commands that an agent runs at once."""
_CUT, _PLUGIN_CUT = "\n---Output truncated---", "\n---Output truncated---"
_LONG_CUT = "--output truncated--"
_ENDED = {"Success", "Failed", "TimedOut", "Cancelled"}


@dataclass(frozen=True)
class Pace:
    """Seconds that AWS takes; invented, as nothing is known of the real ones.

    Attributes:
        invisible_s: From accepting a command to its being listed.
        pickup_s: From accepting a command to the agent's beginning it.
        report_s: From the script's end to the last status.
        restart_s: For which an agent that restarts says nothing.
    """

    invisible_s: float = 0.2
    pickup_s: float = 0.7
    report_s: float = 0.1
    restart_s: float = 2.0


@dataclass(frozen=True)
class Spent:
    """Seconds of a command.

    Attributes:
        host_s: In which the host was at work.
        aws_s: That AWS took besides, until it knew the end.
        wait_s: From then until a client asked for it and was told.
    """

    host_s: float
    aws_s: float
    wait_s: float


@dataclass
class Command:
    """One command to one instance, as AWS knows it."""

    request: Mapping[str, Any]
    instance: str
    document: Document
    faults: set[Fault]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    accepted: float = field(default_factory=time.monotonic)
    requested: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    state: tuple[str, str] = ("Pending", "Pending")
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    began: dt.datetime | None = None
    ended: dt.datetime | None = None
    ending: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False
    died: bool = False
    known: float | None = None
    told: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, status: str, details: str | None = None) -> None:
        """Enter a status, with its details at the same time; the last one stays."""
        with self.lock:
            if not self.over:
                self.known = time.monotonic() if status in _ENDED else None
                self.state = status, details or status

    @property
    def spent(self) -> Spent:
        """Where the time of a command went of which the end was told."""
        on_host = (self.ended - self.began).total_seconds() if self.began and self.ended else 0.0
        known = self.known or self.accepted
        return Spent(on_host, known - self.accepted - on_host, (self.told or known) - known)

    @property
    def status(self) -> str:
        """How it is with it, in one word."""
        return self.state[0]

    @property
    def over(self) -> bool:
        """Whether its status is a last one."""
        return self.status in _ENDED

    def invocation(self) -> dict[str, Any]:
        """Return what GetCommandInvocation tells."""
        status, details = self.state
        told = status in _ENDED
        if told and self.told is None:
            self.told = time.monotonic()
        return {
            "CommandId": self.id,
            "InstanceId": self.instance,
            "Comment": self.request.get("Comment", ""),
            "DocumentName": self.document.name,
            "DocumentVersion": self.request.get("DocumentVersion", "$DEFAULT"),
            "PluginName": self.document.plugin,
            "ResponseCode": self.code if told else -1,
            "ExecutionStartDateTime": _stamp(self.began),
            "ExecutionElapsedTime": _elapsed(self.began, self.ended),
            "ExecutionEndDateTime": _stamp(self.ended),
            "Status": status,
            "StatusDetails": details,
            "StandardOutputContent": _cut(self.stdout, STDOUT_KEPT, _LONG_CUT) if told else "",
            "StandardOutputUrl": "",
            "StandardErrorContent": _cut(self.stderr, STDERR_KEPT, _LONG_CUT) if told else "",
            "StandardErrorUrl": "",
            "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
        }

    def listed_invocation(self, *, plugins: bool) -> dict[str, Any]:
        """Return what ListCommandInvocations tells."""
        status, details = self.state
        told = status in _ENDED
        both = self.stdout + (f"\n----------ERROR-------\n{self.stderr}" if self.stderr else "")
        plugin = {
            "Name": self.document.plugin,
            "Status": status,
            "StatusDetails": details,
            "ResponseCode": self.code if told else -1,
            "Output": _cut(both, PLUGIN_KEPT, _PLUGIN_CUT) if told else "",
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
        """Return what SendCommand and ListCommands tell of it and those sent with it."""
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
            "InstanceIds": [one.instance for one in siblings],
            "Targets": [],
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


class Instance:
    """An instance with its agent, which may be out of reach.

    Args:
        agent: What runs there.
        pace: AWS's own.
        upload: Puts a command's whole output into its bucket.
    """

    def __init__(self, agent: Agent, pace: Pace, upload: Callable[[Command, Finished], None]) -> None:
        self.online = True
        self._agent, self._pace, self._upload = agent, pace, upload
        self._workers = ThreadPoolExecutor(WORKERS)
        self._at_work: list[Command] = []

    def begin(self, command: Command) -> None:
        """Let a command take its way."""
        threading.Thread(target=self._deliver, args=(command,), daemon=True).start()

    def die(self) -> None:
        """Let the agent and its workers die, with whatever they run; a new agent is there at once."""
        for command in list(self._at_work):
            command.died = True
            command.ending.set()

    def close(self) -> None:
        """Begin nothing more, and forget what was done."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._agent.forget()

    def _deliver(self, command: Command) -> None:
        """Give a command to the agent as soon as it can be reached, or give up."""
        script = command.document.script(command.request.get("Parameters", {}))
        # A command is called undelivered only when both of its limits are over (AWS, monitor-commands).
        expires = command.accepted + command.request.get("TimeoutSeconds", 3600) + script.limit_s
        time.sleep(self._pace.pickup_s)
        while not self.online and not command.ending.is_set() and time.monotonic() < expires:
            if time.monotonic() > command.accepted + 1:
                command.set("Delayed")
            time.sleep(0.05)
        if command.ending.is_set():
            command.set("Cancelled")
        elif Fault.DELIVERY_TIMEOUT in command.faults or not self.online:
            command.set("TimedOut", "DeliveryTimedOut")
        else:
            self._workers.submit(self._run, command)
            if Fault.DELIVERED_TWICE in command.faults:
                self._workers.submit(self._agent.run, command.id, script, "again", command.ending)

    def _run(self, command: Command) -> None:
        self._at_work.append(command)
        try:
            self._execute(command)
        except Exception as error:  # noqa: BLE001 - it must not look as if the command went on for ever
            command.stderr = f"the stand-in for the agent broke: {error!r}"
            command.set("Failed")
        finally:
            self._at_work.remove(command)

    def _execute(self, command: Command) -> None:
        script = command.document.script(command.request.get("Parameters", {}))
        command.began = dt.datetime.now(dt.UTC)
        command.set("InProgress")
        if Fault.AGENT_DIES in command.faults:
            command.died = True
            threading.Timer(0.3, command.ending.set).start()
        folder = "awsrunShellScript" if command.document.schema == "1.2" else command.document.plugin
        finished = self._agent.run(command.id, script, folder, command.ending)
        command.ended = dt.datetime.now(dt.UTC)
        if command.request.get("OutputS3BucketName"):
            self._upload(command, finished)
        if Fault.AGENT_RESTART in command.faults:
            time.sleep(self._pace.restart_s)
        time.sleep(self._pace.report_s)
        while not self.online:  # the agent keeps its answer until it is reached again
            time.sleep(0.05)
        command.stdout, command.stderr = (
            text.decode("utf-8", "replace") for text in (finished.stdout, finished.stderr)
        )
        if Fault.CUT_OUTPUT in command.faults:
            command.stdout = command.stdout[:200]
        self._conclude(command, finished)

    def _conclude(self, command: Command, finished: Finished) -> None:
        """Write the last status, after everything else."""
        command.code = finished.code
        if Fault.UNDELIVERABLE_BUT_RAN in command.faults:
            command.code, command.stdout, command.stderr = -1, "", ""
            command.set("Failed", "Undeliverable")
        elif command.died:
            command.code, command.stdout, command.stderr = 1, "", "document process failed unexpectedly"
            command.set("Failed")
        elif command.cancelled:
            command.set("Cancelled")
        elif finished.late or finished.code == KILLED:
            command.set("TimedOut", "ExecutionTimedOut")
        else:
            command.set("Success" if finished.code == 0 else "Failed")


def cancel(command: Command) -> None:
    """End a command as far as that can be."""
    command.set("Cancelling")
    if not command.over:
        command.cancelled = True
        command.ending.set()


def _cut(text: str, limit: int, mark: str) -> str:
    return text if len(text) <= limit else text[: limit - len(mark)] + mark


def _stamp(at: dt.datetime | None) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if at else ""


def _elapsed(began: dt.datetime | None, ended: dt.datetime | None) -> str:
    return f"PT{(ended - began).total_seconds():.3f}S" if began and ended else ""
