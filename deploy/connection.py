"""The seam between the engine and providers: connections to hosts, and every way in which they can fail.

A provider opens connections. A connection runs a program text with `/bin/sh` on its host, sends the text through
standard input and returns the output. No part of the text passes through an argument list or a login shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Protocol, TypeAlias, runtime_checkable

import msgspec
from msgspec import Meta

from switchproof.deploy.errors import Inconclusive, UsageError

SHELL = "/bin/sh -s"
"""The whole command line on a host; every login shell reads it the same way."""


class ConnectionProblem(Inconclusive):
    """A host could not be reached, or the connection was lost.

    Args:
        host: The host.
        what: The problem.
        remedy: A remedy, as a sentence.
    """

    def __init__(self, host: str, what: str, remedy: str) -> None:
        super().__init__(f"{host}: {what}. {remedy}", remedy)
        self.host, self.what = host, what


class Unreachable(ConnectionProblem):
    """The host's address did not answer in time."""


class HostKeyUnknown(ConnectionProblem, UsageError):
    """No key is pinned for the host."""

    refused = "no host key is pinned for a host"


class HostKeyChanged(ConnectionProblem, UsageError):
    """The host presented another key than the pinned one."""

    refused = "the key of a host is not the pinned one"


class AuthenticationFailed(ConnectionProblem):
    """The host accepted none of the offered keys."""


class ConnectionLost(ConnectionProblem):
    """The connection ended before the answer was complete; the command may or may not continue."""


class NotRoot(ConnectionLost):
    """The login user did not become root, so nothing was run."""


class RootRefused(ConnectionProblem, UsageError):
    """The login user cannot become root on the host."""

    refused = "a login user has no root rights on its host"


class DeadlineExceeded(ConnectionProblem):
    """The answer was not complete in time; the command may or may not continue."""


class AnswerTooLong(ConnectionProblem):
    """The host printed more than a run accepts; it would do so again."""

    def __init__(self, host: str, what: str) -> None:
        super().__init__(host, what, "Check what on the host prints so much, and why.")


class ConnectionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a connection.

    Attributes:
        kind: The kind of the provider, such as `ssh`.
        address: The host's address or instance id; empty for the local machine.
        port: The TCP port; None without one.
        user: The login user.
        become: The program with which the login user becomes root; empty if none is needed.
        host_key: Type and SHA-256 fingerprint of the host's key, which is the pinned one.
        kex: The negotiated key exchange.
        cipher: The negotiated cipher towards the host.
        mac: The negotiated message authentication; the cipher itself if it authenticates.
        strict_kex: Whether strict key exchange was negotiated; None if unknown.
        jumps: The jump hosts, as `user@address:port` with the fingerprint of each one's key.
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


class Question(msgspec.Struct, frozen=True):
    """One verb of the host's script, with everything that the host needs to answer it.

    Attributes:
        script: The script's text.
        verb: The verb.
        values: Its variables, by name; none of them appears in an argument list.
        hear: Receives the host's output as it arrives, over connections that support this.
    """

    script: str
    verb: str
    values: Mapping[str, str]
    hear: Callable[[bytes], None] | None = None

    def text(self, *, heard: bool = False) -> bytes:
        """Return the question as a program text.

        Args:
            heard: Whether output arrives at once, so that the host may report what it waits for.
        """
        progress = "export SWITCHPROOF_PROGRESS=1\n" if heard and self.hear else ""
        return (
            'PATH="/run/current-system/sw/bin:$PATH:/usr/local/bin:/usr/bin:/bin"; export PATH\n'
            # Bash, which is /bin/sh on NixOS, reads a program from a pipe at one system call a byte; cat does not.
            '[ -z "${BASH_VERSION:-}" ] || { eval "$(cat)"; exit; }\n'
            f"{self.exports}{progress}"
            # No start-up file and no exported function of the user may change the script's behaviour.
            f"exec bash --norc --noprofile -p -c {shlex.quote(self.script)} host-switch.sh {shlex.quote(self.verb)} "
            "</dev/null\n"
        ).encode()

    @property
    def exports(self) -> str:
        """The assignments of the variables in shell."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.values.items())


Program: TypeAlias = bytes | Question
"""A program for a host: a text for `/bin/sh`, or a question to the host's script."""


def text_of(program: Program) -> bytes:
    """Return a program as a text for `/bin/sh`."""
    return program.text() if isinstance(program, Question) else program


class Completed(msgspec.Struct, frozen=True):
    """The result of a program.

    Attributes:
        stdout: Bytes of standard output.
        stderr: Bytes of standard error.
        exit_status: 0 to 255; None after a signal, or if the transport does not report it.
        seconds: Seconds until the answer was complete, by the runner's clock.
    """

    stdout: bytes
    stderr: bytes
    exit_status: int | None
    seconds: float


class Connection(Protocol):
    """A connection to one host. Not thread-safe."""

    host: str

    @property
    def facts(self) -> ConnectionFacts:
        """The properties of the connection."""
        ...

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        """Run a program as the host's administrator.

        Args:
            program: A text, which the shell reads completely, or a question.
            timeout_s: Seconds within which it must have ended.

        Raises:
            ConnectionLost: The connection ended first.
            DeadlineExceeded: The time was over first.
            AnswerTooLong: It printed more than `limits.OUTPUT`.
        """
        ...

    def close(self) -> None:
        """Close the connection. Never raises."""
        ...


@runtime_checkable
class Feeding(Protocol):
    """A connection that can also send a stream to a command on its host."""

    def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
        """Run a command, with a stream as its standard input.

        Args:
            command: A fixed text without values, which every login shell reads the same way.
            chunks: The stream, piece by piece.
            stall_s: Seconds without progress after which it ends.

        Raises:
            ConnectionLost: The connection ended first.
            DeadlineExceeded: There was no progress for that time; the connection is closed.
        """
        ...


class Output(Protocol):
    """The output of a running program."""

    def read(self, timeout_s: float) -> bytes:
        """Return the next piece of standard output; empty at its end.

        Raises:
            TimeoutError: Nothing came for that time; the program still runs.
            ConnectionLost: The connection ended first.
        """
        ...

    def end(self) -> Completed:
        """End the program if it still runs, and return its result without standard output. Never raises.

        The exit status is None if the program was ended before the end of its output was read.
        """
        ...


@runtime_checkable
class Drawing(Protocol):
    """A connection whose programs' output can be read as it comes."""

    def draw(self, program: bytes, *, timeout_s: float) -> Output:
        """Start a program, whose standard input stays open until it ends or the connection does.

        Args:
            program: A text, which the shell must have read completely before it runs anything that reads its input.
            timeout_s: Seconds within which it must have started.

        Raises:
            ConnectionLost: The connection ended first.
        """
        ...


class Provider(Protocol):
    """The source of connections to hosts, opened for one run."""

    def connect(self, host: str) -> Connection:
        """Open a new connection to a host, by its name.

        Raises:
            ConnectionProblem: The host cannot be reached; the message says what was seen and what to try.
        """
        ...

    def close(self) -> None:
        """Release the provider's resources, after all connections are closed."""
        ...
