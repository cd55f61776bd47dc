"""Finds a run's AWS credentials as boto3 does, and explains why they cannot be used."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import boto3
import botocore.credentials
import botocore.exceptions
import botocore.session

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.aws.table import Ssm

PROCESS_S = 60.0
"""Seconds for a `credential_process`; botocore itself would wait for ever."""

_SSO = (botocore.exceptions.SSOError, botocore.exceptions.TokenRetrievalError)
_WEB_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"


def open_session(ssm: Ssm) -> tuple[boto3.Session, str]:
    """Open a session with credentials, in a role if one is named; return it with its region.

    Raises:
        UsageError: There is no region, no such profile, or no credentials; the message says why.
    """
    profile = ssm.profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"
    with _explained(profile):
        session = boto3.Session(profile_name=ssm.profile)
        region = ssm.region or os.environ.get("AWS_REGION") or session.region_name
    if not region:
        raise UsageError("no AWS region: set ssm.region in the target file, AWS_REGION, or one in the profile")
    with _explained(profile, session):
        inner: Any = session._session  # noqa: SLF001 - boto3 has no other way
        provider: Any = inner.get_component("credential_provider").get_provider("custom-process")
        provider._popen = _Bounded  # noqa: SLF001 - nor has botocore
        credentials = session.get_credentials()
        if credentials is not None:
            credentials.get_frozen_credentials()  # detects an expired login now, not in the middle of a run
    if credentials is None:
        raise UsageError(
            "no AWS credentials: set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run on a "
            "machine with a role"
        )
    if ssm.role:
        with _explained(profile, session):
            return _in_role(session, ssm.role, region), region
    return session, region


@contextlib.contextmanager
def usable_configuration() -> Iterator[None]:
    """Report values with which botocore cannot make a client, such as an endpoint that is not a URL.

    Raises:
        UsageError: A value is wrong; the message names the files that may contain it.
    """
    try:
        yield
    except Exception as error:
        raise UsageError(
            f"provider 'aws': the AWS configuration cannot be used: {_message(error)}; "
            f"see {config_file()} and the environment variables AWS_*"
        ) from error


def remedy_of(error: Exception) -> str | None:
    """Return the remedy for credentials that expired during a run; None for other errors."""
    match error:
        case botocore.exceptions.LoginError():
            return "Run `aws login` with the profile that is used."
        case error if isinstance(error, _SSO):
            return "Run `aws sso login` with the profile that is used."
        case botocore.exceptions.CredentialRetrievalError() | botocore.exceptions.NoCredentialsError():
            return f"Check how {config_file()} and the environment provide the credentials."
        case OSError() if error.filename:
            return f"Check that {error.filename} exists and can be read; the credentials come from it."
        case _:
            return None


def config_file() -> str:
    """Return the file with the profiles."""
    return os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config"


@contextlib.contextmanager
def _explained(profile: str, session: boto3.Session | None = None) -> Iterator[None]:
    """Describe a problem of credentials in a sentence with file and profile."""
    try:
        yield
    except Exception as error:
        config: Any = {}
        with contextlib.suppress(Exception):
            config = session._session.get_scoped_config() if session else {}  # noqa: SLF001 - boto3 has no other way
        raise UsageError(f"provider 'aws': {_problem(error, profile, config)}") from error


def _problem(error: Exception, profile: str, config: dict[str, Any]) -> str:
    where = f"the profile {profile!r} in {config_file()}"
    token_file = os.environ.get(_WEB_IDENTITY) or config.get("web_identity_token_file")
    if isinstance(error, botocore.exceptions.LoginError):
        return f"the login of {where} has ended ({_message(error)}): run `aws login --profile {profile}`"
    if isinstance(error, _SSO):
        return f"the SSO login of {where} has ended ({_message(error)}): run `aws sso login --profile {profile}`"
    if isinstance(error, OSError) and token_file and str(error.filename) == str(token_file):
        name = _WEB_IDENTITY if os.environ.get(_WEB_IDENTITY) else f"web_identity_token_file of {where}"
        return f"the web identity token {token_file} ({name}) cannot be read: {error.strerror}"
    if "credential_process" in config and not isinstance(error, botocore.exceptions.ProfileNotFound):
        return f"credential_process of {where} gives no credentials: {_of_process(error)}"
    return f"{where} gives no credentials: {_message(error)}"


def _of_process(error: Exception) -> str:
    """Describe the problem of a `credential_process` without its output, which may contain a part of a secret."""
    match error:
        case botocore.exceptions.CredentialRetrievalError():
            return _message(error)
        case OSError():
            return f"{error.filename} cannot be run: {error.strerror}"
        case UnicodeDecodeError():
            return "its output is not UTF-8"
        case ValueError() if "expecting" in str(error).lower() or "extra data" in str(error).lower():
            return "its output is not JSON"
        case _:
            return f"its output does not have the form that AWS SDKs expect ({type(error).__name__})"


def _message(error: Exception) -> str:
    """Return an error's message on one line; the type's name without a message."""
    return " ".join(str(error).split())[:500] or type(error).__name__


class _Bounded(subprocess.Popen[bytes]):
    """A process that is killed when it does not end in time."""

    def communicate(self, *_: Any, **__: Any) -> tuple[bytes, bytes]:
        try:
            return super().communicate(timeout=PROCESS_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise botocore.exceptions.CredentialRetrievalError(
                provider="custom-process", error_msg=f"it did not end within {PROCESS_S:g} s, and was killed"
            ) from None


def _in_role(session: boto3.Session, role: str, region: str) -> boto3.Session:
    """Return a session whose credentials are the role's, renewed when they end."""
    fetcher = botocore.credentials.AssumeRoleCredentialFetcher(
        client_creator=lambda service, **given: session.client(service, **{"region_name": region, **given}),
        source_credentials=session.get_credentials(),
        role_arn=role,
        extra_args={"RoleSessionName": "switchproof"},
    )
    inner = botocore.session.get_session()
    inner._credentials = botocore.credentials.DeferredRefreshableCredentials(  # noqa: SLF001 - botocore has no other way
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )
    return boto3.Session(botocore_session=inner)
