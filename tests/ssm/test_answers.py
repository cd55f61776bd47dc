"""The local endpoint answers as AWS does where it answers at all, and no client's call leaves the machine."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.loaders import create_loader

from switchproof.deploy.providers.lab.provider import _environment
from switchproof.deploy.providers.lab.real import RealPrograms
from switchproof.deploy.providers.lab.ssm import model
from switchproof.deploy.providers.lab.ssm.commands import Pace
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from switchproof.deploy.providers.lab.ssm.signature import Keys
from switchproof.deploy.providers.lab.ssm.surroundings import environment, misleading

SOON_S = 20.0
MODELS = create_loader()
"""The models of all services, read once."""
SHELL = {"DocumentName": "AWS-RunShellScript", "Parameters": {"commands": ["true"]}}
NOWHERE = [{"Key": "tag:Name", "Values": ["no-such-host"]}]
SHELL_HASH = "99749de5e62f71e5ebe9a55c2321e2c394796afe7208cff048696541e6f6771e"
ROLE = "arn:aws:iam::000000000000:role/deploys"
STEP = '{"action": "aws:runShellScript", "name": "s", "inputs": {"runCommand": ["true"]}}'
OWN = f'{{"schemaVersion": "2.2", "mainSteps": [{STEP}]}}'
MISLEADING = {
    "AWS_ENDPOINT_URL_EC2": "http://192.0.2.1:1",
    "AWS_ENDPOINT_URL_SSM": "http://192.0.2.1:2",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_DEFAULT_PROFILE": "production",
    "AWS_PROFILE": "production",
    "HTTP_PROXY": "http://192.0.2.1:3",
    "http_proxy": "http://192.0.2.1:4",
    "HTTPS_PROXY": "http://192.0.2.1:5",
    "no_proxy": "intranet.example",
}


def host(name: str) -> Any:
    """A host on which nothing runs."""
    return SimpleNamespace(hostname=name, address="127.0.0.1", run=lambda *_, **__: None)


@pytest.fixture
def lab() -> Any:
    """A lab of one such host."""
    state = SimpleNamespace(programs=RealPrograms())
    return SimpleNamespace(name="answers", hosts={"i": host("lab-i")}, state=state)


@pytest.fixture
def endpoint(lab: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SsmEndpoint]:
    """The endpoint, in an environment that leads clients elsewhere before the endpoint's own is set."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)
    with (
        SsmEndpoint.serve(lab, pace=Pace(invisible_s=0.05, pickup_s=0.1)) as endpoint,
        _environment(endpoint.environment, endpoint.misleading),
    ):
        yield endpoint


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses to which connections were opened; only those of loopback are allowed."""
    addresses: list[Any] = []
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def watched(self: socket.socket, address: Any) -> None:
        addresses.append(address[0])
        assert address[0] == "127.0.0.1", address
        connect(self, address)

    def asked(name: Any, *rest: Any, **more: Any) -> Any:
        assert name == "127.0.0.1", name
        return resolve(name, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", watched)
    monkeypatch.setattr(socket, "getaddrinfo", asked)
    return addresses


def client(service: str, **more: Any) -> Any:
    """A client that tries once, and leaves all checks to the other side."""
    config = Config(parameter_validation=False, retries={"mode": "standard", "total_max_attempts": 1})
    session = botocore.session.Session()
    session.register_component("data_loader", MODELS)
    return boto3.session.Session(botocore_session=session).client(service, config=config, **more)


def refused(call: Callable[..., Any], **request: Any) -> tuple[str, str, int]:
    """The code, message and status with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("service", "operation", "request_"),
    [
        ("s3", "list_objects_v2", {"Bucket": "b"}),
        ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}),
        ("ec2", "describe_instances", {}),
        ("iam", "list_users", {}),
        ("dynamodb", "list_tables", {}),
        ("lambda", "list_functions", {}),
        ("servicediscovery", "discover_instances", {"NamespaceName": "n", "ServiceName": "s"}),
    ],
)
def test_a_call_of_another_service_is_refused_here(
    endpoint: SsmEndpoint, called: list[Any], service: str, operation: str, request_: dict[str, Any]
) -> None:
    """Each protocol gets an error that its client can read, and nobody outside is asked, whatever was set before."""
    code, message, status = refused(getattr(client(service), operation), **request_)
    assert (code, status) == ("NotImplemented", 501)
    assert f"no {service}; nothing was asked of AWS" in message
    assert set(called) == {"127.0.0.1"}
    assert endpoint.calls == []


