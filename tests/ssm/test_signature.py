"""Only the user of an endpoint gets an answer from it: every request is signed, and the signature is checked."""

from __future__ import annotations

import datetime as dt
import http.client
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from switchproof.deploy.providers.lab.real import RealPrograms
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.providers.lab.ssm.faults import Fault
from switchproof.deploy.providers.lab.ssm.signature import Key, Keys, verify

KEYS = Keys.generate()
BODY = b'{"InstanceIds": []}'


def signed(key: Key, *, service: str = "ssm", body: bytes = BODY) -> dict[str, str]:
    """Return the headers of a request that botocore signed, by lower-case name."""
    headers = {
        "Host": "127.0.0.1:4",
        "X-Amz-Target": "AmazonSSM.SendCommand",
        "Content-Type": "application/x-amz-json-1.1",
    }
    request = AWSRequest("POST", "http://127.0.0.1:4/", headers=headers, data=body)
    SigV4Auth(Credentials(key.id, key.secret, key.token or None), service, "us-east-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def check(headers: dict[str, str], *, body: bytes = BODY, later_s: float = 0.0, service: str = "ssm") -> Key:
    """Check a request at a time."""
    return verify(headers, body, KEYS, service=service, now=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=later_s))


def test_a_client_of_aws_signs_what_is_accepted() -> None:
    """A request that botocore signed with a key of this start is accepted, and the key is known by it."""
    assert check(signed(KEYS.user)) == KEYS.user
    assert check(signed(KEYS.role)) == KEYS.role
    assert check({**signed(KEYS.user), "user-agent": "of a proxy"}) == KEYS.user


CHANGES: dict[str, tuple[Callable[[dict[str, str]], dict[str, str]], str]] = {
    "no signature": (lambda given: given | {"authorization": ""}, "IncompleteSignature"),
    "another header": (lambda given: given | {"x-amz-target": "AmazonSSM.CancelCommand"}, "InvalidSignature"),
    "an unsigned header": (lambda given: given | {"x-amz-user": "root"}, "InvalidSignature"),
    "another host": (lambda given: given | {"host": "rebound.example"}, "InvalidSignature"),
    "a later time": (lambda given: given | {"x-amz-date": given["x-amz-date"][:-3] + "99Z"}, "InvalidSignature"),
    "no time": (lambda given: given | {"x-amz-date": "soon"}, "InvalidSignature"),
    "the id alone": (
        lambda given: (
            given | {"authorization": given["authorization"].partition("Signature=")[0] + "Signature=" + "0" * 64}
        ),
        "InvalidSignature",
    ),
    "a session token": (lambda given: given | {"x-amz-security-token": "x"}, "UnrecognizedClient"),
}


@pytest.mark.parametrize(("change", "code"), CHANGES.values(), ids=CHANGES)
def test_a_changed_request_is_refused(change: Callable[[dict[str, str]], dict[str, str]], code: str) -> None:
    """Whatever of a signed request is changed on its way, it is refused."""
    with pytest.raises(Refused) as caught:
        check(change(signed(KEYS.user)))
    assert caught.value.code.startswith(code)


def test_another_secret_body_service_or_time_is_refused() -> None:
    """Neither a key of another start, nor another body, nor an old request is accepted."""
    other = Keys.generate()
    wrong = Key(KEYS.user.id, other.user.secret)
    without = {name: value for name, value in signed(KEYS.user).items() if name != "authorization"}
    for headers, more in (
        (signed(other.user), {}),
        (signed(wrong), {}),
        (signed(Key(KEYS.role.id, KEYS.role.secret)), {}),
        (signed(KEYS.user), {"body": BODY + b" "}),
        (signed(KEYS.user), {"later_s": 301.0}),
        (signed(KEYS.user), {"service": "sts"}),
        (without, {}),
    ):
        with pytest.raises(Refused):
            check(headers, **more)
    assert {KEYS.user.secret, KEYS.role.secret}.isdisjoint({other.user.secret, other.role.secret})


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[SsmEndpoint]:
    """An endpoint of a lab without hosts."""
    lab: Any = SimpleNamespace(name="empty", hosts={}, state=SimpleNamespace(programs=RealPrograms()))
    with SsmEndpoint.serve(lab) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        yield endpoint


def test_a_stranger_on_the_machine_gets_nothing(endpoint: SsmEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the key id and a wrong secret nothing is done, in either protocol, and no planned fault is used up."""
    endpoint.faults.plan(Fault.THROTTLE, operation="DescribeInstanceInformation")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-lab-and-opens-nothing")
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        boto3.Session().client("ssm").describe_instance_information()
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        boto3.Session().client("sts").get_caller_identity()
    assert endpoint.calls == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", endpoint.environment["AWS_SECRET_ACCESS_KEY"])
    assert endpoint.faults.draw("DescribeInstanceInformation") == {Fault.THROTTLE}
    assert boto3.Session().client("ssm").describe_instance_information()["InstanceInformationList"] == []


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999", "²"])
def test_a_malformed_length_is_refused(endpoint: SsmEndpoint, length: str) -> None:
    """A length that is no small number is answered, and nothing waits for such a body."""
    connection = http.client.HTTPConnection(urlsplit(endpoint.url).netloc, timeout=10)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", length.encode("latin-1"))
    connection.endheaders()
    assert connection.getresponse().status == 413
