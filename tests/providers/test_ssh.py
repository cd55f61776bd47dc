"""Programs run over SSH: their output and status, lost connections, deadlines and odd login shells."""

from __future__ import annotations

import hashlib
import itertools
import os
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from switchproof.deploy.connection import (
    ConnectionLost,
    DeadlineExceeded,
)
from switchproof.deploy.host.frame import parse
from switchproof.deploy.host.program import question
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.ssh.provider import SshConnection
from tests.providers.ways import (
    connect,
    inside,
    run,
    wait_for,
)

pytestmark = pytest.mark.lab


MIB = 2**20


@pytest.fixture
def connection(machine: LabHost) -> Iterator[SshConnection]:
    """A connection of the test's own."""
    connection = connect(machine)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def shared(machine: LabHost) -> Iterator[SshConnection]:
    """A connection that tests use one after the other, as phases do."""
    connection = connect(machine)
    yield connection
    connection.close()


@pytest.mark.parametrize("status", [0, 3, 137, 194, 255])
def test_exit_statuses_arrive(shared: SshConnection, status: int) -> None:
    """A program's exit status is its own."""
    assert shared.run(f"exit {status}".encode(), timeout_s=10).exit_status == status


@pytest.mark.parametrize("number", [9, 15])
def test_a_death_by_signal_has_no_exit_status(shared: SshConnection, number: int) -> None:
    """A program that a signal ended has no exit status, what it had printed arrives, and the connection lasts."""
    done = shared.run(f"echo before; kill -{number} $$".encode(), timeout_s=10)
    assert (done.stdout, done.exit_status) == (b"before\n", None)
    assert shared.run(b"exit 4", timeout_s=10).exit_status == 4


def test_much_output_is_drained_from_both(shared: SshConnection) -> None:
    """Three mebibytes on standard error and five on standard output arrive, in whatever order they are written."""
    text = f"head -c {3 * MIB} /dev/zero >&2; head -c {5 * MIB} /dev/zero; head -c {3 * MIB} /dev/zero >&2"
    done = shared.run(text.encode(), timeout_s=20)
    assert len(done.stdout) == 5 * MIB
    assert done.stderr == bytes(MIB)
    assert done.exit_status == 0


def test_a_long_program_arrives_whole(shared: SshConnection) -> None:
    """A program of three mebibytes, more than any argument list or window holds, arrives unchanged."""
    text = f"cat >/dev/null <<'END'\n{'x' * 1023 + os.linesep}".encode() + b"y" * (3 * MIB) + b"\nEND\necho done\n"
    assert shared.run(text, timeout_s=20).stdout == b"done\n"


def test_output_is_bytes(shared: SshConnection) -> None:
    """Output that is not UTF-8 arrives byte for byte."""
    octal = "".join(f"\\{number:03o}" for number in range(256))
    assert shared.run(f"printf '{octal}'".encode(), timeout_s=10).stdout == bytes(range(256))


@pytest.mark.parametrize(
    "word", ["it's", 'say "x"', "a\nb", "*", "$HOME `id` $(id)", "\\", "ä € 😀", "-n", " a  b ", "!!"]
)
def test_words_reach_the_host_unsplit(shared: SshConnection, word: str) -> None:
    """A value with quotes, blanks, newlines or globs reaches a verb as it is."""
    nonce = "1" * 16
    text = question("resolve", nonce, {"RELEASE_SHA": f"{word}\x01"}).text()
    answer = parse(shared.run(text, timeout_s=10).stdout, nonce=nonce, verb="resolve")
    assert f"'{word}\x01' is neither" in answer.text("detail")


def test_no_terminal_is_made(shared: SshConnection) -> None:
    """A program has no terminal: nothing echoes, and nothing dies with the connection."""
    done = shared.run(b"tty <&2; ps -o tty= -p $$; [ -t 0 ] || [ -t 1 ] || [ -t 2 ]", timeout_s=10)
    assert done.stdout.split() == [b"not", b"a", b"tty", b"?"]
    assert done.exit_status == 1


def test_small_messages_go_at_once(connection: SshConnection) -> None:
    """Nagle's algorithm is off, so that a question does not wait for the answer to the one before."""
    sock = connection._transports[0].sock
    assert isinstance(sock, socket.socket)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_shell_that_refuses_is_heard(machine: LabHost) -> None:
    """A login shell that ends at once has its words and its exit status heard; it is no lost connection."""
    with login_shell(machine, "/usr/sbin/nologin"):
        done = run(machine, "x" * 100_000)
    assert b"not available" in done.stdout
    assert done.exit_status == 1


