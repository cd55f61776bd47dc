"""STS as far as a client of SSM needs it: GetCallerIdentity and AssumeRole (pure)."""

from __future__ import annotations

import datetime as dt
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from switchproof.deploy.providers.lab.ssm import model
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.providers.lab.ssm.signature import Key, Keys

ACCOUNT = "000000000000"
ARN = f"arn:aws:iam::{ACCOUNT}:user/lab"
ROLE_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/lab/switchproof"
VERSION = "2011-06-15"
_DEFAULT_S = 3600
_OWN_CODES = {
    "ExpiredTokenException": "ExpiredToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "SerializationException": "MalformedInput",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ValidationException": "ValidationError",
}
_FORBIDDEN = {"ExpiredToken", "InvalidClientTokenId", "MissingAuthenticationToken", "SignatureDoesNotMatch"}


def answer(body: bytes, signer: Key, keys: Keys, request: str, now: dt.datetime) -> bytes:
    """Answer an operation.

    Args:
        body: The request's form.
        signer: The key that signed it.
        keys: The keys of the endpoint.
        request: The id of the request.
        now: The time.

    Raises:
        Refused: The operation is not modelled, or AWS would refuse its parameters.
    """
    given = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    action = given.pop("Action", "")
    match action:
        case "GetCallerIdentity":
            arn = ROLE_ARN if signer == keys.role else ARN
            result = f"<Arn>{arn}</Arn><UserId>LAB</UserId><Account>{ACCOUNT}</Account>"
        case "AssumeRole":
            result = _assumed(given, keys.role, now)
        case _:
            raise Refused("InvalidAction", f"Could not find operation {action} for version {VERSION}")
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/{VERSION}/"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></{action}Response>"
    ).encode()


def refusal(error: Refused) -> Refused:
    """Return an error as STS tells it, which has its own names for some, and another status."""
    code = _OWN_CODES.get(error.code, error.code)
    return Refused(code, str(error), 403 if code in _FORBIDDEN else error.status)


def _assumed(given: dict[str, str], role: Key, now: dt.datetime) -> str:
    lasts = given.get("DurationSeconds", str(_DEFAULT_S))
    # Names with a dot belong to lists (tags, policies), which change nothing here.
    plain = {name: value for name, value in given.items() if "." not in name and name != "Version"}
    seconds = {"DurationSeconds": int(lasts)} if lasts.isdecimal() else {}
    model.check_request("AssumeRole", plain | seconds, "sts")
    ends = now + dt.timedelta(seconds=int(lasts))
    keys = f"<AccessKeyId>{role.id}</AccessKeyId><SecretAccessKey>{role.secret}</SecretAccessKey>"
    keys += f"<SessionToken>{role.token}</SessionToken><Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
    user = f"<Arn>{ROLE_ARN}</Arn><AssumedRoleId>LAB:{escape(given['RoleSessionName'])}</AssumedRoleId>"
    return f"<Credentials>{keys}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>"
