"""AWS's clients, and what their errors mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.credentials
import botocore.exceptions
import botocore.session
from botocore.config import Config

from deploy.errors import UsageError
from deploy.target import Ssm

CONNECT_S = 10.0
"""Seconds to connect to AWS."""
ANSWER_S = 10.0
"""Seconds for AWS to answer one question."""
ACCEPT_S = 20.0
"""Seconds for AWS to take a command; after that it is looked for."""
READS = Config(
    connect_timeout=CONNECT_S, read_timeout=ANSWER_S, retries={"mode": "standard", "total_max_attempts": 4}
)
"""Standard mode retries with exponential backoff and jitter; said here, as botocore's default changes. Whoever waits
asks again anyway, so a few attempts do, and more would overrun deadlines."""
SENDS = Config(
    connect_timeout=CONNECT_S, read_timeout=ACCEPT_S, retries={"mode": "standard", "total_max_attempts": 1}
)
"""SendCommand has no idempotency token: what was retried blindly would run twice."""

_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")
_REMEDIES = {
    "ExpiredToken": "the credentials have expired; get new ones",
    "ExpiredTokenException": "the credentials have expired; get new ones",
    "InvalidClientTokenId": "AWS does not know these credentials; look which ones are meant to be used",
    "UnrecognizedClientException": "AWS does not know these credentials; look which ones are meant to be used",
    "SignatureDoesNotMatch": "the secret key does not belong to the key id, or this machine's clock is wrong",
    "MaxDocumentSizeExceeded": "make a document that carries the script itself, as docs/aws.md tells",
    "InvalidDocument": "see whether ssm.document names a document of this account and region",
    "AccessDenied": "the credentials may not do this; see the IAM policy in docs/aws.md",
    "AccessDeniedException": "the credentials may not do this; see the IAM policy in docs/aws.md",
}
THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "RateExceeded"}
)


class Clients:
    """The clients of one run.

    Args:
        ssm: The target file's table.
        emulated: Told once if something stands in for AWS, by its own words or its address, and what it does not do.

    Raises:
        UsageError: No region, no credentials or no such profile.
    """

    def __init__(self, ssm: Ssm, emulated: Callable[[str, tuple[str, ...]], None]) -> None:
        try:
            session = boto3.Session(profile_name=ssm.profile)
            region = ssm.region or os.environ.get("AWS_REGION") or session.region_name
            if not region:
                raise UsageError(
                    "no AWS region: set ssm.region in the target file, AWS_REGION, or one in the profile"
                )
            if session.get_credentials() is None:
                raise UsageError(
                    "no AWS credentials: set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where "
                    "a role gives them"
                )
            if ssm.role:
                session = _in_role(session, ssm.role, region)
            self.region = region
            self.reads = session.client("ssm", region_name=region, config=READS)
            self.sends = session.client("ssm", region_name=region, config=SENDS)
            self.sts = session.client("sts", region_name=region, config=READS)
            self._session = session
        except botocore.exceptions.BotoCoreError as error:
            raise UsageError(f"provider 'aws': {error}") from error
        self._emulated = emulated
        self._told = threading.Lock()
        for client in (self.reads, self.sends, self.sts):
            client.meta.events.register("after-call", self._look_at)

    def bucket(self) -> Any:
        """Return a client of S3."""
        return self._session.client("s3", region_name=self.region, config=READS)

    def _look_at(self, http_response: Any, **_: Any) -> None:
        """See by an answer whether it is AWS's own."""
        words = http_response.headers.get("x-switchproof-emulation", "")
        if not words and (urlsplit(http_response.url).hostname or "").endswith(_AWS):
            return
        if self._told.acquire(blocking=False):
            lacking = http_response.headers.get("x-switchproof-not-modelled", "what it does not model is not known")
            where = urlsplit(http_response.url)
            self._emulated(
                words or f"the endpoint {where.scheme}://{where.netloc}, which is not AWS's",
                tuple(lacking.split(" | ")),
            )


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


def code_of(error: Exception) -> str:
    """Return AWS's own name for an error, empty if it did not come from AWS."""
    if isinstance(error, botocore.exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def explain(error: Exception) -> tuple[str, str]:
    """Say what an error means and what to do about it."""
    code = code_of(error)
    if code in _REMEDIES:
        return str(error), f"{_REMEDIES[code][0].upper()}{_REMEDIES[code][1:]}."
    if code in THROTTLED:
        return f"AWS throttles the requests ({error})", "Run fewer hosts at a time, or try again."
    if code:
        return str(error), "See what AWS says."
    return f"AWS could not be asked: {error}", "See whether this machine reaches the endpoint of its region."


def certainly_not_accepted(error: Exception) -> bool:
    """Tell whether a request has certainly not been taken in: refused, or never sent."""
    if isinstance(error, botocore.exceptions.ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)) < 500  # noqa: PLR2004 - HTTP
    return isinstance(
        error,
        botocore.exceptions.EndpointConnectionError
        | botocore.exceptions.ConnectTimeoutError
        | botocore.exceptions.ParamValidationError
        | botocore.exceptions.NoCredentialsError
        | botocore.exceptions.CredentialRetrievalError,
    )
