"""Runs SSH servers, one for each host of a fleet, that replay the answers of one lab host.

The servers run in processes of their own. A question gets the answer that the lab host gave to the same question.
Values that depend on the time and the host are updated in each answer: the question's number, the clock, the boot
id, length and digest. A question that the lab host was never asked gets an error.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import re
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import msgspec

from switchproof.deploy.host.frame import parse

PROCESSES = 2
QUESTION_S, COMMAND_S = 0.4, 0.02
"""Seconds that a host takes for a question to the host's script, and for any other command: about as long as a lab
host on a quiet machine takes, but the same in every run."""
READY_S = 60.0
"""Seconds within which the servers of one process must listen."""
HOST_KEY, USER_KEY, ANSWERS = "host_key", "user_key", "answers.json"
"""Files in the servers' folder: their host key, the user's key and the answers."""

_OF_A_RUN = re.compile(rb"^export SWITCHPROOF_(?:NONCE|RUN|OWNER)=.*\n", re.MULTILINE)
_NONCE = re.compile(rb"^export SWITCHPROOF_NONCE=([0-9a-f]+)$", re.MULTILINE)


class Answer(msgspec.Struct, frozen=True):
    """The output and the exit status of a command on a host.

    Attributes:
        verb: The verb of the host's script; empty for any other program.
        parts: The parts of the answer, by name.
    """

    stdout: bytes
    stderr: bytes
    status: int
    verb: str = ""
    parts: dict[str, bytes] = {}


def key_of(command: str, stdin: bytes) -> str:
    """Return the key of a question: all of it except its number and run, which differ each time."""
    return hashlib.sha256(command.encode() + b"\0" + _OF_A_RUN.sub(b"", stdin)).hexdigest()


def take_apart(command: str, stdin: bytes, answer: Answer) -> Answer:
    """Return the parts of an answer of the host's script, to replay them later."""
    nonce = _NONCE.search(stdin)
    if nonce is None:
        return answer
    asked = re.search(rb"host-switch\.sh ([a-z]+) </dev/null\n\Z", stdin)
    if asked is None:
        raise ValueError(f"{command}: a question with a number and without a verb")
    frame = parse(answer.stdout, nonce=nonce[1].decode(), verb=asked[1].decode())
    return msgspec.structs.replace(answer, stdout=b"", verb=frame.verb, parts=frame.sections)


def say_again(answer: Answer, stdin: bytes, host: int, began: float) -> bytes:
    """Return the recorded parts as one host's answer to a new question.

    Args:
        answer: The recorded answer of the lab host.
        stdin: The question.
        host: The host's number.
        began: When the question came, in seconds since 1970.
    """
    nonce = _NONCE.search(stdin)
    if not answer.verb or nonce is None:
        return answer.stdout
    now, boot = time.time(), str(uuid.UUID(int=host))
    true = {"clock": f"{began:.6f} {now:.6f}".encode(), "system.boot_id": boot.encode()}
    parts = {name: true.get(name, text) for name, text in answer.parts.items()}
    payload = b"".join(b"%s %d\n%s\n" % (name.encode(), len(text), text) for name, text in parts.items())
    opening = b"SWITCHPROOF/1 %s %s %d %s\n" % (
        nonce[1],
        answer.verb.encode(),
        len(payload),
        hashlib.sha256(payload).hexdigest().encode(),
    )
    packed = base64.encodebytes(gzip.compress(payload, 6))
    return b"\n" + opening + packed + b"SWITCHPROOF/1 %s end\n" % nonce[1]


