"""Whatever an endpoint answers, the provider has a program's answer or an error of its own, never a traceback."""

from __future__ import annotations

import json
import secrets
from io import BytesIO
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from switchproof.deploy.connection import ConnectionProblem
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws import commands, provider
from switchproof.deploy.providers.aws.provider import AwsProvider
from switchproof.deploy.settings import TARGETS

INSTANCE = "i-0123456789abcdef0"
TARGET = load(TARGETS / "aws.toml", {"DEPLOY_INSTANCE_ID": INSTANCE})

NAMES = (
    *("Command", "Commands", "CommandId", "Comment", "Status", "StatusDetails", "ResponseCode", "NextToken"),
    *("StandardOutputContent", "StandardErrorContent", "InstanceInformationList", "InstanceId", "PingStatus"),
    *("PlatformType", "LastPingDateTime", "RequestedDateTime", "__type", "message", "Parameters"),
)
WORDS = st.sampled_from(
    ["Success", "Online", "Linux", "InProgress", INSTANCE, "switchproof", "²", "--output truncated--"]
)
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
FEW = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Endpoint:
    """Answers each operation with a body; nothing leaves this machine."""

    def __init__(self) -> None:
        self.status = 200
        self.answers: dict[str, bytes] = {}

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        target = request.headers.get("X-Amz-Target", b"sts")
        name = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        body = BytesIO(self.answers.get(name, b"{}"))
        body.stream = lambda *_, **__: iter([body.getvalue()])  # type: ignore[attr-defined] # as urllib3's
        return AWSResponse(request.url, self.status, {"content-type": "application/x-amz-json-1.1"}, body)


ME = b"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>a</Arn><Account>1</Account></GetCallerIdentityResult>"
ME += b"</GetCallerIdentityResponse>"
GOOD = {
    "sts": ME,
    "DescribeInstanceInformation": json.dumps(
        {"InstanceInformationList": [{"InstanceId": INSTANCE, "PingStatus": "Online", "PlatformType": "Linux"}]}
    ).encode(),
    "SendCommand": b'{"Command": {"CommandId": "00000000-0000-0000-0000-000000000000"}}',
}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """An endpoint that every client meets, and waits that end at once."""
    for name, value in {"ACCESS_KEY_ID": "AKIA", "SECRET_ACCESS_KEY": "no-secret", "REGION": "eu-west-3"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(commands, "LISTED_S", 0.0)
    monkeypatch.setattr(commands, "SLACK_S", -1000.0)
    monkeypatch.setattr(commands._Pace, "next_s", lambda _: 0.0)
    monkeypatch.setattr(provider, "LOOK_S", 0.0)
    monkeypatch.setattr("botocore.retryhandler.delay_exponential", lambda **_: 0)
    return Endpoint()


def met(endpoint: Endpoint) -> AwsProvider:
    """A provider whose clients meet the endpoint."""
    made = AwsProvider(TARGET, prove=False, emulated=lambda *_: None, say=print)
    for client in (made._clients.reads, made._clients.sends, made._clients.sts):
        client.meta.events.register("before-send", endpoint)
    return made


OUTCOMES = (ConnectionProblem, Inconclusive)


@FEW
@given(
    st.sampled_from(["sts", "DescribeInstanceInformation", "SendCommand", "GetCommandInvocation"]),
    ANSWERS,
    st.booleans(),
)
@example(
    "DescribeInstanceInformation",
    {"InstanceInformationList": [{"PlatformType": "Linux", "PingStatus": "Online"}]},
    True,
)
@example("SendCommand", {}, True)
@example("sts", {}, True)
@example("GetCommandInvocation", {"Status": "Success", "ResponseCode": "²"}, True)
@pytest.mark.long
def test_no_answer_is_a_traceback(endpoint: Endpoint, operation: str, answer: Any, well: bool) -> None:
    """Of JSON of any shape, and of errors of any shape."""
    endpoint.status = 200
    endpoint.answers = GOOD | {operation: json.dumps(answer).encode()}
    reached = met(endpoint)
    if not well:
        endpoint.status = 400
    with pytest.raises(OUTCOMES):
        reached.connect("aws").run(b"true", timeout_s=0.01)


@pytest.mark.parametrize("body", [b"", b"<html>proxy</html>", b"{", b"\xff", b"[]", b"null"])
@pytest.mark.parametrize("operation", ["sts", "DescribeInstanceInformation", "SendCommand", "GetCommandInvocation"])
def test_no_junk_is_a_traceback(endpoint: Endpoint, operation: str, body: bytes) -> None:
    """Of bodies that are no JSON of an object, as a proxy answers."""
    endpoint.answers = GOOD | {operation: body}
    with pytest.raises(OUTCOMES):
        met(endpoint).connect("aws").run(b"true", timeout_s=0.01)


def answered(question: str, **changed: str) -> str:
    """An answer of the host's half, with some of its fields changed."""
    fields = {
        "outcome": "answered",
        "status": "0",
        "size": "20",
        "sum": "0" * 64,
        "offset": "0",
        "body": "YQ==\nYQ==",
    }
    fields |= changed
    opening = " ".join(fields[name] for name in ("outcome", "status", "size", "sum", "offset"))
    return f"SWITCHPROOF-SSM/1 {question} {opening}\n{fields['body']}\nSWITCHPROOF-SSM/1 {question} end\n"


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "²"},
        {"status": "9" * 400},
        {"size": "999999999999"},
        {"size": "٣"},
        {"offset": "999999999999"},
        {"outcome": "splendid"},
        {"body": "²\n²"},
        {"body": ""},
    ],
    ids=str,
)
def test_no_answer_of_a_host_is_a_traceback(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    """Of an answer with a number that is none, or one that no output has; it costs no memory either."""
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0" * 16)
    told = {"Status": "Success", "StatusDetails": "Success", "StandardOutputContent": answered("0" * 16, **changed)}
    endpoint.answers = GOOD | {"GetCommandInvocation": json.dumps(told).encode()}
    with pytest.raises(OUTCOMES):
        met(endpoint).connect("aws").run(b"true", timeout_s=0.01)