def test_a_child_in_the_background_holds_nothing_up(shared: SshConnection) -> None:
    """A program that ended while a child of its holds the output open has ended, with all that it printed."""
    done = shared.run(b"sleep 30 & echo $!; head -c 300000 /dev/zero; exit 7", timeout_s=20)
    pid, _, rest = done.stdout.partition(b"\n")
    assert (rest, done.exit_status) == (bytes(300_000), 7)
    assert done.seconds < 5
    assert shared.run(b"kill " + pid, timeout_s=10).exit_status == 0


def test_a_program_that_closes_its_output_is_waited_for(shared: SshConnection) -> None:
    """Closed output is not the end: the exit status of what runs on is still the program's."""
    done = shared.run(b"echo x; exec >&- 2>&-; sleep 1.5; exit 6", timeout_s=20)
    assert (done.stdout, done.exit_status) == (b"x\n", 6)


# What ends too early, or too late.


@pytest.mark.parametrize(
    "text",
    [b"sleep 30", b"exec >&- 2>&-; sleep 30", b"sleep 30 & exec sleep 31", b"kill -STOP $PPID; sleep 30"],
    ids=["silent", "output-closed", "background", "sshd-stopped"],
)
def test_a_deadline_is_kept(machine: LabHost, connection: SshConnection, text: bytes) -> None:
    """Whatever keeps a program from ending, the wait ends in time and says that the program may go on."""
    began = time.monotonic()
    try:
        with pytest.raises(DeadlineExceeded, match=r"no complete answer within 1\.5 s.* may still run"):
            connection.run(text, timeout_s=1.5)
        assert time.monotonic() - began < 3
    finally:
        machine.run(["pkill", "-CONT", "sshd-session"], timeout_s=10)
        machine.run(["pkill", "-x", "sleep"], timeout_s=10)


def test_a_flood_keeps_the_deadline(connection: SshConnection) -> None:
    """A program that never stops printing is given up in time."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        connection.run(b"while :; do echo tick; sleep 0.2; done", timeout_s=1.5)
    assert time.monotonic() - began < 3


def test_a_stream_reaches_a_command_whole(connection: SshConnection) -> None:
    """Every byte arrives, in order, and the command's own exit status is told."""
    chunks = [bytes(range(256)) * 4096 for _ in range(3)]
    done = connection.feed("/bin/sh -c 'sha256sum; exit 3'", chunks, stall_s=60)
    assert (done.stdout.split()[0].decode(), done.exit_status) == (hashlib.sha256(b"".join(chunks)).hexdigest(), 3)


def test_what_is_said_after_the_end_of_a_command_that_takes_a_stream_is_read(connection: SshConnection) -> None:
    """sshd may report a command's end before its last output."""
    done = connection.feed("/bin/sh -c '(sleep 0.1; echo late; echo too >&2) & exit 3'", [b"x"], stall_s=60)
    assert (done.stdout, done.stderr, done.exit_status) == (b"late\n", b"too\n", 3)


def test_a_command_that_ends_before_the_stream_is_heard(connection: SshConnection) -> None:
    """What it said and how it ended are told, and the rest of the stream is not sent."""
    done = connection.feed("/bin/sh -c 'echo no room >&2; exit 4'", itertools.repeat(bytes(MIB)), stall_s=60)
    assert (done.stderr, done.exit_status) == (b"no room\n", 4)


def test_a_stream_that_nobody_reads_ends(connection: SshConnection) -> None:
    """Nothing is waited for longer than the stream may stand still."""
    with pytest.raises(DeadlineExceeded, match="no data moved for 2 s"):
        connection.feed("/bin/sh -c 'exec sleep 60'", itertools.repeat(bytes(MIB)), stall_s=2)


def test_a_connection_that_is_lost_in_a_stream_is_told(machine: LabHost) -> None:
    """It is neither success nor failure."""
    connection = connect(machine)
    with pytest.raises(ConnectionLost):
        connection.feed("/bin/sh -c 'kill -9 $PPID; cat >/dev/null'", itertools.repeat(bytes(MIB)), stall_s=60)


