"""The endpoint itself: AWS's protocols over HTTP, on loopback only."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.ssm import NOT_MODELLED, model
from switchproof.deploy.providers.lab.ssm.commands import Pace, Spent
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.providers.lab.ssm.faults import Fault, Faults
from switchproof.deploy.providers.lab.ssm.service import ACCOUNT, ARN, REGION, Service
from switchproof.deploy.providers.lab.ssm.signature import Key, Keys, verify

ROLE_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/lab/switchproof"
JSON = "application/x-amz-json-1.1"
MAX_REQUEST = 2**20
STALL_S = 120.0
"""Seconds without an answer after which the connection is closed; longer than boto3's timeout."""


class SsmEndpoint:
    """SSM for the hosts of a lab; see `serve`.

    Attributes:
        url: Its URL.
        faults: The planned faults.
    """

    def __init__(self, server: ThreadingHTTPServer, service: Service, faults: Faults, keys: Keys) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.faults = faults
        self._service = service
        self._keys = keys

    @classmethod
    @contextmanager
    def serve(cls, lab: Lab, *, port: int = 0, pace: Pace | None = None) -> Iterator[SsmEndpoint]:
        """Serve the hosts of a lab during the block.

        Args:
            lab: A running lab.
            port: The port on loopback; 0 for any.
            pace: The durations of AWS.
        """
        faults = Faults()
        keys = Keys.generate()
        service = Service(lab, pace or Pace(), faults)
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(service, faults, keys))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield cls(server, service, faults, keys)
        finally:
            server.shutdown()
            server.server_close()
            service.close()

    @property
    def environment(self) -> dict[str, str]:
        """The credentials for any client of AWS; they are equivalent to root on the lab's hosts."""
        return {
            "AWS_ENDPOINT_URL_SSM": self.url,
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_ACCESS_KEY_ID": self._keys.user.id,
            "AWS_SECRET_ACCESS_KEY": self._keys.user.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    @property
    def instance_ids(self) -> dict[str, str]:
        """The instance id of each host."""
        return dict(self._service.instance_ids)

    @property
    def calls(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The operations so far, with their requests, in order."""
        return list(self._service.calls)

    @property
    def spent(self) -> list[Spent]:
        """The durations of each command, in the order in which they were sent."""
        return self._service.spent

    def count(self, operation: str) -> int:
        """Return how often an operation was called."""
        return sum(called == operation for called, _ in self.calls)

    def set_online(self, host: str, *, online: bool) -> None:
        """Connect or disconnect a host's agent; after an outage it returns at its next attempt."""
        instance = self._service.instances[self.instance_ids[host]]
        if online:
            instance.come_back()
        else:
            instance.go_offline()

    def kill_agent(self, host: str) -> None:
        """Kill a host's agent and its running commands; systemd restarts it after a while."""
        self._service.instances[self.instance_ids[host]].die()

    def restart_agent(self, host: str) -> None:
        """Restart a host's agent, like a switch that changes its unit; its commands survive."""
        self._service.instances[self.instance_ids[host]].restart()


def _handler(service: Service, faults: Faults, keys: Keys) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length") or "0"
            if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > MAX_REQUEST:
                self.close_connection = True
                self._say(413, b"", "text/plain")
                return
            body = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            target = headers.get("x-amz-target", "")
            try:
                signer = verify(headers, body, keys, service="ssm" if target else "sts", now=dt.datetime.now(dt.UTC))
                if target:
                    self._answer(target.removeprefix("AmazonSSM."), body)
                else:
                    self._say(200, _sts(body, signer, keys.role), "text/xml")
            except Refused as error:
                self._refuse(error, xml=not target)
            except ValueError as error:
                self._refuse(Refused("SerializationException", str(error)), xml=not target)

        def _answer(self, operation: str, body: bytes) -> None:
            drawn = faults.draw(operation)
            answer = service.answer(operation, json.loads(body or b"{}"), drawn)
            if Fault.STALL_AFTER_ACCEPTING in drawn:
                self._stall()
            elif Fault.ERROR_AFTER_ACCEPTING in drawn:
                raise Refused("InternalServerError", "an error after accepting", 500)
            else:
                self._say(200, json.dumps(answer).encode(), JSON)

        def _refuse(self, error: Refused, *, xml: bool) -> None:
            if xml:
                self._say(error.status, _sts_error(error), "text/xml")
            else:
                self._say(error.status, json.dumps({"__type": error.code, "message": str(error)}).encode(), JSON)

        def _stall(self) -> None:
            """Do not answer until the client disconnects."""
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
            """Log nothing; the caller records the calls."""

    return Handler


def _sts(body: bytes, signer: Key, role: Key) -> bytes:
    """Answer the two modelled operations of STS: GetCallerIdentity and AssumeRole."""
    given = parse_qs(body.decode("utf-8", "replace"))
    match given.get("Action", [""])[0]:
        case "GetCallerIdentity":
            arn = ROLE_ARN if signer == role else ARN
            answer = f"<Arn>{arn}</Arn><UserId>LAB</UserId><Account>{ACCOUNT}</Account>"
            return _answered("GetCallerIdentity", answer)
        case "AssumeRole":
            ends = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
            keys = f"<AccessKeyId>{role.id}</AccessKeyId><SecretAccessKey>{role.secret}</SecretAccessKey>"
            keys += f"<SessionToken>{role.token}</SessionToken><Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
            return _answered("AssumeRole", f"<Credentials>{keys}</Credentials>")
        case action:
            raise Refused("InvalidAction", f"{action or 'nothing'} is not modelled by this endpoint")


def _answered(action: str, result: str) -> bytes:
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></{action}Response>"
    ).encode()


def _sts_error(error: Refused) -> bytes:
    """Return an error in STS's protocol, which has its own names for two of them."""
    code = {
        "InvalidSignatureException": "SignatureDoesNotMatch",
        "UnrecognizedClientException": "InvalidClientTokenId",
    }
    body = f"<Code>{escape(code.get(error.code, error.code))}</Code><Message>{escape(str(error))}</Message>"
    return f"<ErrorResponse><Error><Type>Sender</Type>{body}</Error></ErrorResponse>".encode()
