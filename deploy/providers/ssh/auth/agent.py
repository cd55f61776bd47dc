"""The client of the SSH agent: lists its keys and requests signatures, each within a deadline."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable

import msgspec

SIGN_S = 60.0
"""Seconds for a signature: a security key waits for a touch, `ssh-add -c` for a yes."""

SAY_AFTER_S = 2.0
"""Seconds without an answer after which the wait is reported."""

_MAX_MESSAGE = 256 * 1024
_FAILURE, _LIST, _KEYS, _SIGN, _SIGNATURE = 5, 11, 12, 13, 14
_HASHES = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


class AgentError(Exception):
    """The agent did not answer in time, or its answer does not fit the request."""


class AgentKey(msgspec.Struct, frozen=True):
    """A key or certificate of the agent, as its public bytes."""

    kind: str
    blob: bytes
    comment: str


class Agent:
    """A connection to the agent.

    Args:
        path: Its socket.
        timeout_s: Seconds for connecting and for the list of keys.
        say: Receives a line that says what the run waits for.

    Raises:
        AgentError: Nothing listens there, or the agent does not answer.
    """

    def __init__(self, path: str, timeout_s: float, say: Callable[[str], None]) -> None:
        self.path = path
        self._say = say
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(os.fsencode(path))
            self.keys = _read_keys(self._ask(_LIST, b"", _KEYS, timeout_s, "list its keys"))
        except (OSError, ValueError) as error:
            self.close()
            raise AgentError(f"the agent at {path} cannot be reached: {error}") from error
        except AgentError:
            self.close()
            raise

    def sign(self, key: AgentKey, data: bytes, algorithm: str) -> bytes:
        """Sign with one of the agent's keys.

        Raises:
            AgentError: The agent refused, or did not answer in time.
        """
        flags = _HASHES.get(algorithm.removesuffix("-cert-v01@openssh.com"), 0)
        body = _string(key.blob) + _string(data) + struct.pack(">I", flags)
        return _take_string(self._ask(_SIGN, body, _SIGNATURE, SIGN_S, f"sign with {key.comment or key.kind}"))[0]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _ask(self, kind: int, body: bytes, expected: int, timeout_s: float, what: str) -> bytes:
        deadline = time.monotonic() + timeout_s
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(struct.pack(">IB", len(body) + 1, kind) + body)
            (size,) = struct.unpack(">I", self._read(4, deadline, what))
            if not 0 < size <= _MAX_MESSAGE:
                raise AgentError(f"the agent at {self.path} answered with {size} bytes")
            answer = self._read(size, deadline, what)
        except TimeoutError:
            raise AgentError(f"the agent at {self.path} did not {what} within {timeout_s:g} s") from None
        except OSError as error:
            raise AgentError(f"the connection to the agent at {self.path} was lost: {error}") from error
        if answer[0] != expected:
            raise AgentError(f"the agent at {self.path} refused to {what}")
        return answer[1:]

    def _read(self, size: int, deadline: float, what: str) -> bytes:
        content = b""
        while len(content) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(min(left, SAY_AFTER_S))
            try:
                chunk = self._socket.recv(size - len(content))
            except TimeoutError:
                self._say(f"Waiting for the SSH agent at {self.path} to {what} (at most {max(left, 1):.0f} s).")
                self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
                chunk = self._socket.recv(size - len(content))
            if not chunk:
                raise AgentError(f"the agent at {self.path} ended the connection")
            content += chunk
        return content


def _read_keys(body: bytes) -> tuple[AgentKey, ...]:
    """Read the agent's list of keys."""
    try:
        (count,) = struct.unpack_from(">I", body)
        rest, keys = body[4:], []
        for _ in range(count):
            blob, rest = _take_string(rest)
            comment, rest = _take_string(rest)
            kind = _take_string(blob)[0].decode("ascii")
            keys.append(AgentKey(kind, blob, comment.decode("utf-8", "replace")))
    except (struct.error, UnicodeDecodeError) as error:
        raise AgentError(f"the agent's list of keys cannot be read: {error}") from error
    return tuple(keys)


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _take_string(content: bytes) -> tuple[bytes, bytes]:
    """Split off a length-prefixed string."""
    (size,) = struct.unpack_from(">I", content)
    if len(content) < 4 + size:
        raise AgentError("the agent's answer is cut off")
    return content[4 : 4 + size], content[4 + size :]