def test_an_output_is_drawn_whole_as_it_comes(connection: SshConnection) -> None:
    """Nothing is waited for longer than asked, every byte arrives, and so do the words and the exit status."""
    program = b"work() { echo first; sleep 1; head -c 3000000 /dev/zero; echo words >&2; exit 3; }\nwork\n"
    output = connection.draw(program, timeout_s=10)
    assert output.read(10) == b"first\n"
    with pytest.raises(TimeoutError):
        output.read(0.1)
    size = 0
    while chunk := output.read(10):
        size += len(chunk)
    done = output.end()
    assert (size, done.stderr, done.exit_status) == (3_000_000, b"words\n", 3)
    assert connection.run(b"exit 4", timeout_s=10).exit_status == 4


def test_an_output_that_is_drawn_no_further_ends_its_program(machine: LabHost, connection: SshConnection) -> None:
    """Its standard input is closed, which the program can see; it has no exit status."""
    output = connection.draw(b"work() { echo x; cat; touch /run/ended; }\nwork\n", timeout_s=10)
    assert output.read(10) == b"x\n"
    assert output.end().exit_status is None
    wait_for(lambda: machine.run(["rm", "/run/ended"], timeout_s=10).returncode == 0, "the program ended")


def test_a_connection_that_is_lost_while_an_output_is_drawn_is_told(machine: LabHost) -> None:
    """An output that is cut off is never taken for a whole one."""
    output = connect(machine).draw(b"echo x; sleep 1; kill -9 $PPID; sleep 1\n", timeout_s=10)
    assert output.read(10) == b"x\n"
    with pytest.raises(ConnectionLost):
        output.read(10)
    assert output.end().exit_status is None


@pytest.mark.parametrize(
    "text", [b"echo begun; kill -9 $PPID; sleep 1", b"exec >&- 2>&-; sleep 0.3; kill -9 $PPID; sleep 1"]
)
def test_a_lost_connection_is_neither_success_nor_failure(machine: LabHost, text: bytes) -> None:
    """When sshd dies in the middle the connection is lost; it is never taken for the program's end."""
    for _ in range(5):  # the transport's own end races with the channel's
        connection = connect(machine)
        with pytest.raises(ConnectionLost, match="may still run"):
            connection.run(text, timeout_s=10)
        connection.close()


def test_a_connection_that_was_lost_before_is_told(machine: LabHost, connection: SshConnection) -> None:
    """A command over a connection that died meanwhile is a lost connection, not a crash."""
    pid = connection.run(b"echo $PPID", timeout_s=10).stdout.decode().strip()
    inside(machine, f"kill -9 {pid}")
    with pytest.raises(ConnectionLost):
        connection.run(b"exit 0", timeout_s=10)


def test_a_program_goes_on_when_the_connection_ends(machine: LabHost, connection: SshConnection) -> None:
    """What was begun on the host is not killed by the end of the connection."""
    with pytest.raises(DeadlineExceeded):
        connection.run(b"rm -f /run/went-on; sleep 1; echo yes >/run/went-on", timeout_s=0.5)
    wait_for(lambda: machine.run(["cat", "/run/went-on"], timeout_s=10).stdout == "yes\n", "the program went on")
    inside(machine, "rm /run/went-on")


# Whatever shell the administrator has.


@contextmanager
def login_shell(machine: LabHost, shell: str) -> Iterator[None]:
    """Give root another login shell for as long as the block lasts."""
    swap = "sed -i 's#^\\(root:.*:\\)[^:]*$#\\1{}#' /etc/passwd"
    inside(machine, swap.format(shell))
    try:
        yield
    finally:
        inside(machine, swap.format("/bin/bash"))


BANNER = """#!/bin/bash
printf 'AUTHORISED USE ONLY\\nSWITCHPROOF/1 0000000000000000 resolve 3 ffff\\nno newline'
echo 'to standard error' >&2
exec /bin/sh "$@"
"""
TALKER = """#!/bin/bash
/bin/sh "$@"
status=$?
echo goodbye
exit $status
"""
NOISY = """echo hello; printf 'two\\nlines, one unended'; echo oops >&2; set -u; alias exec=false
cd /tmp; umask 077; export LC_ALL=de_DE.UTF-8 GREP_OPTIONS=--bogus CDPATH=/srv
"""