def test_ssm_and_sts_are_reached_past_proxies_and_settings(endpoint: SsmEndpoint, called: list[Any]) -> None:
    """Neither a proxy, nor a profile, nor a service's own address takes them elsewhere."""
    assert client("sts").get_caller_identity()["Account"] == "000000000000"
    assert client("ssm").describe_instance_information()["InstanceInformationList"]
    assert set(called) == {"127.0.0.1"}
    assert endpoint.count("DescribeInstanceInformation") == 1


def test_instance_metadata_is_not_asked_for_credentials(
    endpoint: SsmEndpoint, called: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without the endpoint's key has none, instead of the role of the machine on which the lab runs."""
    assert endpoint.url
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(NoCredentialsError):
        client("s3").list_buckets()
    assert called == []


def test_the_environment_is_as_before_after_the_endpoint(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what had to be unset is back."""
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with SsmEndpoint.serve(lab) as endpoint, _environment(endpoint.environment, endpoint.misleading):
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_ENDPOINT_URL_EC2" not in os.environ
    assert dict(os.environ) == before


def test_own_exceptions_from_proxies_stay(endpoint: SsmEndpoint) -> None:
    """Loopback is added to them, and both spellings say the same; a stub of S3 stays where it is."""
    assert endpoint.environment["no_proxy"] == endpoint.environment["NO_PROXY"] == "127.0.0.1,intranet.example"
    assert environment(endpoint.url, Keys.generate().user, "r", {})["NO_PROXY"] == "127.0.0.1"
    assert "AWS_ENDPOINT_URL_S3" not in misleading({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"})


def test_a_request_without_a_signature_gets_nothing_by_any_method(endpoint: SsmEndpoint) -> None:
    """GET and HEAD are answered, HEAD without a body, and a body of unknown length is not read."""
    address = urlsplit(endpoint.url).netloc
    for method, headers, status in (
        ("GET", {}, 501),
        ("HEAD", {}, 501),
        ("PUT", {"Transfer-Encoding": "chunked"}, 413),
        ("POST", {"Transfer-Encoding": "chunked"}, 413),
    ):
        connection = http.client.HTTPConnection(address, timeout=SOON_S)
        connection.request(method, "/", headers=headers)
        assert connection.getresponse().status == status, method
        connection.close()


@pytest.mark.parametrize(
    ("operation", "request_", "code", "words"),
    [
        ("get_session_token", {}, "InvalidAction", "Could not find operation GetSessionToken"),
        ("assume_role", {"RoleArn": ROLE}, "ValidationError", "RoleSessionName is missing"),
        ("assume_role", {"RoleArn": "r", "RoleSessionName": "s"}, "ValidationError", "at least 20"),
        (
            *("assume_role", {"RoleArn": ROLE, "RoleSessionName": "s", "DurationSeconds": 60}),
            *("ValidationError", "must be at least 900"),
        ),
    ],
    ids=["not-there", "no-session", "no-arn", "too-short"],
)
def test_sts_refuses_in_its_own_protocol(
    endpoint: SsmEndpoint, operation: str, request_: dict[str, Any], code: str, words: str
) -> None:
    """The code and the message arrive, instead of a complaint of the client about an answer that it cannot read."""
    assert endpoint.url
    told = refused(getattr(client("sts"), operation), **request_)
    assert (told[0], told[2]) == (code, 400)
    assert words in told[1]


def test_sts_forbids_where_a_signature_is_wrong(endpoint: SsmEndpoint) -> None:
    """With the status 403, as AWS does, and by its own names."""
    assert endpoint.url
    key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    for id_, word, code in (
        (key, "x" * 40, "SignatureDoesNotMatch"),
        ("AKIA" + "A" * 16, secret, "InvalidClientTokenId"),
    ):
        stranger = client("sts", aws_access_key_id=id_, aws_secret_access_key=word)
        assert refused(stranger.get_caller_identity)[::2] == (code, 403)


def test_a_role_is_told_with_its_user_and_its_end(endpoint: SsmEndpoint) -> None:
    """The keys work, the end is as asked, and the caller is the role."""
    assert endpoint.url
    told = client("sts").assume_role(
        RoleArn=ROLE, RoleSessionName="deploy", DurationSeconds=900, Tags=[{"Key": "k", "Value": "v"}]
    )
    given = told["Credentials"]
    assert 800 < given["Expiration"].timestamp() - time.time() < 901
    assert told["AssumedRoleUser"]["AssumedRoleId"].endswith(":deploy")
    names = ("aws_access_key_id", "AccessKeyId"), ("aws_secret_access_key", "SecretAccessKey")
    role = client("sts", **{ours: given[theirs] for ours, theirs in names}, aws_session_token=given["SessionToken"])
    assert role.get_caller_identity()["Arn"] == told["AssumedRoleUser"]["Arn"]


def test_aws_s_command_line_is_told_what_sts_does_not_have(endpoint: SsmEndpoint) -> None:
    """It names the operation and the code, and no parser's trouble."""
    assert endpoint.url
    program = Path(sys.executable).parent / "aws"
    command = [sys.executable, str(program), "sts", "get-session-token"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ)
    assert done.returncode != 0
    assert "An error occurred (InvalidAction) when calling the GetSessionToken operation" in done.stderr


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ({"DocumentVersion": "99"}, "InvalidDocumentVersion", "has no version 99"),
        ({"DocumentHash": "0" * 64}, "InvalidDocument", f"document hash {'0' * 64} does not match Sha256."),
        (
            {"DocumentHash": SHELL_HASH, "DocumentHashType": "Sha1"},
            *("InvalidDocument", f"document hash {SHELL_HASH} does not match Sha1."),
        ),
        ({"Targets": [{"Key": "instanceids", "Values": ["i-00000000000000000"]}]}, "InvalidInstanceId", "i-000"),
        ({"Targets": []}, "InvalidParameters", "are needed"),
    ],
    ids=["version", "hash", "hash-type", "instance", "nobody"],
)
def test_a_command_that_aws_would_refuse_is_refused(
    endpoint: SsmEndpoint, request_: dict[str, Any], code: str, words: str
) -> None:
    """By AWS's name for it, and nothing is sent."""
    told = refused(client("ssm").send_command, **{**SHELL, "Targets": NOWHERE, **request_})
    assert told[0] == code
    assert words in told[1]
    assert endpoint.spent == []
    assert client("ssm").list_commands()["Commands"] == []


