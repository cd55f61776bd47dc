"""Verifies Signature Version 4 of requests to the endpoint, as AWS does (pure).

Every local user can reach a port on loopback, and a command of the endpoint runs as root on a lab host. So each start
has its own secrets, which only the endpoint's user gets.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

import msgspec

from switchproof.deploy.providers.lab.ssm.errors import Refused

SKEW_S = 300.0
"""Seconds between the clocks of signer and endpoint, after which a request is refused (AWS: five minutes)."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[A-Z0-9]{16,128})/(?P<day>\d{8})/(?P<region>[a-z0-9-]+)"
    r"/(?P<service>[a-z0-9]+)/aws4_request, ?"
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_STAMP = "%Y%m%dT%H%M%SZ"


class Key(msgspec.Struct, frozen=True):
    """An access key.

    Attributes:
        id: Its id, which requests name.
        secret: The secret for signatures.
        token: The session token that goes with a role's key; empty for a user's.
    """

    id: str
    secret: str
    token: str = ""


class Keys(msgspec.Struct, frozen=True):
    """The keys of one start of the endpoint.

    Attributes:
        user: The key for the shell of the endpoint's user.
        role: The key that AssumeRole returns.
    """

    user: Key
    role: Key

    @classmethod
    def generate(cls) -> Keys:
        """Make new keys."""
        token = secrets.token_urlsafe(30)
        return cls(
            Key(_key_id("AKIA"), secrets.token_urlsafe(30)), Key(_key_id("ASIA"), secrets.token_urlsafe(30), token)
        )


def verify(headers: Mapping[str, str], body: bytes, keys: Keys, *, service: str, now: dt.datetime) -> Key:
    """Return the key that signed a `POST /`.

    Args:
        headers: The request's headers, by lower-case name.
        body: The request's body.
        keys: The valid keys.
        service: The service that the request is for, as SigV4 spells it.
        now: The time.

    Raises:
        Refused: The request is not signed, not by one of the keys, altered, or too old.
    """
    if "authorization" not in headers:
        raise Refused("MissingAuthenticationTokenException", "The request is not signed")
    given = _AUTHORIZATION.fullmatch(headers["authorization"])
    if given is None:
        raise Refused("IncompleteSignatureException", "The Authorization header is not one of Signature Version 4")
    key = next((key for key in (keys.user, keys.role) if key.id == given["key"]), None)
    if key is None or not hmac.compare_digest(headers.get("x-amz-security-token", "").encode(), key.token.encode()):
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid")
    names = given["names"].split(";")
    needed = {"host", "x-amz-date", *(name for name in headers if name.startswith("x-amz-"))}
    if names != sorted(set(names)) or needed - set(names) or not headers.keys() >= set(names):
        raise _mismatch(f"these headers must be signed: {', '.join(sorted(needed))}")
    stamp = headers["x-amz-date"]
    if given["service"] != service or not stamp.startswith(given["day"]):
        raise _mismatch("the credential is for another service or another day")
    _check_time(stamp, now)
    canonical = "\n".join(
        (
            *("POST", "/", ""),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            *("", given["names"], hashlib.sha256(body).hexdigest()),
        )
    )
    scope = f"{given['day']}/{given['region']}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signed = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signing_key = f"AWS4{key.secret}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    expected = hmac.digest(signing_key, signed.encode(), "sha256").hex()
    if not hmac.compare_digest(expected, given["signature"]):
        raise _mismatch("check the secret access key and the signing method")
    return key


def _check_time(stamp: str, now: dt.datetime) -> None:
    try:
        signed = dt.datetime.strptime(stamp, _STAMP).replace(tzinfo=dt.UTC)
    except ValueError:
        raise _mismatch("x-amz-date is not a time") from None
    if abs((now - signed).total_seconds()) > SKEW_S:
        raise _mismatch(f"signed at {stamp}, and it is now {now:{_STAMP}}")


def _mismatch(reason: str) -> Refused:
    return Refused(
        "InvalidSignatureException",
        f"The request signature we calculated does not match the signature you provided: {reason}",
    )


def _key_id(kind: str) -> str:
    return kind + base64.b32encode(secrets.token_bytes(10)).decode()
