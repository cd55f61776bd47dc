"""The endpoint gives a polling agent its messages, and believes only the agent of that host.

The agents here are written for these tests; they speak the protocol that the real one was seen to speak.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from switchproof.deploy.providers.lab.errors import CommandFailedError, LabError
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.ssm import real_instance
from switchproof.deploy.providers.lab.ssm.agent_unit import AgentUnit, settings
from switchproof.deploy.providers.lab.ssm.commands import Command
from switchproof.deploy.providers.lab.ssm.documents import RUN_SHELL_SCRIPT, read_document
from switchproof.deploy.providers.lab.ssm.faults import Fault
from switchproof.deploy.providers.lab.ssm.messages import read_reply
from switchproof.deploy.providers.lab.ssm.real_instance import RealInstance
from switchproof.deploy.providers.lab.ssm.signature import Key, Keys

SOON_S = 20.0
INSTANCE = "i-0123456789abcdef0"
OWN = json.dumps(
    {
        "schemaVersion": "2.2",
        "parameters": {"Word": {"type": "String"}},
        "mainSteps": [{"action": "aws:runShellScript", "name": "say", "inputs": {"runCommand": ["echo {{ Word }}"]}}],
    }
)


class Agent:
    """An agent that does what a test tells it; `start` and `stop` are those of its unit."""

    def __init__(self, *_: object) -> None:
        self.url, self.key = "", Key("", "")
        self.restarts = 0

    def start(self, url: str, key: Key) -> None:
        """Ask for messages once, as the agent does at its start."""
        self.url, self.key = url, key
        threading.Thread(target=self.call, args=("GetMessages", REQUEST), daemon=True).start()

    def stop(self) -> None:
        """Stop nothing."""

    def restart(self) -> None:
        """Count."""
        self.restarts += 1

    def call(self, operation: str, request: Mapping[str, str], key: Key | None = None) -> dict[str, Any]:
        """Call an operation, signed with the agent's key."""
        ssm = operation in {"UpdateInstanceInformation", "ListInstanceAssociations"}
        target = f"{'AmazonSSM' if ssm else 'EC2WindowsMessageDeliveryService'}.{operation}"
        asked = AWSRequest("POST", f"{self.url}/", {"X-Amz-Target": target}, json.dumps(request))
        signer = key or self.key
        SigV4Auth(Credentials(signer.id, signer.secret), "ssm" if ssm else "ec2messages", "us-east-1").add_auth(asked)
        headers = dict(asked.headers)
        raw = urllib.request.Request(f"{self.url}/", asked.body, headers)  # noqa: S310 - a URL on loopback
        with urllib.request.urlopen(raw, timeout=SOON_S) as answered:  # noqa: S310
            return cast("dict[str, Any]", json.load(answered))

    def next(self) -> dict[str, str]:
        """Poll until there is a message."""
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            if messages := self.call("GetMessages", REQUEST)["Messages"]:
                return cast("dict[str, str]", messages[0])
        raise AssertionError("no message came")

    def reply(self, message: dict[str, str], status: str, **plugin: Any) -> None:
        """Reply about a command."""
        steps = {"step": {"status": status, "name": "aws:runShellScript", **plugin}} if plugin else None
        payload = json.dumps({"documentStatus": status, "documentTraceOutput": "", "runtimeStatus": steps})
        self.call("SendReply", {"MessageId": message["MessageId"], "ReplyId": "r" * 16, "Payload": payload})


REQUEST = {"Destination": INSTANCE, "MessagesRequestId": "r" * 16}


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    """The agent that the instance starts."""
    started = Agent()
    monkeypatch.setattr(real_instance, "AgentUnit", lambda *_: started)
    monkeypatch.setattr(real_instance, "HELD_S", 0.3)
    monkeypatch.setattr(real_instance, "HIDDEN_S", 0.3)
    return started


@pytest.fixture
def instance(agent: Agent) -> Iterator[RealInstance]:
    """The instance of that agent."""
    assert agent.url == ""
    host = cast("LabHost", SimpleNamespace(name="a", runner_address="127.0.0.1"))
    made = RealInstance(host, INSTANCE, "us-east-1", {"own": OWN}.get)
    yield made
    made.close()