@pytest.mark.parametrize("shell", ["dash", "bash", "noisy", "banner", "talker"])
def test_the_same_frame_arrives_through_any_shell(machine: LabHost, shell: str) -> None:
    """Whatever root's login shell is and prints around it, a verb's answer is the same frame."""
    place = "/usr/local/bin/odd-shell"
    texts = {"banner": BANNER, "talker": TALKER}
    inside(machine, f"cp /root/.bashrc /root/.bashrc.kept; touch {place}; chmod +x {place}")
    inside(machine, f"printf '%s' {shlex.quote(texts.get(shell, ''))} >{place}")
    if shell == "noisy":
        inside(machine, f"printf '%s' {shlex.quote(NOISY)} >/root/.bashrc")
    path = {"dash": "/usr/bin/dash", "bash": "/bin/bash", "noisy": "/bin/bash"}.get(shell, place)
    nonce = "0123456789abcdef"
    text = question(
        "resolve",
        nonce,
        {"RELEASE_SHA": "v1", "REPO_URL": "file:///srv/sample.git", "SWITCHPROOF_READONLY": "1"},
    ).text()
    try:
        with login_shell(machine, path):
            done = run(machine, text.decode())
    finally:
        inside(machine, f"mv /root/.bashrc.kept /root/.bashrc; rm {place}")
    answer = parse(done.stdout, nonce=nonce, verb="resolve")
    expected = inside(machine, "git --git-dir=/srv/sample.git rev-parse 'v1^{commit}'")
    assert {**answer.sections, "clock": b""} == {"outcome": b"ok", "sha": expected.encode(), "clock": b""}
    assert done.exit_status == 0
    assert done.stdout.startswith(f"\nSWITCHPROOF/1 {nonce} ".encode())
    assert (b"goodbye" in done.stdout) == (shell == "talker")


@pytest.fixture
def greeting(machine: LabHost) -> Iterator[None]:
    """Let root's start-up file print, as sshd's bash reads it also where nobody logs in at a terminal."""
    inside(machine, f"cp /root/.bashrc /root/.bashrc.kept; printf '%s' {shlex.quote(NOISY)} >/root/.bashrc")
    yield
    inside(machine, "mv /root/.bashrc.kept /root/.bashrc")


@pytest.mark.usefixtures("greeting")
def test_a_greeting_is_no_output_of_a_program(connection: SshConnection) -> None:
    """Whether a program is run, drawn from or fed, its output begins with its own first byte."""
    program = b"work() { echo 7; exit 3; }\nwork\n"
    drawn = connection.draw(program, timeout_s=10)
    pieces = b"".join(iter(lambda: drawn.read(10), b""))
    assert (pieces, drawn.end().exit_status) == (b"7\n", 3)
    done = connection.run(program, timeout_s=10)
    assert (done.stdout, done.exit_status) == (b"7\n", 3)
    fed = connection.feed("/bin/sh -c 'cat; exit 3'", [b"7\n"], stall_s=10)
    assert (fed.stdout, fed.exit_status) == (b"7\n", 3)


def test_a_shell_that_refuses_to_be_drawn_from_or_fed_is_quoted(machine: LabHost) -> None:
    """What it printed in place of the program's output is in the sentence."""
    quoted = "ended before it ran the command and printed 'This account is currently not available.'"
    with login_shell(machine, "/usr/sbin/nologin"):
        connection = connect(machine)
        with pytest.raises(ConnectionLost, match=quoted):
            connection.draw(b"echo 7\n", timeout_s=10)
        with pytest.raises(ConnectionLost, match=quoted):
            connection.feed("/bin/sh -c cat", [b"7"], stall_s=10)


class Refused:
    """A channel whose shell has ended before a program is sent to it."""

    def __init__(self, *words: bytes) -> None:
        self._words = [*words, b""]

    def sendall(self, _: bytes) -> None:
        raise OSError("Socket is closed")

    def recv(self, _: int) -> bytes:
        return self._words.pop(0)


def test_a_shell_that_ended_before_it_was_sent_anything_is_quoted_all_the_same() -> None:
    """Whether it ends before or after that is a matter of chance."""
    channel: Any = Refused(b"This account is currently ", b"not available.\n")
    with pytest.raises(EOFError, match=r"and printed 'This account is currently not available\.'$"):
        SshConnection._begin(channel, b"true\n")
