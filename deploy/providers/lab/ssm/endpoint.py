"""The endpoint itself: AWS's protocols over HTTP, on loopback only."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from deploy.providers.lab.lab import Lab
from deploy.providers.lab.ssm import NOT_MODELLED, model
from deploy.providers.lab.ssm.commands import Pace, Spent
from deploy.providers.lab.ssm.errors import Refused
from deploy.providers.lab.ssm.faults import Fault, Faults
from deploy.providers.lab.ssm.service import ACCOUNT, ARN, REGION, Service

KEY_ID, SECRET = "AKIALABLABLABLABLAB0", "of-a-lab-and-opens-nothing"
ROLE_KEY_ID = "ASIALABLABLABLABLAB0"
"""What STS gives for any role."""
ROLE_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/lab/switchproof"
MAX_REQUEST = 2**20
STALL_S = 120.0
"""Seconds without an answer after which the connection is closed; longer than boto3 waits for one."""


class SsmEndpoint:
    """SSM for the hosts of a lab; see `serve`.

    Attributes:
        url: Where it answers.
        faults: What is to go wrong.
    """

    def __init__(self, server: ThreadingHTTPServer, service: Service, faults: Faults) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.faults = faults
        self._service = service

    @classmethod
    @contextmanager
    def serve(cls, lab: Lab, *, port: int = 0, pace: Pace | None = None) -> Iterator[SsmEndpoint]:
        """Serve the hosts of a lab for as long as the block lasts.

        Args:
            lab: A lab that is up.
            port: On loopback; 0 for any.
            pace: How long AWS takes.
        """
        faults = Faults()
        service = Service(lab, pace or Pace(), faults)
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(service, faults))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield cls(server, service, faults)
        finally:
            server.shutdown()
            server.server_close()
            service.close()

    @property
    def environment(self) -> dict[str, str]:
        """What lets any client of AWS use the endpoint; the credentials open nothing."""
        return {
            "AWS_ENDPOINT_URL_SSM": self.url,
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    @property
    def instance_ids(self) -> dict[str, str]:
        """The instance id of each host."""
        return dict(self._service.instance_ids)

    @property
    def calls(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The operations that were done, with their requests, in order."""
        return list(self._service.calls)

    @property
    def spent(self) -> list[Spent]:
        """Where the time of each command went, in the order in which they were sent."""
        return self._service.spent

    def count(self, operation: str) -> int:
        """Return how often an operation was done."""
        return sum(called == operation for called, _ in self.calls)

    def set_online(self, host: str, *, online: bool) -> None:
        """Let a host's agent be reached, or not."""
        self._service.instances[self.instance_ids[host]].online = online

    def kill_agent(self, host: str) -> None:
        """Kill a host's agent with whatever it runs at the moment; it is started again at once."""
        self._service.instances[self.instance_ids[host]].die()


def _handler(service: Service, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > MAX_REQUEST:
                self._say(413, b"", "text/plain")
                return
            body = self.rfile.read(length)
            target = self.headers.get("X-Amz-Target", "")
            operation = target.removeprefix("AmazonSSM.") if target else ""
            drawn = faults.draw(operation)
            try:
                _check_credentials(self.headers.get("Authorization", ""))
                if not target:
                    self._say(200, _sts(body, self.headers["Authorization"]), "text/xml")
                    return
                answer = service.answer(operation, json.loads(body or b"{}"), drawn)
            except Refused as error:
                said = {"__type": error.code, "message": str(error)}
                self._say(error.status, json.dumps(said).encode(), "application/x-amz-json-1.1")
            except ValueError as error:
                said = {"__type": "SerializationException", "message": str(error)}
                self._say(400, json.dumps(said).encode(), "application/x-amz-json-1.1")
            else:
                if Fault.STALL_AFTER_ACCEPTING in drawn:
                    self._stall()
                elif Fault.ERROR_AFTER_ACCEPTING in drawn:
                    said = {"__type": "InternalServerError", "message": "an error after accepting"}
                    self._say(500, json.dumps(said).encode(), "application/x-amz-json-1.1")
                else:
                    self._say(200, json.dumps(answer).encode(), "application/x-amz-json-1.1")

        def _stall(self) -> None:
            """Say nothing until the client goes."""
            self.close_connection = True
            self.connection.settimeout(STALL_S)
            with contextlib.suppress(OSError):
                self.connection.recv(1)

        def _say(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            self.send_header("x-switchproof-emulation", f"SSM of a Switchproof lab (model {model.version()})")
            self.send_header("x-switchproof-not-modelled", " | ".join(NOT_MODELLED))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing; whoever asks keeps the calls."""

    return Handler


def _check_credentials(authorization: str) -> None:
    if KEY_ID not in authorization and ROLE_KEY_ID not in authorization:
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid")


def _sts(body: bytes, authorization: str) -> bytes:
    """Answer STS's two questions that are modelled: whose credentials these are, and for a role's."""
    given = parse_qs(body.decode("utf-8", "replace"))
    match given.get("Action", [""])[0]:
        case "GetCallerIdentity":
            arn = ROLE_ARN if ROLE_KEY_ID in authorization else ARN
            answer = f"<Arn>{arn}</Arn><UserId>LAB</UserId><Account>{ACCOUNT}</Account>"
            return _answered("GetCallerIdentity", answer)
        case "AssumeRole":
            ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
            keys = f"<AccessKeyId>{ROLE_KEY_ID}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
            keys += f"<SessionToken>lab</SessionToken><Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
            return _answered("AssumeRole", f"<Credentials>{keys}</Credentials>")
        case action:
            raise Refused("InvalidAction", f"{action or 'nothing'} is not modelled by this endpoint")


def _answered(action: str, result: str) -> bytes:
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></{action}Response>"
    ).encode()
