"""Before anything is sent it is known who asks, which instance is meant, and that it can be reached."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    UnauthorizedSSOTokenError,
)
from botocore.parsers import ResponseParserError

from switchproof.deploy.connection import AuthenticationFailed, ConnectionProblem, Unreachable
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws import provider
from switchproof.deploy.providers.aws.clients import READS, SENDS, Clients, explain, is_aws
from switchproof.deploy.providers.aws.provider import AwsProvider
from switchproof.deploy.providers.aws.table import Ssm
from switchproof.deploy.settings import TARGETS

INSTANCE = "i-0123456789abcdef0"
TARGET = load(TARGETS / "aws.toml", {"DEPLOY_INSTANCE_ID": INSTANCE})
ONLINE = {"InstanceId": INSTANCE, "PingStatus": "Online", "PlatformType": "Linux"}
ME = {"Arn": "arn:aws:iam::111122223333:user/ci", "Account": "111122223333"}


def refused(code: str) -> ClientError:
    """An error that AWS answers with."""
    return ClientError({"Error": {"Code": code, "Message": "words of AWS"}}, "Op")


class Aws:
    """What of AWS's clients is asked before a command."""

    def __init__(self, found: list[dict[str, Any]] | Exception, me: dict[str, str] | Exception = ME) -> None:
        self.region = "eu-west-3"
        self.filters: list[Any] = []
        self._found, self._me = found, me
        self.sts = self.reads = self.sends = self

    def get_caller_identity(self) -> dict[str, str]:
        if isinstance(self._me, Exception):
            raise self._me
        return self._me

    def get_paginator(self, name: str) -> Aws:
        assert name == "describe_instance_information"
        return self

    def paginate(self, **given: Any) -> Iterator[dict[str, Any]]:
        self.filters.append(given["Filters"])
        if isinstance(self._found, Exception):
            raise self._found
        for entry in self._found:
            yield {"InstanceInformationList": [entry]}
        yield {"InstanceInformationList": []}


def connect(aws: Aws, monkeypatch: pytest.MonkeyPatch, **host: Any) -> str:
    """Connect to the host, and return the instance that it is."""
    monkeypatch.setattr(provider, "Clients", lambda *_: aws)
    hosts = (msgspec.structs.replace(TARGET.hosts[0], **host),)
    target = msgspec.structs.replace(TARGET, hosts=hosts)
    return str(AwsProvider(target, prove=False, emulated=lambda *_: None, say=print).connect("aws").facts.address)


NAMED = {"instance": None, "tags": {"Name": "choiros-prod", "tier": "one"}}


