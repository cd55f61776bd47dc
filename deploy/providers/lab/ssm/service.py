"""The operations of the endpoint."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.ssm import NOT_MODELLED, OF_REAL_AGENT, OF_STAND_IN, documents, model
from switchproof.deploy.providers.lab.ssm.agent import Agent
from switchproof.deploy.providers.lab.ssm.commands import Command, Pace, Spent
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.providers.lab.ssm.faults import Fault, Faults
from switchproof.deploy.providers.lab.ssm.instance import Instance
from switchproof.deploy.providers.lab.ssm.outputs import Finished
from switchproof.deploy.providers.lab.ssm.real_instance import RealInstance
from switchproof.deploy.providers.lab.ssm.sts import ACCOUNT, ARN

REGION = "us-east-1"
PAGE = 50
VERSION = "1"
"""The one version of each document."""


class Service:
    """SSM Run Command for the hosts of a lab.

    Args:
        lab: The lab.
        pace: The durations of AWS.
        faults: The planned faults.
    """

    def __init__(self, lab: Lab, pace: Pace, faults: Faults) -> None:
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.instance_ids = {name: instance_id(lab.name, name) for name in lab.hosts}
        self._lab, self._pace, self._faults = lab, pace, faults
        self._contents: dict[str, str] = {}
        self.instances: dict[str, Instance | RealInstance] = {}
        try:
            for name, host in lab.hosts.items():
                self.instances[self.instance_ids[name]] = self._instance(host, self.instance_ids[name])
        except BaseException:
            for instance in self.instances.values():
                instance.close()
            raise
        self._tags = {
            self.instance_ids[name]: {"Name": host.hostname, "lab": lab.name, "host": name}
            for name, host in lab.hosts.items()
        }
        self._names = {id_: name for name, id_ in self.instance_ids.items()}
        self._documents = {documents.RUN_SHELL_SCRIPT.name: documents.RUN_SHELL_SCRIPT}
        self._sent: dict[str, list[Command]] = {}
        self._untargeted: list[Command] = []  # no instance has a tag that they name
        self._lock = threading.RLock()
        self._operations: Mapping[str, Callable[[Mapping[str, Any], set[Fault]], dict[str, Any]]] = {
            "SendCommand": self._send,
            "GetCommandInvocation": self._get,
            "ListCommands": self._list,
            "ListCommandInvocations": self._list_invocations,
            "CancelCommand": self._cancel,
            "DescribeInstanceInformation": self._describe,
            "CreateDocument": self._create,
            "DescribeDocument": self._describe_document,
            "GetDocument": self._get_document,
            "DeleteDocument": self._delete_document,
        }

    def _instance(self, host: LabHost, id_: str) -> Instance | RealInstance:
        if self._lab.state.programs.ssm_agent is not None:
            return RealInstance(host, id_, REGION, self._contents.get)
        return Instance(Agent(host, id_, REGION, self._pace.output_rate), self._pace, _upload)

    def answer(self, operation: str, request: Mapping[str, Any], faults: set[Fault]) -> dict[str, Any]:
        """Run an operation.

        Raises:
            Refused: AWS would refuse it, or the operation is not modelled.
        """
        if operation not in self._operations:
            raise Refused("UnknownOperationException", f"{operation} is not modelled by this endpoint")
        for fault, code, message in (
            (Fault.THROTTLE, "ThrottlingException", "Rate exceeded"),
            (Fault.DENY, "AccessDeniedException", f"{ARN} is not authorized to perform: ssm:{operation}"),
            (Fault.EXPIRE, "ExpiredTokenException", "The security token included in the request is expired"),
        ):
            if fault in faults:
                raise Refused(code, message)
        model.check_request(operation, request)
        with self._lock:
            self.calls.append((operation, request))
            return self._operations[operation](request, faults)

    @property
    def not_modelled(self) -> tuple[str, ...]:
        """The behaviour of SSM and its agent that the endpoint does not model."""
        return NOT_MODELLED + (OF_STAND_IN if self._lab.state.programs.ssm_agent is None else OF_REAL_AGENT)

    @property
    def spent(self) -> list[Spent]:
        """The durations of each command, in the order in which they were sent."""
        return [command.spent for commands in self._sent.values() for command in commands]

    def close(self) -> None:
        """Stop all running commands."""
        for commands in self._sent.values():
            for command in commands:
                command.cancel()
        for instance in self.instances.values():
            instance.close()

    def _send(self, request: Mapping[str, Any], faults: set[Fault]) -> dict[str, Any]:
        document = self._documents.get(request["DocumentName"])
        if document is None:
            raise Refused("InvalidDocument", f"Document {request['DocumentName']} does not exist")
        self._check_version(request)
        self._check_hash(request)
        targets = request.get("Targets", [])
        ids = list(request.get("InstanceIds", [])) or self._selected(targets)
        if len(set(ids)) != len(ids):
            raise Refused("DuplicateInstanceId", "An instance id is given twice")
        if not ids and not targets:
            raise Refused("InvalidParameters", "InstanceIds or Targets are needed")
        for id_ in ids:
            if id_ not in self.instances:
                raise Refused("InvalidInstanceId", f"Instances [[{id_}]] not in a valid state for account {ACCOUNT}")
        document.script(request.get("Parameters", {}))  # refuses wrong parameters
        if not ids:
            untargeted = Command(request, "", document, faults)
            self._sent[untargeted.id] = []
            self._untargeted.append(untargeted)
            return {"Command": untargeted.listed([])}
        commands = [Command(request, id_, document, faults) for id_ in ids]
        for command in commands[1:]:
            command.id = commands[0].id
        self._sent[commands[0].id] = commands
        for command in commands:
            self.instances[command.instance].begin(command)
        return {"Command": commands[0].listed(commands)}

    def _check_version(self, request: Mapping[str, Any]) -> None:
        """Refuse a version that a document does not have; the endpoint keeps one of each."""
        if request.get("DocumentVersion", VERSION) not in {VERSION, "$DEFAULT", "$LATEST"}:
            name = request.get("DocumentName") or request["Name"]
            raise Refused(
                "InvalidDocumentVersion",
                f"Document {name} has no version {request['DocumentVersion']}, only {VERSION}",
            )

    def _check_hash(self, request: Mapping[str, Any]) -> None:
        """Refuse a hash that is not the document's own; nothing that the endpoint keeps has one of Sha1."""
        kind = request.get("DocumentHashType", "Sha256")
        given = request.get("DocumentHash")
        if given and (kind, given) != ("Sha256", self._hash(request["DocumentName"])):
            raise Refused("InvalidDocument", f"document hash {given} does not match {kind}.")

    def _hash(self, name: str) -> str:
        if name not in self._contents:
            return documents.RUN_SHELL_SCRIPT_HASH
        return hashlib.sha256(self._contents[name].encode()).hexdigest()

    def _selected(self, targets: list[Mapping[str, Any]]) -> list[str]:
        chosen = set(self.instances) if targets else set()
        for target in targets:
            key, values = target.get("Key", ""), target.get("Values", [])
            if key.lower() == "instanceids":
                if unknown := sorted(set(values) - set(self.instances)):
                    raise Refused(
                        "InvalidInstanceId", f"Instances [{unknown}] not in a valid state for account {ACCOUNT}"
                    )
                chosen &= set(values)
            elif key.startswith("tag:"):
                chosen &= {id_ for id_, tags in self._tags.items() if tags.get(key[4:]) in values}
            else:
                raise Refused("InvalidParameters", f"targets by {key} are not modelled")
        return sorted(chosen)

    def _seen(self) -> list[Command]:
        """The commands that were accepted long enough ago to appear in lists."""
        now = time.monotonic()
        return [
            command
            for commands in self._sent.values()
            for command in commands
            if now - command.accepted >= self._pace.invisible_s
        ]

    def _ended_empty(self) -> list[Command]:
        """The commands to nobody; each has ended once an agent would have begun it."""
        now = time.monotonic()
        for command in self._untargeted:
            if now - command.accepted >= self._pace.pickup_s:
                command.set("Success", "NoInstancesInTag")
        return [command for command in self._untargeted if now - command.accepted >= self._pace.invisible_s]

    def _get(self, request: Mapping[str, Any], _: set[Fault]) -> dict[str, Any]:
        commands = [
            command
            for command in self._seen()
            if (command.id, command.instance) == (request["CommandId"], request["InstanceId"])
        ]
        if not commands:
            raise Refused("InvocationDoesNotExist", "")
        if request.get("PluginName", commands[0].document.plugin) != commands[0].document.plugin:
            raise Refused("InvalidPluginName", "")
        return commands[0].invocation()

    def _filtered(self, request: Mapping[str, Any], commands: list[Command]) -> list[Command]:
        commands = sorted(commands, key=lambda command: command.requested, reverse=True)
        commands = [
            command
            for command in commands
            if request.get("CommandId", command.id) == command.id
            and request.get("InstanceId", command.instance) == command.instance
        ]
        for given in request.get("Filters", []):
            key, value = given["key"], given["value"]
            match key:
                case "InvokedAfter" | "InvokedBefore":
                    at = dt.datetime.fromisoformat(value)
                    after = key == "InvokedAfter"
                    commands = [each for each in commands if (each.requested >= at) == after]
                case "Status":
                    commands = [each for each in commands if each.status == value]
                case "DocumentName":
                    commands = [each for each in commands if each.document.name == value]
                case _:
                    raise Refused("InvalidFilterKey", f"{key} is not modelled")
        return commands

    def _list(self, request: Mapping[str, Any], _: set[Fault]) -> dict[str, Any]:
        once = {
            command.id: command for command in reversed(self._filtered(request, self._seen() + self._ended_empty()))
        }
        listed = [command.listed(self._sent[command.id]) for command in reversed(once.values())]
        return _paged("Commands", listed, request)

    def _list_invocations(self, request: Mapping[str, Any], _: set[Fault]) -> dict[str, Any]:
        plugins = request.get("Details", False)
        listed = [command.listed_invocation(plugins=plugins) for command in self._filtered(request, self._seen())]
        return _paged("CommandInvocations", listed, request)

    def _cancel(self, request: Mapping[str, Any], faults: set[Fault]) -> dict[str, Any]:
        if request["CommandId"] not in self._sent:
            raise Refused("InvalidCommandId", "")
        if Fault.CANCEL_IN_VAIN in faults:
            return {}
        for command in self._sent[request["CommandId"]]:
            if command.instance in request.get("InstanceIds", [command.instance]):
                command.cancel()
        return {}

    def _describe(self, request: Mapping[str, Any], _: set[Fault]) -> dict[str, Any]:
        instances = dict(self.instances)
        for given in request.get("Filters", []):
            key, values = given["Key"], given["Values"]
            match key.partition(":"):
                case ("InstanceIds", _, _):
                    instances = {id_: instance for id_, instance in instances.items() if id_ in values}
                case ("PingStatus", _, _):
                    instances = {id_: instance for id_, instance in instances.items() if _ping(instance) in values}
                case ("tag", _, name):
                    instances = {
                        id_: instance for id_, instance in instances.items() if self._tags[id_].get(name) in values
                    }
                case _:
                    raise Refused("InvalidFilterKey", f"{key} is not modelled")
        if request.get("InstanceInformationFilterList"):
            raise Refused("InvalidInstanceInformationFilterValue", "the old filters are not modelled")
        now = dt.datetime.now(dt.UTC).timestamp()
        listed = [
            {
                "InstanceId": id_,
                "PingStatus": _ping(instance),
                "LastPingDateTime": now - (0 if instance.online else 900),
                "AgentVersion": instance.version,
                "IsLatestVersion": False,
                "PlatformType": "Linux",
                "PlatformName": "NixOS",
                "PlatformVersion": "25.11",
                "ResourceType": "EC2Instance",
                "IPAddress": self._lab.hosts[self._names[id_]].address,
                "ComputerName": self._lab.hosts[self._names[id_]].hostname,
            }
            for id_, instance in sorted(instances.items())
        ]
        return _paged("InstanceInformationList", listed, request)

    def _create(self, request: Mapping[str, Any], _: set[Fault]) -> dict[str, Any]:
        name = request["Name"]
        if name in self._documents:
            raise Refused("DocumentAlreadyExists", f"Document with the same name {name} already exists")
        if request.get("DocumentType", "Command") != "Command" or request.get("DocumentFormat", "JSON") != "JSON":
            raise Refused("InvalidDocumentSchemaVersion", "only Command documents in JSON are modelled")
        self._documents[name] = documents.read_document(name, request["Content"])
        self._contents[name] = request["Content"]
        return {"DocumentDescription": self._described(name)}

    def _described(self, name: str) -> dict[str, Any]:
        if name not in self._documents:
            raise Refused("InvalidDocument", f"Document {name} does not exist")
        return {
            "Name": name,
            "Hash": self._hash(name),
            "HashType": "Sha256",
            "Owner": ACCOUNT if name in self._contents else "Amazon",
            "Status": "Active",
            "DocumentVersion": VERSION,
            "PlatformTypes": ["Linux"],
            "DocumentType": "Command",
            "SchemaVersion": self._documents[name].schema,
            "LatestVersion": VERSION,
            "DefaultVersion": VERSION,
            "DocumentFormat": "JSON",
        }

    def _describe_document(self, request: Mapping[str, Any], _: set[Fault]) -> dict[str, Any]:
        described = self._described(request["Name"])
        self._check_version(request)
        return {"Document": described}

    def _get_document(self, request: Mapping[str, Any], _: set[Fault]) -> dict[str, Any]:
        described = self._described(request["Name"])
        self._check_version(request)
        if request["Name"] not in self._contents:
            raise Refused("InvalidDocument", "the text of AWS's own documents is not modelled")
        given = {
            key: described[key] for key in ("Name", "DocumentVersion", "Status", "DocumentType", "DocumentFormat")
        }
        return {**given, "Content": self._contents[request["Name"]]}

    def _delete_document(self, request: Mapping[str, Any], _: set[Fault]) -> dict[str, Any]:
        if request["Name"] not in self._contents:
            raise Refused("InvalidDocument", f"Document {request['Name']} does not exist")
        del self._documents[request["Name"]], self._contents[request["Name"]]
        return {}