class Recorder:
    """Answers by asking a real host, and records its answers.

    Args:
        host: The connection to it.
    """

    def __init__(self, host: asyncssh.SSHClientConnection) -> None:
        self.answers: dict[str, Answer] = {}
        self._host = host

    async def answer(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Ask the host what this process was asked."""
        command, stdin = process.command or "", await process.stdin.read()
        done = await self._host.run(command, input=stdin, encoding=None)
        stdout, stderr = (text if isinstance(text, bytes) else b"" for text in (done.stdout, done.stderr))
        answer = Answer(stdout, stderr, done.exit_status or 0)
        self.answers[key_of(command, stdin)] = take_apart(command, stdin, answer)
        _give(process, stdout, answer)


class Replayer:
    """Replays recorded answers.

    Args:
        answers: The answers, by question.
        hosts: The number of the host at each port.
    """

    def __init__(self, answers: Mapping[str, Answer], hosts: Mapping[int, int]) -> None:
        self._answers, self._hosts = answers, hosts

    async def answer(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Answer what this process was asked."""
        command, stdin, began = process.command or "", await process.stdin.read(), time.time()
        answer = self._answers.get(key_of(command, stdin))
        if answer is None:
            _give(process, b"", Answer(b"", f"never asked of the lab host: {command}\n".encode(), 127))
            return
        await asyncio.sleep(QUESTION_S if answer.verb else COMMAND_S)
        host = self._hosts[process.get_extra_info("sockname")[1]]
        _give(process, say_again(answer, stdin, host, began), answer)


def _give(process: asyncssh.SSHServerProcess[bytes], stdout: bytes, answer: Answer) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):  # the contender may have gone
        process.stdout.write(stdout)
        process.stderr.write(answer.stderr)
        process.stdout.write_eof()  # as OpenSSH does; an answer without its end is none
        process.exit(answer.status)


async def listen(folder: Path, answer: Any, count: int) -> list[asyncssh.SSHAcceptor]:
    """Have servers listen on free ports of loopback.

    Args:
        folder: Holds the keys.
        answer: Answers a process.
        count: How many.
    """
    options = asyncssh.SSHServerConnectionOptions(
        server_host_keys=[str(folder / HOST_KEY)],
        authorized_client_keys=str(folder / f"{USER_KEY}.pub"),
        process_factory=answer,
        encoding=None,
        allow_scp=False,
        agent_forwarding=False,
    )
    return [await asyncssh.listen("127.0.0.1", 0, options=options) for _ in range(count)]


def make_keys(folder: Path) -> str:
    """Make the servers' host key and the user's key; return the public host key, in the form for pinning."""
    for name in (HOST_KEY, USER_KEY):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / name))
        key.write_public_key(str(folder / f"{name}.pub"))
        (folder / name).chmod(0o600)
    return " ".join((folder / f"{HOST_KEY}.pub").read_text("utf-8").split()[:2])


@dataclass(frozen=True)
class Servers:
    """Listening servers: their ports and their processes."""

    ports: tuple[int, ...]
    pids: tuple[int, ...]


@contextlib.contextmanager
def serving(folder: Path, count: int) -> Iterator[Servers]:
    """Run `count` servers in processes of their own, and stop them at the end of the context.

    Args:
        folder: The folder with the keys and the answers.
        count: The number of hosts.

    Raises:
        RuntimeError: The servers do not listen in time.
    """
    shares = [len(range(part, count, PROCESSES)) for part in range(min(PROCESSES, count))]
    with contextlib.ExitStack() as stack:
        processes = []
        for part, share in enumerate(shares):
            command = [sys.executable, "-m", "bench.answering", str(folder), str(share), str(sum(shares[:part]))]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.callback(_stop, process)
            processes.append(process)
        ports = [port for process in processes for port in _ports_of(process)]
        yield Servers(tuple(ports), tuple(process.pid for process in processes))


def _ports_of(process: subprocess.Popen[bytes]) -> list[int]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the servers of the fleet ended with {process.wait(READY_S)} instead of listening")
    ports: list[int] = json.loads(line)
    return ports


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(READY_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(argv: Sequence[str]) -> int:
    """Serve until standard input ends; the ports are printed once all servers listen."""
    folder, count, first = Path(argv[0]), int(argv[1]), int(argv[2])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    answers = msgspec.json.decode((folder / ANSWERS).read_bytes(), type=dict[str, Answer])
    asyncio.run(_serve(folder, answers, count, first))
    return 0


async def _serve(folder: Path, answers: Mapping[str, Answer], count: int, first: int) -> None:
    hosts: dict[int, int] = {}
    servers = await listen(folder, Replayer(answers, hosts).answer, count)
    ports = [server.get_port() for server in servers]
    hosts.update(zip(ports, range(first + 1, first + count + 1), strict=True))
    sys.stdout.write(f"{json.dumps(ports)}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