@pytest.mark.parametrize("version", ["1", "$DEFAULT", "$LATEST"])
def test_a_document_s_own_version_and_hash_are_taken(endpoint: SsmEndpoint, version: str) -> None:
    """Both AWS's own document and one of the account have a hash that SendCommand knows again."""
    ssm = client("ssm")
    ssm.create_document(Name="Own", Content=OWN, DocumentType="Command")
    told = {name: ssm.describe_document(Name=name)["Document"] for name in ("AWS-RunShellScript", "Own")}
    assert told["AWS-RunShellScript"]["Hash"] == SHELL_HASH
    for name, parameters in (("AWS-RunShellScript", SHELL["Parameters"]), ("Own", {})):
        pinned = {"DocumentHash": told[name]["Hash"], "DocumentHashType": told[name]["HashType"]}
        ssm.send_command(DocumentName=name, DocumentVersion=version, Targets=NOWHERE, Parameters=parameters, **pinned)
    assert refused(ssm.describe_document, Name="Own", DocumentVersion="2")[0] == "InvalidDocumentVersion"
    assert refused(ssm.get_document, Name="Own", DocumentVersion="2")[0] == "InvalidDocumentVersion"
    assert ssm.get_document(Name="Own", DocumentVersion=version)["Content"] == OWN
    assert endpoint.count("SendCommand") == 2


def test_a_tag_that_nobody_has_is_accepted_and_ends_without_an_instance(endpoint: SsmEndpoint) -> None:
    """First Pending, then Success, which only its details tell from one that ran; nothing ran anywhere."""
    ssm = client("ssm")
    sent = ssm.send_command(**SHELL, Targets=NOWHERE)["Command"]
    assert (sent["Status"], sent["InstanceIds"], sent["Targets"]) == ("Pending", [], NOWHERE)
    deadline = time.monotonic() + SOON_S
    while True:
        listed = ssm.list_commands(CommandId=sent["CommandId"])["Commands"]
        if listed and listed[0]["Status"] != "Pending":
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    ended = listed[0]
    assert (ended["Status"], ended["StatusDetails"]) == ("Success", "NoInstancesInTag")
    assert (ended["TargetCount"], ended["CompletedCount"], ended["ErrorCount"]) == (0, 0, 0)
    assert ssm.list_command_invocations(CommandId=sent["CommandId"])["CommandInvocations"] == []
    instance = endpoint.instance_ids["i"]
    asked = {"CommandId": sent["CommandId"], "InstanceId": instance}
    assert refused(ssm.get_command_invocation, **asked)[0] == "InvocationDoesNotExist"
    assert ssm.list_commands(InstanceId=instance)["Commands"] == []
    ssm.cancel_command(CommandId=sent["CommandId"])
    assert endpoint.spent == []
    plain = {**ended, "RequestedDateTime": 0.0, "ExpiresAfter": 0.0}
    assert model.check_response("ListCommands", {"Commands": [plain]}) == []
