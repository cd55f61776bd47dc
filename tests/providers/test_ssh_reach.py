"""A host is reached over SSH through its configuration and jumps, or reported as unreachable in time."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from switchproof.deploy.connection import (
    HostKeyChanged,
    Unreachable,
)
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.ssh.provider import SshProvider
from switchproof.deploy.providers.ssh.table import Jump
from tests.providers.ways import (
    connect,
    fingerprint,
    make_key,
    public,
    run,
    target,
)

pytestmark = pytest.mark.lab


def test_a_named_ssh_config_counts(lab: Lab, machine: LabHost, tmp_path: Path) -> None:
    """HostName, Port, User, IdentityFile and UserKnownHostsFile are taken from the ssh_config that is named."""
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host production\n  HostName {machine.address}\n  Port 22\n  User root\n"
        f"  IdentityFile {machine.identity_file}\n  UserKnownHostsFile {lab.known_hosts} {tmp_path}/none\n",
        encoding="utf-8",
    )
    ssh = {"identity_files": (), "config": str(config), "user": "nobody", "port": 1}
    assert run(machine, "exit 0", address="production", host_keys=(), ssh=ssh).exit_status == 0
    with pytest.raises(UsageError, match="cannot be read"):
        SshProvider(target(machine, ssh={"config": str(tmp_path / "none")}))


def test_proxy_jump_of_the_ssh_config(lab: Lab, machine: LabHost, tmp_path: Path) -> None:
    """ProxyJump leads to a host through another one, each with its own pinned key."""
    known = tmp_path / "known_hosts"
    known.write_text(f"127.0.0.1 {machine.host_key}\n", encoding="utf-8")
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host bastion\n  HostName {machine.address}\n  UserKnownHostsFile {lab.known_hosts}\n"
        f"Host behind\n  HostName 127.0.0.1\n  ProxyJump root@bastion:22\n  UserKnownHostsFile {known}\n"
        f"Host *\n  IdentityFile {machine.identity_file}\n",
        encoding="utf-8",
    )
    done = run(
        machine,
        'echo "$SSH_CONNECTION"',
        address="behind",
        host_keys=(),
        ssh={"identity_files": (), "config": str(config)},
    )
    assert done.stdout.split()[2] == b"127.0.0.1"


def test_how_a_host_was_reached_is_told(machine: LabHost, tmp_path: Path) -> None:
    """Address, user, the key that was shown, and what was agreed on are known, those of a jump host, too."""
    jump = Jump(address=machine.address, host_keys=(machine.host_key,))
    connection = connect(machine, address="127.0.0.1", ssh={"jump": jump})
    connection.close()
    (tmp_path / "key").write_text(machine.host_key, encoding="utf-8")
    facts, key = connection.facts, f"ssh-ed25519 {fingerprint(tmp_path / 'key')}"
    assert (facts.kind, facts.address, facts.port, facts.user, facts.host_key) == (
        "ssh",
        "127.0.0.1",
        22,
        "root",
        key,
    )
    assert facts.jumps == (f"root@{machine.address}:22 {key}",)
    assert facts.strict_kex
    assert all((facts.kex, facts.cipher, facts.mac))


def test_a_jump_of_the_target_file(machine: LabHost, tmp_path: Path) -> None:
    """The jump of the target file is checked like the host itself: its key first, then ours."""
    jump = Jump(address=machine.address, host_keys=(machine.host_key,))
    done = run(machine, 'echo "$SSH_CONNECTION"', address="127.0.0.1", ssh={"jump": jump})
    assert done.stdout.split()[2] == b"127.0.0.1"
    stranger = Jump(address=machine.address, host_keys=(public(make_key(tmp_path / "other")),))
    with pytest.raises(HostKeyChanged, match=r"ssh\.jump\.host_keys"):
        connect(machine, address="127.0.0.1", ssh={"jump": stranger})
    with pytest.raises(HostKeyChanged, match=r"hosts\.host_keys"):
        connect(machine, address="127.0.0.1", host_keys=(public(tmp_path / "other"),), ssh={"jump": jump})
    with pytest.raises(
        Unreachable, match=rf"no connection through {re.escape(machine.address)} to 127\.0\.0\.1 port 2"
    ):
        connect(machine, address="127.0.0.1", port=2, ssh={"jump": jump})


def test_a_refused_connection_is_unreachable(machine: LabHost) -> None:
    """Where nothing listens, the message names address and port."""
    with pytest.raises(
        Unreachable, match=rf"no connection to {re.escape(machine.address)} port 2: Connection refused"
    ):
        connect(machine, port=2)


def test_a_name_without_an_address_is_told_from_a_host_that_is_down(machine: LabHost) -> None:
    """A mistyped address is called one that is not known, at once, and not a connection that took too long."""
    with pytest.raises(Unreachable, match=r"no address is known for no-such-host\.invalid: [A-Z]") as told:
        connect(machine, address="no-such-host.invalid")
    assert "Correct the address in the target file" in str(told.value)


@contextmanager
def listener(says: bytes) -> Iterator[int]:
    """A port of this machine that says something to whoever connects, and no more."""
    over = threading.Event()

    def serve() -> None:
        client, _ = server.accept()
        with client:
            client.sendall(says)
            over.wait()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        over.set()


@contextmanager
def blackhole() -> Iterator[int]:
    """A port of this machine that drops who knocks: its queue is full and nobody empties it."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.0)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("server", "seen"),
    [
        (blackhole(), "no connection to 127.0.0.1 port .* within 1 s"),
        (listener(b""), "answers, but not as an SSH server within 1 s"),
        (listener(b"SSH-2.0-silent\r\n"), "answers, but not as an SSH server within 1 s"),
        (listener(b"HTTP/1.0 400 Bad Request\r\n\r\n"), "answers, but not as an SSH server"),
        (listener(b"SSH-2.0-odd\r\n" + b"\0" * 64), "answers, but not as an SSH server"),
    ],
    ids=["blackhole", "silent", "banner-only", "http", "garbage"],
)
def test_who_does_not_answer_is_given_up_in_time(
    machine: LabHost, server: AbstractContextManager[int], seen: str
) -> None:
    """An address that drops, a server that says nothing and one that is no SSH server cost only their time."""
    began = time.monotonic()
    with server as port, pytest.raises(Unreachable, match=seen):
        connect(machine, address="127.0.0.1", port=port, ssh={"connect_timeout_s": 1.0})
    assert time.monotonic() - began < 4
