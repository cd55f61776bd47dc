"""An instance with a real agent: the messages that wait for it, and its words about them."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from switchproof.deploy.providers.lab.errors import LabError
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.ssm import messages
from switchproof.deploy.providers.lab.ssm.agent_door import AgentDoor
from switchproof.deploy.providers.lab.ssm.agent_unit import AgentUnit
from switchproof.deploy.providers.lab.ssm.commands import Command
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.providers.lab.ssm.faults import Fault
from switchproof.deploy.providers.lab.ssm.signature import Keys

UNKNOWN_TO_REAL: Final = {
    Fault.RUN_TWICE,
    Fault.UNDELIVERABLE_BUT_RAN,
    Fault.BARE_PATH,
    Fault.BUCKET_AWAY,
    Fault.CUT_OUTPUT,
}
"""The faults that only the stand-in for the agent has."""
START_S: Final = 60.0
"""Seconds until an agent that was started has asked for messages."""
HIDDEN_S: Final = 10.0
"""Seconds until a message comes again that the agent has not acknowledged (its own request)."""
HELD_S: Final = 12.0
"""Seconds that an empty poll is held; the agent's own limit is 20."""
SILENT_S: Final = 30.0
"""Seconds without a poll after which the agent counts as unreachable."""
DELAYED_S: Final = 1.0
POLL_S: Final = 0.05


class _Waiting(msgspec.Struct):
    """A message that the agent has not acknowledged."""

    message: Mapping[str, str]
    visible_at: float = msgspec.field(default_factory=time.monotonic)


