"""The messages of SSH's authentication: signs with a key only after the host would accept it."""

from __future__ import annotations

import threading
import time

import msgspec
import paramiko
from paramiko.auth_handler import AuthOnlyHandler
from paramiko.common import cMSG_SERVICE_REQUEST, cMSG_USERAUTH_REQUEST

from switchproof.deploy.providers.ssh.auth.identities import CERTIFICATE, Offer
from switchproof.deploy.providers.ssh.transport import Transport


class Reply(msgspec.Struct, frozen=True):
    """A host's answer to a login request.

    Attributes:
        accepted: Whether the user is logged in.
        partial: Whether the proof counts, but more is required.
        would_accept: Whether the offered key may authenticate the user.
        methods: The methods that can continue.
    """

    accepted: bool = False
    partial: bool = False
    would_accept: bool = False
    methods: tuple[str, ...] = ()


class Authentication(AuthOnlyHandler):
    """Asks a host whether it would accept a key before anything is signed with it, as ssh does.

    Args:
        transport: A transport to a host whose key was checked.
        user: The login user.
        timeout_s: Seconds for each answer.
    """

    def __init__(self, transport: Transport, user: str, timeout_s: float) -> None:
        super().__init__(transport)
        self.server = transport
        self._user, self._timeout_s = user, timeout_s
        self._reply = Reply()
        self._answered = self.auth_event = threading.Event()

    def begin(self) -> Reply:
        """Ask for the login methods, without any proof, in one round trip with the service that tells them."""
        message = paramiko.Message()
        message.add_byte(cMSG_SERVICE_REQUEST)
        message.add_string("ssh-userauth")
        self.server.auth_handler = self
        self.server.send(message)
        return self._send(self._message("none"))

    def query(self, offer: Offer, algorithm: str) -> Reply:
        """Ask whether a key would be accepted."""
        message = self._message("publickey")
        message.add_boolean(False)
        message.add_string(algorithm)
        message.add_string(offer.blob)
        return self._send(message)

    def prove(self, offer: Offer, algorithm: str) -> Reply:
        """Sign with a key, and send the signature; raises the errors of `sign`."""
        message = self._message("publickey")
        message.add_boolean(True)
        message.add_string(algorithm)
        message.add_string(offer.blob)
        signed = paramiko.Message()
        signed.add_string(self.server.session_id or b"")
        signature = offer.sign(signed.asbytes() + message.asbytes(), algorithm)
        message.add_string(signature)
        return self._send(message)

    def algorithm(self, kind: str) -> str | None:
        """Return the signature algorithm for a type of key; None if the host accepts none of the offered ones."""
        if kind.removesuffix(CERTIFICATE) != "ssh-rsa":
            return kind
        listed = self.server.signature_algorithms
        chosen = next((name for name in ("rsa-sha2-512", "rsa-sha2-256") if not listed or name in listed), None)
        return chosen and (chosen + CERTIFICATE if kind.endswith(CERTIFICATE) else chosen)

    def _message(self, method: str) -> paramiko.Message:
        self.auth_method, self.username = method, self._user
        message = paramiko.Message()
        message.add_byte(cMSG_USERAUTH_REQUEST)
        message.add_string(self._user)
        message.add_string("ssh-connection")
        message.add_string(method)
        return message

    def _send(self, message: paramiko.Message) -> Reply:
        self._reply = Reply()
        self._answered.clear()
        self.server.send(message)
        self._wait(self._answered)
        if not self._reply.accepted and not self.server.is_active():
            raise EOFError(self.server.farewell or "the host ended the connection")
        return self._reply

    def _wait(self, event: threading.Event) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not event.wait(0.05):
            if not self.server.is_active():
                raise EOFError(self.server.farewell or "the host ended the connection")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {self._timeout_s:g} s")

    def _parse_userauth_success(self, m: paramiko.Message) -> None:
        self._reply = Reply(accepted=True)
        super()._parse_userauth_success(m)  # type: ignore[misc]

    def _parse_userauth_failure(self, m: paramiko.Message) -> None:
        methods = tuple(m.get_list())
        self._reply = Reply(partial=m.get_boolean(), methods=methods)
        self._answered.set()

    def _parse_userauth_info_request(self, _: paramiko.Message) -> None:
        """Process the answer to a query, which has the number of an information request."""
        self._reply = Reply(would_accept=True)
        self._answered.set()