def asked(*faults: Fault, own: bool = False) -> Command:
    """A command that was sent, of AWS's document or of one's own."""
    document = read_document("own", OWN) if own else RUN_SHELL_SCRIPT
    parameters = {"Word": ["hello"]} if own else {"commands": ["echo a", "echo b"]}
    return Command({"Parameters": parameters}, INSTANCE, document, set(faults))


def wait_for(reached: Callable[[], bool]) -> None:
    """Wait until a state is reached."""
    deadline = time.monotonic() + SOON_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_command_goes_to_the_agent_and_its_reply_comes_back(agent: Agent, instance: RealInstance) -> None:
    """The agent's words are passed on as they are: status, code, both streams, and the times of the script."""
    command = asked()
    instance.begin(command)
    message = agent.next()
    assert message["MessageId"] == f"aws.ssm.{command.id}.{INSTANCE}"
    assert message["Topic"] == "aws.ssm.sendCommand.AWS-RunShellScript"
    given = json.loads(message["Payload"])
    assert given["Parameters"] == {"commands": ["echo a", "echo b"]}
    assert given["DocumentContent"]["runtimeConfig"]["aws:runShellScript"]["properties"][0]["runCommand"]
    agent.reply(message, "InProgress")
    assert command.status == "InProgress"
    times = {"startDateTime": "2026-11-28T10:00:00.5Z", "endDateTime": "2026-11-28T10:00:02.000Z"}
    agent.reply(message, "Failed", code=3, standardOutput="out", standardError="err", output="both", **times)
    told = command.invocation()
    assert (told["Status"], told["ResponseCode"]) == ("Failed", 3)
    assert (told["StandardOutputContent"], told["StandardErrorContent"]) == ("out", "err")
    assert told["ExecutionElapsedTime"] == "PT1.500S"


def test_a_document_of_ones_own_is_given_whole(agent: Agent, instance: RealInstance) -> None:
    """The agent reads the document itself, and gets a parameter of type String as one value."""
    instance.begin(asked(own=True))
    given = json.loads(agent.next()["Payload"])
    assert given["DocumentContent"] == json.loads(OWN)
    assert given["Parameters"] == {"Word": "hello"}


def test_a_message_comes_again_until_it_is_acknowledged(agent: Agent, instance: RealInstance) -> None:
    """As with AWS: an agent that dies between the two gets it after its start."""
    instance.begin(asked())
    first, again = agent.next(), agent.next()
    assert first == again
    agent.call("AcknowledgeMessage", {"MessageId": first["MessageId"]})
    assert agent.call("GetMessages", REQUEST)["Messages"] == []


def test_a_command_that_the_agent_has_is_cancelled_by_a_message(agent: Agent, instance: RealInstance) -> None:
    """The agent decides; its reply is the end, with the output so far."""
    command = asked()
    instance.begin(command)
    message = agent.next()
    agent.call("AcknowledgeMessage", {"MessageId": message["MessageId"]})
    agent.reply(message, "InProgress")
    command.cancel()
    cancellation = agent.next()
    assert cancellation["Topic"].startswith("aws.ssm.cancelCommand.")
    assert json.loads(cancellation["Payload"]) == {"CancelMessageId": message["MessageId"]}
    assert command.status == "Cancelling"
    agent.reply(message, "Cancelled", code=137, standardOutput="so far")
    assert (command.status, command.invocation()["StandardOutputContent"]) == ("Cancelled", "so far")


def test_a_command_that_no_agent_has_is_cancelled_at_once(agent: Agent, instance: RealInstance) -> None:
    """And its message is taken back."""
    instance.go_offline()
    command = asked()
    instance.begin(command)
    wait_for(lambda: command.status == "Delayed")
    command.cancel()
    wait_for(lambda: command.status == "Cancelled")
    instance.come_back()
    assert agent.call("GetMessages", REQUEST)["Messages"] == []


