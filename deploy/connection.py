"""The one seam: how anything reaches a host, and what can go wrong on the way.

Every provider gives connections. A connection runs a program text with `/bin/sh` on its host, feeds it through
standard input and brings back what it printed. Nothing of the text passes through an argument list or a login shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias, runtime_checkable

import msgspec
from msgspec import Meta

from switchproof.deploy.errors import Inconclusive, UsageError

SHELL = "/bin/sh -s"
"""The whole command that reaches a host: every login shell reads it the same way."""


class ConnectionProblem(Inconclusive):
    """A host could not be reached, or was lost. `host` says which, `remedy` what to try."""

    def __init__(self, host: str, what: str, remedy: str) -> None:
        super().__init__(f"{host}: {what}. {remedy}", remedy)
        self.host, self.what = host, what


class Unreachable(ConnectionProblem):
    """Nobody answered at the host's address in time."""


class HostKeyUnknown(ConnectionProblem, UsageError):
    """No key is pinned for the host."""

    refused = "no host key is pinned for a host"


class HostKeyChanged(ConnectionProblem, UsageError):
    """The host showed another key than the pinned one."""

    refused = "the key of a host is not the pinned one"


class AuthenticationFailed(ConnectionProblem):
    """The host accepted none of our keys."""


class ConnectionLost(ConnectionProblem):
    """The connection ended before the answer did; the command may or may not go on."""


class NotRoot(ConnectionLost):
    """The login user did not become root, so nothing was run."""


class RootRefused(ConnectionProblem, UsageError):
    """The login user never became root there."""

    refused = "a login user has no root rights on its host"


class DeadlineExceeded(ConnectionProblem):
    """The answer did not end in time; the command may or may not go on."""


class AnswerTooLong(ConnectionProblem):
    """The host said more than a run takes in; asking again would bring as much."""

    def __init__(self, host: str, what: str) -> None:
        super().__init__(host, what, "Check what on the host prints so much, and why.")


class ConnectionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How a host was reached.

    Attributes:
        kind: In which way: the name of a kind of provider, such as `ssh`.
        address: Where the host is: an address, an instance id; empty for this machine.
        port: TCP port, None where there is none.
        user: Who logged in there.
        become: The program with which that user becomes root there; empty where none is needed.
        host_key: Kind and SHA-256 fingerprint of the key that the host showed, which is the pinned one.
        kex: The key exchange agreed on.
        cipher: The cipher agreed on, from here to there.
        mac: The message authentication agreed on; that of the cipher itself where it has one.
        strict_kex: Whether both sides agreed on strict key exchange; None where that is not known.
        jumps: The machines on the way, as `user@address:port` with the fingerprint of the key that each showed.
    """

    kind: Annotated[str, Meta(pattern=r"^[a-z]{1,20}$(?!\n)")]
    address: str = ""
    port: int | None = None
    user: str = ""
    become: str = ""
    host_key: str = ""
    kex: str = ""
    cipher: str = ""
    mac: str = ""
    strict_kex: bool | None = None
    jumps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """One verb of the host's script, with all that the host needs to answer it.

    Attributes:
        script: The script's text.
        verb: What it is asked.
        values: Its variables, by name; they stand in no argument list.
        hear: Told what the host prints as it comes, by connections over which anything comes before the end.
    """

    script: str
    verb: str
    values: Mapping[str, str]
    hear: Callable[[bytes], None] | None = None

    def text(self, *, heard: bool = False) -> bytes:
        """Return the whole as a program text.

        Args:
            heard: Whether what the host prints comes as it prints it, so that it may say what it waits for.
        """
        progress = "export SWITCHPROOF_PROGRESS=1\n" if heard and self.hear else ""
        return (
            f"{self.exports}{progress}"
            'PATH="/run/current-system/sw/bin:$PATH:/usr/local/bin:/usr/bin:/bin"; export PATH\n'
            # Neither a start-up file nor an exported function of the user changes what the script does.
            f"exec bash --norc --noprofile -p -c {shlex.quote(self.script)} host-switch.sh {shlex.quote(self.verb)} "
            "</dev/null\n"
        ).encode()

    @property
    def exports(self) -> str:
        """The values as the shell assigns them."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.values.items())


Program: TypeAlias = bytes | Question
"""What a host is to run: a text for `/bin/sh`, or a question to the host's script."""


def text_of(program: Program) -> bytes:
    """Return a program as the text that `/bin/sh` reads."""
    return program.text() if isinstance(program, Question) else program


@dataclass(frozen=True)
class Completed:
    """What a program printed and how it ended.

    Attributes:
        stdout: Bytes of standard output.
        stderr: Bytes of standard error.
        exit_status: 0 to 255; None if it ended by a signal or the transport did not say.
        seconds: How long it took, as seen from here.
    """

    stdout: bytes
    stderr: bytes
    exit_status: int | None
    seconds: float


class Connection(Protocol):
    """A way to one host. Not safe to use from two threads at once. `facts` tell how the host was reached."""

    host: str

    @property
    def facts(self) -> ConnectionFacts:
        """How the host was reached."""
        ...

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        """Run a program as the host's administrator.

        Args:
            program: A text, which the shell reads whole, or a question.
            timeout_s: Seconds within which it must have ended.

        Raises:
            ConnectionLost: The connection ended first.
            DeadlineExceeded: The time was over first.
            AnswerTooLong: It printed more than `limits.OUTPUT`.
        """
        ...

    def close(self) -> None:
        """End the connection. Never raises."""
        ...


@runtime_checkable
class Feeding(Protocol):
    """A connection that can also carry a stream to a command on its host."""

    def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
        """Run a command, with a stream as its standard input.

        Args:
            command: A fixed text that every login shell reads the same way; no value stands in it.
            chunks: The stream, piece by piece.
            stall_s: Seconds for which nothing may move.

        Raises:
            ConnectionLost: The connection ended first.
            DeadlineExceeded: Nothing moved for too long; the connection ends with it.
        """
        ...


class Provider(Protocol):
    """Where hosts are. Made for one run."""

    def connect(self, host: str) -> Connection:
        """Open a new connection to the host of that name.

        Raises:
            ConnectionProblem: With the host, what was seen and what to try.
        """
        ...

    def close(self) -> None:
        """Give back what the provider holds. Connections are closed before."""
        ...