def test_an_instance_is_found_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id is asked for as such."""
    aws = Aws([ONLINE])
    assert connect(aws, monkeypatch) == INSTANCE
    assert aws.filters == [[{"Key": "InstanceIds", "Values": [INSTANCE]}]]


def test_an_instance_is_found_by_its_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """The `Name` tag, or any others, select it."""
    aws = Aws([ONLINE])
    assert connect(aws, monkeypatch, **NAMED) == INSTANCE
    by_tags = [{"Key": "tag:Name", "Values": ["choiros-prod"]}, {"Key": "tag:tier", "Values": ["one"]}]
    assert aws.filters == [by_tags]


LAST = dt.datetime(2026, 11, 20, 9, 30, tzinfo=dt.UTC)
FAILURES = {
    "expired": (
        Aws([], refused("ExpiredToken")),
        AuthenticationFailed,
        "did not report whose credentials these are: .*words of AWS.*The credentials have expired; get new ones",
    ),
    "wrong key": (
        Aws([], refused("InvalidClientTokenId")),
        AuthenticationFailed,
        "AWS does not know these credentials",
    ),
    "wrong secret": (
        Aws([], refused("SignatureDoesNotMatch")),
        AuthenticationFailed,
        "this machine's clock is wrong",
    ),
    "no way": (
        Aws([], EndpointConnectionError(endpoint_url="https://sts.example")),
        AuthenticationFailed,
        "could not be reached.*Check that this machine can reach the endpoint of its region",
    ),
    "may not look": (Aws(refused("AccessDeniedException")), Unreachable, "see the IAM policy in docs/aws.md"),
    "throttled": (
        Aws(refused("ThrottlingException")),
        Unreachable,
        "AWS throttles the requests.*fewer hosts at a time",
    ),
    "unknown": (
        Aws([]),
        Unreachable,
        rf"not know the instance {INSTANCE} \(.*ci in account 111122223333, region eu-west-3\).*ManagedInstanceCore",
    ),
    "unknown id": (Aws(refused("InvalidInstanceId")), Unreachable, f"SSM does not know the instance {INSTANCE}"),
    "offline": (
        Aws([ONLINE | {"PingStatus": "ConnectionLost", "LastPingDateTime": LAST}]),
        Unreachable,
        "is ConnectionLost; its last ping was at 2026-11-20 09:30.*systemctl status amazon-ssm-agent",
    ),
    "windows": (
        Aws([ONLINE | {"PlatformType": "Windows"}]),
        UsageError,
        "runs Windows, not Linux. Name a Linux instance",
    ),
}


@pytest.mark.parametrize(("aws", "error", "words"), FAILURES.values(), ids=FAILURES)
def test_each_failure_has_its_sentence_and_remedy(
    monkeypatch: pytest.MonkeyPatch, aws: Aws, error: type[Exception], words: str
) -> None:
    """Whoever asks is told what is wrong, with whom and where, and what to do about it."""
    with pytest.raises(error, match=words) as caught:
        connect(aws, monkeypatch)
    assert isinstance(caught.value, ConnectionProblem)
    assert str(caught.value).startswith("aws: ")


def test_no_two_failures_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every failure is told from every other one."""
    said = set()
    for aws, error, _ in FAILURES.values():
        with pytest.raises(error) as caught:
            connect(aws, monkeypatch)
        said.add(str(caught.value))
    assert len(said) == len(FAILURES) - 1  # an id that SSM does not list and one that it refuses are the same


def test_tags_must_select_one_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags of several instances, or of none, are a mistake in the target file, with what they select."""
    other = ONLINE | {"InstanceId": "i-00000000000000009"}
    with pytest.raises(UsageError, match=rf"Name=choiros-prod, tier=one is not one instance but i-0+9, {INSTANCE}"):
        connect(Aws([ONLINE, other]), monkeypatch, **NAMED)
    with pytest.raises(Unreachable, match="does not know an instance with the tags Name=choiros-prod"):
        connect(Aws([]), monkeypatch, **NAMED)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> pytest.MonkeyPatch:
    """An environment without anything of AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "config").write_text("[profile prod]\nregion = ap-south-1\n[default]\n")
    (tmp_path / "credentials").write_text("[prod]\naws_access_key_id = AKIAPROD\naws_secret_access_key = no-secret\n")
    return monkeypatch


def clients(ssm: Ssm) -> Clients:
    """Make AWS's clients; nothing is sent by that."""
    return Clients(ssm, lambda *_: None)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("ssm", "words"),
    [
        (Ssm(), "no AWS region: set ssm.region in the target file, AWS_REGION, or one in the profile"),
        (Ssm(region="eu-west-3"), "no AWS credentials: set AWS_PROFILE, AWS_ACCESS_KEY_ID"),
        (Ssm(profile="absent"), r"The config profile \(absent\) could not be found"),
    ],
)
def test_what_this_machine_lacks_is_a_mistake_of_its_user(ssm: Ssm, words: str) -> None:
    """No region, no credentials and no such profile are told before anything is sent."""
    with pytest.raises(UsageError, match=words):
        clients(ssm)


def test_region_and_credentials_are_found_as_boto3_users_expect(bare: pytest.MonkeyPatch) -> None:
    """The target file's region comes first, then AWS_REGION, then the profile's; an endpoint is honoured."""
    assert clients(Ssm(profile="prod")).region == "ap-south-1"
    bare.setenv("AWS_PROFILE", "prod")
    bare.setenv("AWS_REGION", "us-west-2")
    bare.setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:9")
    assert clients(Ssm()).region == "us-west-2"
    made = clients(Ssm(region="eu-west-3"))
    assert made.region == "eu-west-3"
    assert {client.meta.endpoint_url for client in (made.reads, made.sends)} == {"http://127.0.0.1:9"}
    assert made.sts.meta.endpoint_url == "https://sts.eu-west-3.amazonaws.com"


