"""The endpoint itself: AWS's protocols over HTTP, on loopback only."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.ssm import model, protocols, sts, surroundings
from switchproof.deploy.providers.lab.ssm.commands import Pace, Spent
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.providers.lab.ssm.faults import Fault, Faults
from switchproof.deploy.providers.lab.ssm.service import REGION, Service
from switchproof.deploy.providers.lab.ssm.signature import Keys, verify

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

        Raises:
            LabError: A real agent could not be started.
        """
        faults = Faults()
        keys = Keys.generate()
        service = Service(lab, pace or Pace(), faults)  # starts real agents, if the lab has them
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
        """The variables for any client of AWS; the credentials are equivalent to root on the lab's hosts.

        With them, and without those of `misleading`, no call leaves this machine.
        """
        return surroundings.environment(self.url, self._keys.user, REGION, os.environ)

    @property
    def misleading(self) -> list[str]:
        """The variables of this process that would take a client of AWS elsewhere, sorted; unset them."""
        return surroundings.misleading(os.environ)

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
            body = self._body()
            if body is None:
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            target = headers.get("x-amz-target", "")
            service_name = protocols.service_of(headers.get("authorization", "")) or ("ssm" if target else "sts")
            if service_name not in {"ssm", "sts"}:
                self._refuse_other(service_name)
                return
            try:
                now = dt.datetime.now(dt.UTC)
                signer = verify(headers, body, keys, service="ssm" if target else "sts", now=now)
                if target:
                    self._answer(target.removeprefix("AmazonSSM."), body)
                else:
                    self._say(200, sts.answer(body, signer, keys, str(uuid.uuid4()), now), protocols.XML)
            except Refused as error:
                self._refuse(error, service_name, queried=not target)
            except ValueError as error:
                self._refuse(Refused("SerializationException", str(error)), service_name, queried=not target)

        def refuse_method(self) -> None:
            """Refuse a request in which no operation of SSM or STS can come."""
            if self._body() is not None:
                self._refuse_other(protocols.service_of(self.headers.get("Authorization", "")))

        def _body(self) -> bytes | None:
            """Read the request's body; one that is too long or has no length in bytes is refused, and None."""
            length = self.headers.get("Content-Length") or "0"
            chunked = "Transfer-Encoding" in self.headers
            if chunked or not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > MAX_REQUEST:
                self.close_connection = True
                self._say(413, b"", "text/plain")
                return None
            return self.rfile.read(int(length))

        def _answer(self, operation: str, body: bytes) -> None:
            drawn = faults.draw(operation)
            answer = service.answer(operation, json.loads(body or b"{}"), drawn)
            if Fault.STALL_AFTER_ACCEPTING in drawn:
                self._stall()
            elif Fault.ERROR_AFTER_ACCEPTING in drawn:
                raise Refused("InternalServerError", "an error after accepting", 500)
            else:
                self._say(200, json.dumps(answer).encode(), protocols.JSON)

        def _refuse_other(self, name: str) -> None:
            form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
            self._refuse(protocols.not_served(name), name, queried=form)

        def _refuse(self, error: Refused, name: str, *, queried: bool) -> None:
            refused = sts.refusal(error) if queried and name in {"ssm", "sts"} else error
            self._say(refused.status, *protocols.told(refused, name, str(uuid.uuid4()), queried=queried))

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
            self.send_header("x-switchproof-not-modelled", " | ".join(service.not_modelled))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing; the caller records the calls."""

    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        setattr(Handler, f"do_{method}", Handler.refuse_method)
    return Handler
