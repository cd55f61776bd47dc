"""Credentials that cannot be had are a mistake of this machine: file, profile and remedy are told before all else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.aws import credentials
from switchproof.deploy.providers.aws.clients import Clients
from switchproof.deploy.providers.aws.credentials import open_session
from switchproof.deploy.providers.aws.table import Ssm

PRINTS = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
OF_A_PROCESS = b'{"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": "of-a-process"}'


class Machine:
    """A machine with an AWS configuration of its own."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self.credentials = folder / "credentials"
        self.output = folder / "output"
        self._program = folder / "prints.py"
        self._program.write_text(PRINTS, "utf-8")

    def profile(self, text: str) -> None:
        """Write the profile `prod`."""
        self.config.write_text(f"[profile prod]\nregion = eu-west-3\n{text}\n", "utf-8", errors="surrogateescape")

    def process(self, output: bytes) -> None:
        """Give the profile `prod` a process that prints something."""
        self.output.write_bytes(output)
        self.profile(f"credential_process = {sys.executable} {self._program} {self.output}")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """An environment without anything of AWS but two files."""
    for name in (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nothing here reaches anything
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return Machine(tmp_path)


def problem(ssm: Ssm | None = None) -> str:
    """Return what is said of the credentials."""
    with pytest.raises(UsageError) as caught:
        open_session(ssm or Ssm(profile="prod"))
    return str(caught.value)


def test_a_process_s_credentials_are_used(machine: Machine) -> None:
    """A process that prints what the AWS SDKs want gives the credentials."""
    machine.process(OF_A_PROCESS)
    session, region = open_session(Ssm(profile="prod"))
    assert session.get_credentials().access_key == "AKIAPROCESS"
    assert region == "eu-west-3"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (b"", "its output is not JSON"),
        (b"hunter22 expired", "its output is not JSON"),
        (b"{}", "Unsupported version"),
        (b"[1]", "its output does not have the form that AWS SDKs expect"),
        (b"\xff\xfe", "its output is not UTF-8"),
        (b'{"Version": 1, "AccessKeyId": "hunter22"}', "Missing required key in response: 'SecretAccessKey'"),
        (OF_A_PROCESS[:-1] + b', "Expiration": "soon"}', "does not have the form that AWS SDKs expect"),
    ],
)
def test_a_process_that_prints_no_credentials_is_named(machine: Machine, output: bytes, words: str) -> None:
    """File and profile are told, and nothing of what was printed."""
    machine.process(output)
    told = problem()
    assert f"credential_process of the profile 'prod' in {machine.config} gives no credentials: " in told
    assert words in told
    assert "hunter22" not in told


def test_a_process_that_is_not_there_or_fails_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is missing, ends badly or never ends is told, each in its words."""
    machine.profile("credential_process = /nowhere/aws-login prod")
    assert "gives no credentials: /nowhere/aws-login cannot be run: No such file or directory" in problem()
    machine.profile("credential_process = sh -c 'echo log in first >&2; exit 3'")
    assert "log in first" in problem()
    monkeypatch.setattr(credentials, "PROCESS_S", 0.1)
    machine.profile("credential_process = sleep 4161")
    assert "did not end within 0.1 s, and was killed" in problem()


SSO = "sso_account_id = 1\nsso_role_name = r\n"
START = "sso_start_url = https://x.example/start\nsso_region = eu-west-3"


@pytest.mark.parametrize(
    "text", [SSO + START, f"{SSO}sso_session = s\n[sso-session s]\n{START}"], ids=["old", "session"]
)
def test_an_sso_login_that_ended_says_how_to_log_in(machine: Machine, text: str) -> None:
    """The remedy is the command that makes a new login."""
    machine.profile(text)
    assert f"the SSO login of the profile 'prod' in {machine.config} has ended" in problem()
    assert "run `aws sso login --profile prod`" in problem()


def test_a_web_identity_without_its_file_names_the_file(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is named, with what names it: a variable or the profile."""
    role = "arn:aws:iam::111122223333:role/ci"
    machine.profile(f"web_identity_token_file = /nowhere/token\nrole_arn = {role}")
    assert "/nowhere/token (web_identity_token_file of the profile 'prod'" in problem()
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/other")
    monkeypatch.setenv("AWS_ROLE_ARN", role)
    told = problem(Ssm(region="eu-west-3"))
    assert "/nowhere/other (AWS_WEB_IDENTITY_TOKEN_FILE) cannot be read: No such file or directory" in told


@pytest.mark.parametrize("endpoint", ["no URL", "ftp:/x", "http://[", "127.0.0.1:4"])
def test_an_endpoint_that_is_no_url_is_a_mistake(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """What botocore raises for it is told as the configuration's mistake."""
    machine.process(OF_A_PROCESS)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", endpoint)
    with pytest.raises(
        UsageError, match=r"the AWS configuration cannot be used: .*; see .*config and the environment"
    ):
        Clients(Ssm(profile="prod"), lambda *_: None)


KEYS = (
    *("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region", "role_arn", "source_profile"),
    *("credential_source", "sso_session", "sso_account_id", "sso_role_name", "sso_start_url", "sso_region"),
    *("web_identity_token_file", "services", "s3", "retry_mode", "max_attempts", "mfa_serial", "duration_seconds"),
    *("use_fips_endpoint", "defaults_mode", "ca_bundle", "cli_timestamp_format", "login_session", "external_id"),
)
VALUES = st.one_of(
    st.sampled_from(
        ["prod", "default", "Environment", "Ec2InstanceMetadata", "true", "9", "eu-west-3", "/nowhere", ""]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
LINES = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=6)
FEW = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FEW
@given(LINES)
@example([("aws_access_key_id", "a")])
@example([("role_arn", "x"), ("source_profile", "prod")])
@example([("s3", "\n  nested = [")])
def test_no_configuration_is_a_traceback(machine: Machine, lines: list[tuple[str, str]]) -> None:
    """Whatever stands in a profile, there are credentials or a sentence about them."""
    machine.profile("\n".join(f"{key} = {value}" for key, value in lines if key != "credential_process"))
    try:
        Clients(Ssm(profile="prod"), lambda *_: None)
    except UsageError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Version", "AccessKeyId", "x"]), inner)
    ),
    max_leaves=6,
)


@settings(FEW, max_examples=10)
@given(st.binary(max_size=30) | JSON.map(json.dumps).map(str.encode))
def test_no_output_of_a_process_is_a_traceback(machine: Machine, output: bytes) -> None:
    """Whatever a process prints, there are credentials or a sentence about them."""
    machine.process(output)
    assert "gives no credentials" in problem()