def test_a_lost_reply_is_one_that_the_agent_has_to_send_again(agent: Agent, instance: RealInstance) -> None:
    """The agent hears an error, and keeps its reply."""
    command = asked(Fault.REPLY_LOST)
    instance.begin(command)
    message = agent.next()
    with pytest.raises(urllib.error.HTTPError) as lost:
        agent.reply(message, "Success", code=0)
    assert lost.value.code == 500
    assert not command.over
    agent.reply(message, "Success", code=0)
    assert command.status == "Success"


def test_another_key_than_the_agents_own_is_refused(agent: Agent, instance: RealInstance) -> None:
    """Everything on this machine reaches the address; a client with the endpoint's key is no agent."""
    assert instance.online
    with pytest.raises(urllib.error.HTTPError) as refused:
        agent.call("GetMessages", REQUEST, Keys.generate().user)
    assert json.load(refused.value)["__type"] == "UnrecognizedClientException"


def test_an_operation_that_is_not_modelled_is_denied(agent: Agent, instance: RealInstance) -> None:
    """The agent goes on without it, as on an instance whose role does not allow it; its version is kept."""
    assert agent.call("ListInstanceAssociations", {}) == {"Associations": []}
    agent.call("UpdateInstanceInformation", {"AgentVersion": "3.3.1.0"})
    assert instance.version == "3.3.1.0"
    with pytest.raises(urllib.error.HTTPError) as refused:
        agent.call("PutInventory", {})
    assert json.load(refused.value)["__type"] == "AccessDeniedException"


@pytest.mark.parametrize(
    "payload", ["", "[]", '{"documentStatus": 3}', '{"documentStatus": "Success", "runtimeStatus": 1}']
)
def test_a_reply_that_is_none_is_refused(payload: str) -> None:
    """A host is not trusted with the shape of its words."""
    with pytest.raises(ValueError, match=r"."):
        read_reply(payload)


def test_an_agent_that_asks_for_nothing_is_an_error_with_its_last_words(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the host, the time that was given, and what the agent's journal ends with."""
    monkeypatch.setattr(agent, "start", lambda *_: None)
    monkeypatch.setattr(agent, "last_lines", lambda: "no identity found", raising=False)
    monkeypatch.setattr(real_instance, "START_S", 0.1)
    host = cast("LabHost", SimpleNamespace(name="a", runner_address="127.0.0.1"))
    with pytest.raises(LabError, match=r"host a did not ask for messages within 0\.1 s; [a-z ]+:\nno identity"):
        RealInstance(host, INSTANCE, "us-east-1", lambda _: None)


def test_every_address_of_the_agents_settings_is_the_endpoints_with_its_scheme() -> None:
    """The agent takes AWS's own address in place of one that it does not understand, without a word."""
    given = settings("http://10.213.0.1:1234", INSTANCE, "us-east-1")
    for service in ("Mds", "Ssm", "S3", "Kms"):
        assert cast("dict[str, str]", given[service])["Endpoint"] == "http://10.213.0.1:1234"
    assert cast("dict[str, str]", given["Mgs"])["Endpoint"] == "10.213.0.1:1234"


@pytest.mark.parametrize("answer", ["default via 10.0.0.1 dev eth0\n", None])
def test_an_agent_is_not_started_where_there_may_be_a_way_out(answer: str | None) -> None:
    """A default route, or no answer about routes, is refused before the host has any file of the agent."""
    ran: list[str] = []

    def run(argv: list[str], **_: object) -> SimpleNamespace:
        ran.append(argv[0])
        if answer is None:
            raise CommandFailedError("ip did not end in time")
        return SimpleNamespace(returncode=0, stdout=answer, stderr="")

    unit = AgentUnit(cast("LabHost", SimpleNamespace(name="a", run=run)), INSTANCE, "us-east-1")
    with pytest.raises(LabError, match=r"way out of this machine|did not end"):
        unit.start("http://127.0.0.1:1", Key("K", "S"))
    assert ran == ["ip"]