@pytest.mark.usefixtures("bare")
def test_how_often_is_tried_is_said_and_not_a_default() -> None:
    """Sends are tried once, reads several times, in a mode that no release of botocore changes."""
    assert SENDS.retries == {"mode": "standard", "total_max_attempts": 1}
    assert READS.retries == {"mode": "standard", "total_max_attempts": 4}
    made = clients(Ssm(profile="prod"))
    tried = [client.meta.config.retries["total_max_attempts"] for client in (made.sends, made.reads, made.sts)]
    assert tried == [1, 4, 4]


@pytest.mark.usefixtures("bare")
def test_only_what_is_not_aws_s_own_is_emulated() -> None:
    """An endpoint that calls itself a stand-in, or is not at AWS's names, makes the run emulated; AWS's does not."""
    told: list[tuple[str, tuple[str, ...]]] = []
    look = Clients(Ssm(profile="prod"), lambda *said: told.append(said))._look_at

    def answer(url: str, **headers: str) -> Any:
        return SimpleNamespace(url=url, headers=headers)

    look(answer("https://ssm.eu-west-3.amazonaws.com/"))
    look(answer("https://ssm.eu-west-3.api.aws/"))
    assert not told
    look(answer("http://127.0.0.1:9/", **{"x-switchproof-emulation": "a lab", "x-switchproof-not-modelled": "a | b"}))
    look(answer("http://127.0.0.1:9/"))
    assert told == [("a lab", ("a", "b"))]
    again: list[str] = []
    other = Clients(Ssm(profile="prod"), lambda words, _: again.append(words))
    other._look_at(answer("http://ssm.eu-west-3.amazonaws.com.evil.example:4566/x"))
    assert again == ["the endpoint http://ssm.eu-west-3.amazonaws.com.evil.example:4566, which is not AWS's"]


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://ssm.eu-west-3.amazonaws.com/", True),
        ("https://ssm.us-gov-west-1.amazonaws.com:443/", True),
        ("https://ssm-fips.us-east-1.amazonaws.com/", True),
        ("https://ssm.cn-north-1.amazonaws.com.cn/", True),
        ("https://sts.amazonaws.com/", True),
        ("https://sts.eu-west-3.api.aws/", True),
        ("https://vpce-0123456789abcdef0-0abcdefg.ssm.eu-west-3.vpce.amazonaws.com/", True),
        ("https://vpce-0123456789abcdef0-0abcdefg-eu-west-3a.ssm.eu-west-3.vpce.amazonaws.com/", True),
        ("http://ssm.eu-west-3.amazonaws.com/", False),
        ("https://ssm.eu-west-3.amazonaws.com:4566/", False),
        ("https://my-stand-in-12345.eu-west-3.elb.amazonaws.com/", False),
        ("https://abcdef1234.execute-api.eu-west-3.amazonaws.com/ssm", False),
        ("https://ec2-203-0-113-9.eu-west-3.compute.amazonaws.com/", False),
        ("https://ssm.fake.amazonaws.com/", False),
        ("https://x.ssm.eu-west-3.amazonaws.com/", False),
        ("https://ssm.eu-west-3.amazonaws.com.evil.example/", False),
    ],
)
def test_a_host_below_aws_s_domain_is_not_aws(url: str, *, own: bool) -> None:
    """Load balancers, gateways and machines of anybody have names there; only the services' own names count."""
    assert is_aws(url) is own


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (UnauthorizedSSOTokenError(), "Run `aws sso login` with the profile"),
        (FileNotFoundError(2, "No such file or directory", "/nowhere/token"), "Check that /nowhere/token exists"),
        (CredentialRetrievalError(provider="custom-process", error_msg="log in"), "Check how .* the credentials"),
        (ResponseParserError("no JSON"), "Check that AWS_ENDPOINT_URL_"),
        (EndpointConnectionError(endpoint_url="https://x.example"), "Check that this machine can reach the endpoint"),
    ],
    ids=["sso", "file", "process", "junk", "network"],
)
def test_credentials_that_end_during_a_run_have_a_remedy_of_their_own(error: Exception, remedy: str) -> None:
    """A login that ended is no matter of the network."""
    assert re.match(remedy, explain(error)[1])