def instance_id(lab: str, host: str) -> str:
    """Return the instance id of a lab's host, the same each time."""
    return "i-" + hashlib.sha256(f"{lab}/{host}".encode()).hexdigest()[:17]


def _ping(instance: Instance | RealInstance) -> str:
    return "Online" if instance.online else "ConnectionLost"


def _paged(key: str, listed: list[dict[str, Any]], request: Mapping[str, Any]) -> dict[str, Any]:
    size = request.get("MaxResults", PAGE)
    token = request.get("NextToken", "0")
    if not token.isdigit():
        raise Refused("InvalidNextToken", "")
    first = int(token)
    more = {"NextToken": str(first + size)} if len(listed) > first + size else {}
    return {key: listed[first : first + size], **more}


def _upload(command: Command, finished: Finished) -> None:
    """Upload a command's whole output to its bucket, as the agent does, with S3 at AWS_ENDPOINT_URL_S3."""
    if "AWS_ENDPOINT_URL_S3" not in os.environ:
        return  # a failed upload shows only as a missing object
    import boto3

    s3 = boto3.client("s3", region_name=REGION)
    folder = (
        "awsrunShellScript/0.awsrunShellScript"
        if command.document.schema == "1.2"
        else f"awsrunShellScript/{command.document.plugin}"
    )
    prefix = command.request.get("OutputS3KeyPrefix", "")
    place = "/".join(part for part in (prefix, command.id, command.instance, folder) if part)
    for name, body in (("stdout", finished.stdout), ("stderr", finished.stderr)):
        if body:
            s3.put_object(Bucket=command.request["OutputS3BucketName"], Key=f"{place}/{name}", Body=body)
