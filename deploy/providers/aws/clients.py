"""AWS's clients, and the remedies for their errors."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions
import botocore.parsers
from botocore.config import Config

from switchproof.deploy.providers.aws.credentials import open_session, remedy_of, usable_configuration
from switchproof.deploy.providers.aws.table import Ssm

CONNECT_S = 10.0
"""Seconds to connect to AWS."""
ANSWER_S = 10.0
"""Seconds for AWS to answer one request."""
ACCEPT_S = 20.0
"""Seconds for AWS to accept a command; after that the command is searched."""
READS = Config(
    connect_timeout=CONNECT_S, read_timeout=ANSWER_S, retries={"mode": "standard", "total_max_attempts": 4}
)
"""Standard mode retries with exponential backoff and jitter; set here, because botocore's default changes. Callers
repeat requests themselves, so a few attempts are enough, and more would exceed deadlines."""
SENDS = Config(
    connect_timeout=CONNECT_S, read_timeout=ACCEPT_S, retries={"mode": "standard", "total_max_attempts": 1}
)
"""SendCommand has no idempotency token, so a blind retry would run a command twice."""

_SERVICE = re.compile(
    r"(?:ssm|ssm-fips|sts|sts-fips)(?:\.[a-z]{2,4}(?:-[a-z]+)+-\d)?"
    r"\.(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws|api\.amazonwebservices\.com\.cn)"
    r"|vpce-[0-9a-f]{8,17}-[0-9a-z-]+\.(?:ssm|sts)\.[a-z]{2,4}(?:-[a-z]+)+-\d\.vpce\.amazonaws\.com(?:\.cn)?"
)
"""AWS's names of these services' endpoints; anybody can have a host below `.amazonaws.com`, too."""
_REMEDIES = {
    "ExpiredToken": "the credentials have expired; get new ones",
    "ExpiredTokenException": "the credentials have expired; get new ones",
    "InvalidClientTokenId": "AWS does not know these credentials; check which ones are configured",
    "UnrecognizedClientException": "AWS does not know these credentials; check which ones are configured",
    "InvalidSignatureException": "the secret key does not belong to the key id, or this machine's clock is wrong",
    "SignatureDoesNotMatch": "the secret key does not belong to the key id, or this machine's clock is wrong",
    "MaxDocumentSizeExceeded": "create a document that contains the script itself, as docs/aws.md shows",
    "InvalidDocument": "check that ssm.document names a document of this account and region",
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
        emulated: Receives once a stand-in for AWS, by its own name or its address, and what it does not model.

    Attributes:
        awaited: The commands to all hosts whose ends are awaited at this moment.

    Raises:
        UsageError: There is no region, no credentials or no such profile.
    """

    def __init__(self, ssm: Ssm, emulated: Callable[[str, tuple[str, ...]], None]) -> None:
        session, self.region = open_session(ssm)
        with usable_configuration():
            self.reads = session.client("ssm", region_name=self.region, config=READS)
            self.sends = session.client("ssm", region_name=self.region, config=SENDS)
            self.sts = session.client("sts", region_name=self.region, config=READS)
        self.awaited: set[str] = set()
        self._session = session
        self._emulated = emulated
        self._reported = threading.Lock()
        for client in (self.reads, self.sends, self.sts):
            client.meta.events.register("after-call", self._look_at)

    def bucket(self) -> Any:
        """Return a client of S3."""
        return self._session.client("s3", region_name=self.region, config=READS)

    def _look_at(self, http_response: Any, **_: Any) -> None:
        """Check by a response whether it comes from AWS itself."""
        stand_in = http_response.headers.get("x-switchproof-emulation", "")
        if not stand_in and is_aws(http_response.url):
            return
        if self._reported.acquire(blocking=False):
            lacking = http_response.headers.get("x-switchproof-not-modelled", "it is unknown what it does not model")
            where = urlsplit(http_response.url)
            self._emulated(
                stand_in or f"the endpoint {where.scheme}://{where.netloc}, which is not AWS's",
                tuple(lacking.split(" | ")),
            )


def is_aws(url: str) -> bool:
    """Whether a URL is one of AWS's own for these services, with TLS, on the usual port."""
    parts = urlsplit(url)
    return parts.scheme == "https" and parts.port in {None, 443} and bool(_SERVICE.fullmatch(parts.hostname or ""))


def code_of(error: Exception) -> str:
    """Return AWS's code of an error; empty if it did not come from AWS."""
    if isinstance(error, botocore.exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def explain(error: Exception) -> tuple[str, str]:
    """Return the meaning of an error, and a remedy."""
    code = code_of(error)
    if code in _REMEDIES:
        return str(error), f"{_REMEDIES[code][0].upper()}{_REMEDIES[code][1:]}."
    if code in THROTTLED:
        return (
            f"AWS throttles the requests ({error})",
            "Try again with fewer hosts at a time (--host; --parallel of an audit).",
        )
    if code:
        return str(error), "Read the error that AWS returned."
    if remedy := remedy_of(error):
        return f"there are no credentials: {error}", remedy
    if isinstance(error, botocore.parsers.ResponseParserError):
        return (
            f"the endpoint's answer is not one of AWS: {error}",
            "Check that AWS_ENDPOINT_URL_* names an endpoint of AWS.",
        )
    return f"AWS could not be reached: {error}", "Check that this machine can reach the endpoint of its region."


def certainly_not_accepted(error: Exception) -> bool:
    """Whether AWS has certainly not accepted a request: it was refused, or never sent."""
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
