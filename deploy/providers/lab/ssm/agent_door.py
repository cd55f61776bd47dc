"""The agent's side of the endpoint: what a real agent calls, over HTTP, in the lab's network only."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from switchproof.deploy.providers.lab.ssm import protocols
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.providers.lab.ssm.signature import Keys, verify

MAX_REPLY = 2**22
"""Bytes of a request; an agent's reply has 60 kB at most."""

Answer = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Answers an operation of the agent; raises Refused as AWS would."""


class AgentDoor:
    """Answers the calls of one host's agent until it is closed.

    Args:
        address: This machine's end of the host's cable.
        keys: The keys of that agent; no other client's are valid.
        answer: Answers its operations.
    """

    def __init__(self, address: str, keys: Keys, answer: Answer) -> None:
        self._server = ThreadingHTTPServer((address, 0), _handler(keys, answer))
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}"
        serving = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _handler(keys: Keys, answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length") or ""
            if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > MAX_REPLY:
                self.close_connection = True
                self._say(413, {})
                return
            body = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            service, _, operation = headers.get("x-amz-target", "").partition(".")
            signed_for = "ssm" if service == "AmazonSSM" else "ec2messages"
            try:
                verify(headers, body, keys, service=signed_for, now=dt.datetime.now(dt.UTC))
                self._say(200, answer(operation, msgspec.json.decode(body or b"{}", type=dict[str, Any])))
            except Refused as error:
                self._say(error.status, {"__type": error.code, "message": str(error)})
            except ValueError as error:
                self._say(400, {"__type": "SerializationException", "message": str(error)})

        def _say(self, status: int, answered: Mapping[str, Any]) -> None:
            body = json.dumps(answered).encode()
            self.send_response(status)
            self.send_header("Content-Type", protocols.JSON)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing; the endpoint records its clients' calls."""

        def handle(self) -> None:
            """Handle requests until the agent hangs up, which it may do at any moment."""
            try:
                super().handle()
            except OSError:
                self.close_connection = True

    return Handler
