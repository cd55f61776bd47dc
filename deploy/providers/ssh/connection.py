"""One SSH connection to one host: runs programs, each with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

import paramiko

from switchproof.deploy.connection import (
    SHELL,
    AnswerTooLong,
    Completed,
    ConnectionFacts,
    ConnectionLost,
    DeadlineExceeded,
    Program,
    Question,
)
from switchproof.deploy.host import limits
from switchproof.deploy.providers.elevation import IS_ROOT, Ascent, Elevation

HELD_S = 1.0
"""Seconds without output after which a program that has ended is not waited for any longer."""

_EXIT_S = 10.0
"""Seconds in which a program whose output has ended reports its exit status."""

_READY = b"switchproof-is-ready\n"
"""The first line of the host's shell. What comes before it was printed by the start-up files of the login shell."""
_ANNOUNCE = b"echo " + _READY
_LONGEST_QUOTE = 200


class SshConnection:
    """One SSH connection to one host, reused for every command.

    Args:
        host: The host's name.
        transports: Authenticated transports; the last is to the host, the others are to its jump hosts.
        facts: The properties of the connection.
        elevation: How the login user becomes root; None if not needed.
        root_s: Seconds within which that must succeed.
    """

    def __init__(
        self,
        host: str,
        transports: Sequence[paramiko.Transport],
        facts: ConnectionFacts,
        elevation: Elevation | None = None,
        root_s: float = 15.0,
    ) -> None:
        self.host = host
        self.facts = facts
        self._transports = transports
        self._elevation, self._root_s = elevation, root_s

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        """Run a program; see `Connection.run`. The connection is closed when the time is over."""
        began = time.monotonic()
        transport = self._transports[-1]
        ascent = self._elevation.begin() if self._elevation else None
        expired = threading.Event()
        # Not every wait below has a deadline, but each one ends when the connection is closed.
        watch = threading.Timer(timeout_s, self._expire, (expired,))
        watch.daemon = True
        watch.start()
        output, errors = bytearray(), bytearray()
        channel, whole, why = None, False, "the host closed the connection before the answer ended"
        try:
            channel = transport.open_session(timeout=timeout_s)
            channel.exec_command(ascent.command if ascent else SHELL)
            answer = partial(_answer_prompt, channel, ascent) if ascent else None
            drain = threading.Thread(target=_drain, args=(channel.recv_stderr, errors, answer), daemon=True)
            drain.start()
            if ascent:
                output += self._await_root(channel, ascent, drain, errors)
            text = program.text(heard=True) if isinstance(program, Question) else program
            with suppress(OSError):  # a shell such as nologin does not read its input
                channel.sendall(text if ascent else _ANNOUNCE + text)
                channel.shutdown_write()
            whole = self._read(channel, output, program.hear if isinstance(program, Question) else None)
            channel.status_event.wait()
            if whole and channel.exit_status < 0:  # ended by a signal, or the connection was just lost
                whole = self._answers()
            channel.close()
            drain.join()
        except paramiko.ChannelException as error:
            raise ConnectionLost(
                self.host,
                f"the host refused to open a session on the connection: {error.text}",
                "Check MaxSessions in its sshd_config, and read sshd's log.",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            why = str(error) or type(error).__name__
            whole = False
        finally:
            watch.cancel()
            if channel is not None and not expired.is_set():
                with suppress(paramiko.SSHException, OSError, EOFError):  # the connection is lost as well
                    channel.close()
        if channel is None or not whole:
            if expired.is_set():
                raise DeadlineExceeded(
                    self.host,
                    f"no complete answer within {timeout_s:g} s",
                    "The command may still run there; check the host before you try again.",
                )
            raise self._lost(why)
        status = channel.exit_status if channel.exit_status >= 0 else None
        stderr = ascent.after_prompts(bytes(errors)) if ascent else bytes(errors)
        if not ascent and _READY in output:  # a shell such as nologin has only words of its own
            output = output.partition(_READY)[2]
        return Completed(bytes(output), stderr, status, time.monotonic() - began)

    def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
        """Run a command with a stream as its standard input; see `Feeding.feed`."""
        began = time.monotonic()
        ascent = self._elevation.begin() if self._elevation else None
        output, errors = bytearray(), bytearray()
        try:
            channel = self._transports[-1].open_session(timeout=stall_s)
            channel.settimeout(stall_s)
            channel.exec_command(ascent.command if ascent else SHELL)
            answer = partial(_answer_prompt, channel, ascent) if ascent else None
            drains = [
                threading.Thread(target=_drain, args=(channel.recv_stderr, errors, answer), daemon=True),
                threading.Thread(target=_drain, args=(channel.recv, output), daemon=True),
            ]
            drains[0].start()
            if ascent:
                self._await_root(channel, ascent, drains[0], errors)
                channel.settimeout(stall_s)
            # The shell is asked for, because a forced command may allow nothing else, and would read the stream.
            output += self._begin(channel, f"exec {command}\n".encode())
            drains[1].start()
            self._send(channel, chunks)
            self._await_end(channel, stall_s)
            for drain, read in zip(
                drains, (errors, output), strict=True
            ):  # sshd may report the end before the last output
                size = -1
                while drain.is_alive() and len(read) > size:
                    size = len(read)
                    drain.join(HELD_S)
            channel.close()
            for drain in drains:
                drain.join()
        except TimeoutError as error:
            self.close()
            raise DeadlineExceeded(
                self.host, f"no data moved for {stall_s:g} s", "Complete paths that have arrived stay there, unused."
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(str(error) or type(error).__name__) from error
        status = channel.exit_status if channel.exit_status >= 0 else None
        stderr = ascent.after_prompts(bytes(errors)) if ascent else bytes(errors)
        return Completed(bytes(output), stderr, status, time.monotonic() - began)

    def draw(self, program: bytes, *, timeout_s: float) -> Drawn:
        """Start a program whose output is read as it comes; see `Drawing.draw`."""
        began = time.monotonic()
        ascent = self._elevation.begin() if self._elevation else None
        errors = bytearray()
        try:
            channel = self._transports[-1].open_session(timeout=timeout_s)
            channel.settimeout(timeout_s)
            channel.exec_command(ascent.command if ascent else SHELL)
            answer = partial(_answer_prompt, channel, ascent) if ascent else None
            drain = threading.Thread(target=_drain, args=(channel.recv_stderr, errors, answer), daemon=True)
            drain.start()
            head = self._await_root(channel, ascent, drain, errors) if ascent else b""
            channel.settimeout(timeout_s)
            if ascent:
                channel.sendall(program)
            else:
                head = self._begin(channel, program)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(str(error) or type(error).__name__) from error

        def end() -> Completed:
            status = self._end(channel)
            drain.join(HELD_S)
            stderr = ascent.after_prompts(bytes(errors)) if ascent else bytes(errors)
            return Completed(b"", stderr, status, time.monotonic() - began)

        return Drawn(channel, head, end, self._lost)

    @staticmethod
    def _end(channel: paramiko.Channel) -> int | None:
        """Close a channel; return the exit status if its output was read to the end."""
        is_read = channel.eof_received and not channel.recv_ready()
        ended = is_read and channel.status_event.wait(_EXIT_S) and channel.exit_status >= 0
        with suppress(paramiko.SSHException, OSError, EOFError):
            channel.close()
        return channel.exit_status if ended else None

    @staticmethod
    def _begin(channel: paramiko.Channel, program: bytes) -> bytes:
        """Send a program to the host's shell, wait until the shell runs, and return what came after its first line.

        Raises:
            EOFError: It does not run; the message has what was printed in its place.
        """
        try:
            channel.sendall(_ANNOUNCE + program)
        except TimeoutError:
            raise
        except OSError:
            pass  # a shell such as nologin has ended by now; what it printed is read below
        head = bytearray()
        while _READY not in head:
            chunk = channel.recv(2**12)
            if not chunk or len(head) > limits.OUTPUT:
                seen = " ".join(head.decode("utf-8", "replace").split())[:_LONGEST_QUOTE]
                raise EOFError(
                    "the host's shell ended before it ran the command" + (f" and printed {seen!r}" if seen else "")
                )
            head += chunk
        return bytes(head.partition(_READY)[2])

    def _await_end(self, channel: paramiko.Channel, timeout_s: float) -> None:
        if not channel.status_event.wait(timeout_s):
            raise TimeoutError
        if channel.exit_status < 0 and not self._answers():  # the connection was just lost
            raise EOFError("the host closed the connection before the command ended")

    @staticmethod
    def _send(channel: paramiko.Channel, chunks: Iterable[bytes]) -> None:
        try:
            for chunk in chunks:
                channel.sendall(chunk)
            channel.shutdown_write()
        except TimeoutError:
            raise
        except OSError:  # the command ended before it read all input
            return

    def close(self) -> None:
        """Close the connection, and those to its jump hosts."""
        for transport in reversed(self._transports):
            with suppress(Exception):
                transport.close()

    def _expire(self, expired: threading.Event) -> None:
        expired.set()
        self.close()

    def _await_root(
        self, channel: paramiko.Channel, ascent: Ascent, drain: threading.Thread, errors: bytearray
    ) -> bytes:
        """Wait until root's shell reports that it runs; return the output after that."""
        assert self._elevation is not None  # an attempt implies an elevation
        deadline, head, mark = time.monotonic() + self._root_s, bytearray(), IS_ROOT + b"\n"
        channel.settimeout(HELD_S)
        while mark not in head:
            if time.monotonic() > deadline or len(head) > limits.OUTPUT:
                raise self._elevation.refused(ascent, bytes(errors), f"within {self._root_s:g} s")
            try:
                chunk = channel.recv(2**17)
            except TimeoutError:
                continue
            if not chunk:
                if not self._answers():
                    raise EOFError("the command ended before the login user became root")
                channel.status_event.wait(HELD_S)
                drain.join(HELD_S)  # standard error is complete then
                raise self._elevation.refused(ascent, bytes(errors), f"exit status {channel.exit_status}")
            head += chunk
        ascent.is_root = True
        return bytes(head.partition(mark)[2])

    def _read(self, channel: paramiko.Channel, output: bytearray, hear: Callable[[bytes], None] | None) -> bool:
        """Read standard output; return whether it is complete."""
        channel.settimeout(HELD_S)
        while True:
            try:
                chunk = channel.recv(2**17)
            except TimeoutError:
                # A program that has ended may have left a process that keeps the output open.
                if channel.exit_status >= 0 and self._answers() and not channel.recv_ready():
                    return True
                continue
            if not chunk:
                return bool(channel.eof_received)
            output += chunk
            if hear:
                hear(chunk)
            if len(output) > limits.OUTPUT:
                raise AnswerTooLong(self.host, f"more than {limits.OUTPUT} bytes came in one answer")

    def _answers(self) -> bool:
        """Send the host a request; its earlier output has arrived when the reply comes."""
        transport = self._transports[-1]
        transport.global_request("keepalive@openssh.com", wait=True)
        return transport.is_active()

    def _lost(self, why: str) -> ConnectionLost:
        return ConnectionLost(
            self.host,
            f"the connection was lost: {why}",
            "A command may still run there; check the host before you try again.",
        )


class Drawn:
    """The output of a program on a host; see `Output`.

    Args:
        channel: The program's channel.
        head: The output that was read already.
        end: Ends the program.
        lost: Makes the error for a connection that was lost.
    """

    def __init__(
        self,
        channel: paramiko.Channel,
        head: bytes,
        end: Callable[[], Completed],
        lost: Callable[[str], ConnectionLost],
    ) -> None:
        self._channel, self._head, self._lost = channel, head, lost
        self.end = end

    def read(self, timeout_s: float) -> bytes:
        """Return the next piece; see `Output.read`."""
        head, self._head = self._head, b""
        if head:
            return head
        try:
            self._channel.settimeout(timeout_s)
            chunk = self._channel.recv(2**17)
        except TimeoutError:
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost(str(error) or type(error).__name__) from error
        if not chunk and not self._channel.eof_received:
            raise self._lost("the host closed the connection before the output ended")
        return chunk


def _drain(read: Callable[[int], bytes], into: bytearray, answer: Callable[[bytes], None] | None = None) -> None:
    """Read one output of a command to its end, so that the host never waits; keep the first mebibyte.

    Args:
        read: Reads up to so many bytes.
        into: Receives the kept bytes.
        answer: Receives the whole output so far with each piece, which may end in a prompt.
    """
    with suppress(paramiko.SSHException, OSError, EOFError):
        while True:
            try:
                chunk = read(2**16)
            except TimeoutError:
                continue
            if not chunk:
                return
            into += chunk[: max(0, 2**20 - len(into))]
            if answer:
                answer(bytes(into))


def _answer_prompt(channel: paramiko.Channel, ascent: Ascent, stderr: bytes) -> None:
    """Answer a prompt for a password on standard error."""
    if (password := ascent.answer(stderr)) is not None:
        channel.sendall(password) if password else channel.shutdown_write()
