"""The messages between AWS and an agent that polls (ec2messages): made of commands, and read from replies (pure)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from switchproof.deploy.providers.lab.ssm.commands import Command
from switchproof.deploy.providers.lab.ssm.documents import RUN_SHELL_SCRIPT
from switchproof.deploy.providers.lab.ssm.outputs import Reply

SEND, CANCEL = "aws.ssm.sendCommand", "aws.ssm.cancelCommand"
_ENDED: Mapping[str, tuple[str, str]] = {
    "Success": ("Success", "Success"),
    "Failed": ("Failed", "Failed"),
    "Cancelled": ("Cancelled", "Cancelled"),
    "TimedOut": ("TimedOut", "ExecutionTimedOut"),
}
"""An agent's last words about a document, as the status and the details that AWS tells of them."""
_RUN_SHELL_SCRIPT: Mapping[str, Any] = {
    "schemaVersion": RUN_SHELL_SCRIPT.schema,
    "parameters": RUN_SHELL_SCRIPT.parameters,
    "runtimeConfig": {
        RUN_SHELL_SCRIPT.plugin: {
            "properties": [
                {
                    "id": f"0.{RUN_SHELL_SCRIPT.plugin}",
                    "runCommand": "{{ commands }}",
                    "workingDirectory": "{{ workingDirectory }}",
                    "timeoutSeconds": "{{ executionTimeout }}",
                }
            ]
        }
    },
}


class _Plugin(msgspec.Struct, rename="camel"):
    """What an agent tells of one step."""

    status: str
    code: int
    output: str = ""
    standard_output: str = ""
    standard_error: str = ""
    start_date_time: str = ""
    end_date_time: str = ""


class _Payload(msgspec.Struct, rename="camel"):
    """What an agent tells of a document."""

    document_status: str
    document_trace_output: str = ""
    runtime_status: dict[str, _Plugin] | None = None


class Told(msgspec.Struct, frozen=True):
    """An agent's word about a command.

    Attributes:
        reply: The end of the command; None while it is in progress.
        began: When its script began.
        ended: When its script ended.
    """

    reply: Reply | None = None
    began: dt.datetime | None = None
    ended: dt.datetime | None = None


def message_id(command: str, instance: str) -> str:
    """Return the id of a command's message, in which the agent finds the command."""
    return f"aws.ssm.{command}.{instance}"


def command_of(message: str) -> str:
    """Return the command that a message's id names; empty for an id of another form."""
    parts = message.split(".")
    return parts[2] if len(parts) == 4 and parts[:2] == ["aws", "ssm"] else ""  # noqa: PLR2004 - as `message_id` makes it


def send(command: Command, content: str | None, created: dt.datetime) -> dict[str, str]:
    """Return the message that gives a command to its agent.

    Args:
        command: The command.
        content: The JSON of a user's document; None for AWS-RunShellScript.
        created: The message's time.
    """
    given: Mapping[str, Sequence[str]] = command.request.get("Parameters", {})
    declared = command.document.parameters
    payload = {
        "Parameters": {
            name: list(value) if declared[name]["type"] == "StringList" else value[0] for name, value in given.items()
        },
        "DocumentContent": json.loads(content) if content else _RUN_SHELL_SCRIPT,
        "CommandId": command.id,
        "DocumentName": command.document.name,
        "OutputS3KeyPrefix": command.request.get("OutputS3KeyPrefix", ""),
        "OutputS3BucketName": command.request.get("OutputS3BucketName", ""),
        "CloudWatchLogGroupName": "",
        "CloudWatchOutputEnabled": "false",
    }
    topic = f"{SEND}.{command.document.name}"
    return _message(message_id(command.id, command.instance), topic, command.instance, payload, created)


def cancel(command: Command, own: str, created: dt.datetime) -> dict[str, str]:
    """Return the message that cancels a command.

    Args:
        command: The command.
        own: The id of the cancellation itself.
        created: The message's time.
    """
    payload = {"CancelMessageId": message_id(command.id, command.instance)}
    return _message(message_id(own, command.instance), f"{CANCEL}.{own}", command.instance, payload, created)


def read_reply(payload: str) -> Told:
    """Read what an agent replies.

    Raises:
        ValueError: It is not a reply of an agent.
    """
    told = msgspec.json.decode(payload, type=_Payload)
    if told.document_status not in _ENDED:
        return Told()
    # The documents of the endpoint have one step.
    plugin = next(iter((told.runtime_status or {}).values()), None)
    if plugin is None:
        return Told(Reply(*_ENDED[told.document_status], -1, "", told.document_trace_output))
    return Told(
        Reply(
            *_ENDED[told.document_status],
            plugin.code,
            plugin.standard_output,
            plugin.standard_error,
            plugin.output,
        ),
        _time(plugin.start_date_time),
        _time(plugin.end_date_time),
    )


def _message(id_: str, topic: str, instance: str, payload: Mapping[str, Any], created: dt.datetime) -> dict[str, str]:
    return {
        "MessageId": id_,
        "Topic": topic,
        "Destination": instance,
        "CreatedDate": created.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "Payload": json.dumps(payload),
    }


def _time(stamp: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(stamp)
    except ValueError:
        return None