class RealInstance:
    """An instance whose agent is a unit of its host.

    Args:
        host: The host.
        instance: Its instance id.
        region: Its region.
        content: Returns the JSON of a user's document; None for AWS's own.

    Raises:
        LabError: The agent could not be started, or did not ask for messages in time.
    """

    def __init__(self, host: LabHost, instance: str, region: str, content: Callable[[str], str | None]) -> None:
        self._host, self._instance, self._content = host, instance, content
        self._commands: dict[str, Command] = {}
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()
        self._polled: float | None = None
        self._connected = True
        self.version = ""
        keys = Keys.generate()
        self._unit = AgentUnit(host, instance, region)
        self._door = AgentDoor(host.runner_address, keys, self._answer)
        try:
            self._unit.start(self._door.url, keys.user)
            self._await_agent()
        except BaseException:
            self.close()
            raise

    @property
    def online(self) -> bool:
        """Whether the agent is reachable."""
        asked = self._polled is not None and time.monotonic() - self._polled < SILENT_S
        return self._connected and asked

    def go_offline(self) -> None:
        """Disconnect the agent."""
        self._connected = False

    def come_back(self) -> None:
        """Connect the agent again; it returns at its next attempt."""
        self._connected = True

    def begin(self, command: Command) -> None:
        """Start to process a command."""
        threading.Thread(target=self._deliver, args=(command,), daemon=True).start()

    def die(self) -> None:
        """Kill the agent and its workers with their commands; systemd starts a new agent after a while."""
        self._unit.die()

    def restart(self) -> None:
        """Restart the agent; its workers survive, and lost replies are sent again."""
        self._unit.restart()

    def close(self) -> None:
        """Stop the agent, and forget all commands."""
        self._door.close()
        self._unit.stop()

    def _await_agent(self) -> None:
        deadline = time.monotonic() + START_S
        while self._polled is None:
            if time.monotonic() > deadline:
                raise LabError(
                    f"--lab-ssm-agent: the agent on host {self._host.name} did not ask for messages within "
                    f"{START_S:g} s; its last words:\n{self._unit.last_lines()}"
                )
            time.sleep(POLL_S)

    def _deliver(self, command: Command) -> None:
        """Follow a command from its message to its end, cancellation or time limit."""
        script = command.document.script(command.request.get("Parameters", {}))
        # A command counts as undelivered only when both of its limits are over (AWS, monitor-commands).
        expires = command.accepted + command.request.get("TimeoutSeconds", 3600) + script.limit_s
        if Fault.DELIVERY_TIMEOUT in command.faults:
            expires = 0.0
        elif Fault.DROPPED not in command.faults:
            self._send(command)
        while not command.over and not command.ending.is_set():
            if command.status in {"Pending", "Delayed"}:
                if time.monotonic() > expires:
                    self._withdraw(command)
                    command.set("TimedOut", "DeliveryTimedOut")
                elif not self.online and time.monotonic() > command.accepted + DELAYED_S:
                    command.set("Delayed")
            time.sleep(POLL_S)
        if not command.over:
            self._cancel(command)

    def _send(self, command: Command) -> None:
        message = messages.send(command, self._content(command.document.name), dt.datetime.now(dt.UTC))
        with self._lock:
            self._commands[command.id] = command
            self._waiting += [_Waiting(message)] * (2 if Fault.DELIVERED_TWICE in command.faults else 1)

    def _cancel(self, command: Command) -> None:
        """Cancel a command where it is: before the agent has it, or by a message to the agent."""
        if self._withdraw(command):
            command.set("Cancelled")
            return
        with self._lock:
            message = messages.cancel(command, str(uuid.uuid4()), dt.datetime.now(dt.UTC))
            self._waiting.append(_Waiting(message))

    def _withdraw(self, command: Command) -> bool:
        """Take back a command's message; whether the agent had not taken it."""
        id_ = messages.message_id(command.id, command.instance)
        with self._lock:
            self._waiting = [waiting for waiting in self._waiting if waiting.message["MessageId"] != id_]
        return command.began is None

    def _answer(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer an operation of the agent."""
        if not self._connected:
            raise Refused("InternalServerError", "the agent is disconnected", 500)
        match operation:
            case "GetMessages":
                return self._messages(request)
            case "AcknowledgeMessage" | "DeleteMessage" | "FailMessage":
                self._acknowledge(str(request.get("MessageId")), failed=operation == "FailMessage")
                return {}
            case "SendReply":
                self._hear(str(request.get("MessageId")), str(request.get("Payload")))
                return {}
            case "UpdateInstanceInformation":
                self.version = str(request.get("AgentVersion", ""))[:64]
                return {}
            case "ListInstanceAssociations":
                return {"Associations": []}
            case _:
                raise Refused("AccessDeniedException", f"{operation} is not modelled for agents")

    def _messages(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a poll: with the next message, or with none after a while."""
        self._polled = time.monotonic()
        deadline = self._polled + HELD_S
        chosen = self._next()
        while chosen is None and self._connected and time.monotonic() < deadline:
            time.sleep(POLL_S)
            chosen = self._next()
        self._polled = time.monotonic()
        return {
            "Destination": self._instance,
            "MessagesRequestId": request.get("MessagesRequestId", ""),
            "Messages": [] if chosen is None else [chosen],
        }

    def _next(self) -> Mapping[str, str] | None:
        with self._lock:
            for waiting in self._waiting:
                if waiting.visible_at <= time.monotonic():
                    waiting.visible_at = time.monotonic() + HIDDEN_S
                    return waiting.message
        return None

    def _acknowledge(self, id_: str, *, failed: bool) -> None:
        with self._lock:
            self._waiting = [waiting for waiting in self._waiting if waiting.message["MessageId"] != id_]
            command = self._commands.get(messages.command_of(id_))
        if failed and command is not None:
            command.set("Failed", "Undeliverable")

    def _hear(self, id_: str, payload: str) -> None:
        """Take an agent's reply about one of its commands."""
        told = messages.read_reply(payload)
        with self._lock:
            command = self._commands.get(messages.command_of(id_))
        if command is None:
            return  # about a cancellation, or of an earlier start of the endpoint
        if command.began is None:
            command.began = told.began or dt.datetime.now(dt.UTC)
        if told.reply is None:
            if not command.cancelled:
                command.set("InProgress")
            if Fault.AGENT_DIES in command.faults:
                command.faults.discard(Fault.AGENT_DIES)
                threading.Timer(1.0, self._unit.die).start()
            return
        if Fault.REPLY_LOST in command.faults:
            command.faults.discard(Fault.REPLY_LOST)
            raise Refused("InternalServerError", "the reply is lost", 500)
        command.began, command.ended = told.began or command.began, told.ended
        command.conclude(told.reply)
        if Fault.AGENT_RESTART in command.faults:
            self._unit.restart()
