"""Errors in the protocol of the service that a client called, so that each client can read them (pure)."""

from __future__ import annotations

import json
import re
from xml.sax.saxutils import escape

from switchproof.deploy.providers.lab.ssm.errors import Refused

JSON, XML = "application/x-amz-json-1.1", "text/xml"
_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/[a-z0-9-]+/([a-z0-9-]+)/aws4_request")


def service_of(authorization: str) -> str:
    """Return the service that a request is signed for; empty if that is not to be seen."""
    named = _SCOPE.search(authorization)
    return named[1] if named else ""


def not_served(service: str) -> Refused:
    """Return the error for a service that the endpoint does not have."""
    return Refused(
        "NotImplemented",
        f"A lab has SSM and STS of AWS, and no {service or 'other service'}; nothing was asked of AWS itself",
        501,
    )


def told(error: Refused, service: str, request: str, *, queried: bool) -> tuple[bytes, str]:
    """Return the body of an error, and its content type.

    Args:
        error: The error.
        service: The service, as signatures spell it.
        request: The id of the request.
        queried: Whether the request was a form, as of the services that answer in XML.
    """
    said = f"<Code>{escape(error.code)}</Code><Message>{escape(str(error))}</Message>"
    if service == "s3":
        return f"<Error>{said}<RequestId>{request}</RequestId></Error>".encode(), XML
    if queried:
        inner = f"<Error><Type>Sender</Type>{said}</Error><RequestId>{request}</RequestId>"
        return f"<ErrorResponse>{inner}</ErrorResponse>".encode(), XML
    return json.dumps({"__type": error.code, "message": str(error)}).encode(), JSON
