"""SSH as it is met: wrong keys, odd shells, lost connections, hosts that say nothing."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from switchproof.deploy.connection import (
    AuthenticationFailed,
    ConnectionLost,
    ConnectionProblem,
    DeadlineExceeded,
    HostKeyChanged,
    HostKeyUnknown,
    Unreachable,
)
from switchproof.deploy.errors import UsageError
from switchproof.deploy.host.frame import parse
from switchproof.deploy.host.program import question
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.ssh.provider import SshConnection, SshProvider
from switchproof.deploy.providers.ssh.table import Jump
from tests.providers.ways import (
    connect,
    fingerprint,
    inside,
    keygen,
    make_key,
    public,
    run,
    target,
    wait_for,
)

pytestmark = pytest.mark.lab

MANY_KEYS_PORT = 2222
MIB = 2**20


@pytest.fixture(scope="module")
def many_keys(machine: LabHost) -> Iterator[dict[str, str]]:
    """A second sshd of the host, on another port and with keys of three kinds; its public keys by kind."""
    inside(
        machine,
        f"""mkdir -p /etc/ssh/many && cd /etc/ssh/many
        for kind in ecdsa rsa; do ssh-keygen -q -t $kind -N '' -f $kind; done
        systemd-run --quiet --unit=sshd-many /usr/sbin/sshd -D -p {MANY_KEYS_PORT} -h $PWD/ecdsa -h $PWD/rsa
        until ss -Hltn | grep -q ':{MANY_KEYS_PORT} '; do sleep 0.05; done""",
    )
    keys = inside(machine, "cut -d' ' -f1,2 /etc/ssh/many/*.pub").splitlines()
    yield {key.split()[0]: key for key in [*keys, machine.host_key]}
    inside(machine, "systemctl stop sshd-many; rm -r /etc/ssh/many")


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


def now(machine: LabHost) -> str:
    return inside(machine, "date +@%s.%6N")


def sshd_says(machine: LabHost, since: str) -> str:
    # By name, not by unit: of a process that has ended already journald no longer learns the unit.
    return inside(machine, f"journalctl --sync; journalctl -q -o cat -t sshd -t sshd-session --since={since}")


# Whose key it is.


@pytest.mark.parametrize(
    ("pinned", "error"), [("another", HostKeyChanged), (None, HostKeyUnknown)], ids=["changed", "unknown"]
)
@pytest.mark.long
def test_a_stranger_is_not_authenticated_to(
    machine: LabHost, tmp_path: Path, pinned: str | None, error: type[ConnectionProblem]
) -> None:
    """A host with a changed or unknown key is refused before anything is offered to it, with its fingerprints."""
    other = make_key(tmp_path / "other")
    since = now(machine)
    with pytest.raises(error) as refused:
        connect(machine, host_keys=(public(other),) if pinned else ())
    assert isinstance(refused.value, UsageError)
    assert f"ssh-ed25519 {fingerprint(machine.folder / 'ssh_host_ed25519_key.pub')}" in str(refused.value)
    assert (f"ssh-ed25519 {fingerprint(tmp_path / 'other.pub')}" in str(refused.value)) == bool(pinned)
    wait_for(lambda: "[preauth]" in sshd_says(machine, since), "sshd saw us go")
    said = sshd_says(machine, since)
    assert re.search(r"Connection (closed|reset) by \d", said), said
    assert not re.search("authenticating user|Accepted|Failed|Invalid user", said)


def test_a_key_of_several_pinned_is_enough(machine: LabHost, tmp_path: Path) -> None:
    """While a host key is being replaced, the old and the new one are both accepted."""
    other = public(make_key(tmp_path / "other"))
    assert run(machine, "exit 0", host_keys=(other, machine.host_key)).exit_status == 0
    assert run(machine, "exit 0", host_keys=(machine.host_key, other)).exit_status == 0


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
def test_a_host_with_several_keys_proves_the_pinned_one(
    machine: LabHost, many_keys: dict[str, str], kind: str
) -> None:
    """A host that has keys of several kinds is asked for the one that is pinned, whichever that is."""
    assert run(machine, "exit 0", port=MANY_KEYS_PORT, host_keys=(many_keys[kind],)).exit_status == 0


def test_another_kind_of_key_is_a_changed_key(machine: LabHost, tmp_path: Path) -> None:
    """A host that has no key of the pinned kind is refused as changed, with both fingerprints."""
    other = make_key(tmp_path / "other", "ecdsa")
    with pytest.raises(HostKeyChanged) as refused:
        connect(machine, host_keys=(public(other),))
    assert fingerprint(tmp_path / "other.pub") in str(refused.value)
    assert fingerprint(machine.folder / "ssh_host_ed25519_key.pub") in str(refused.value)


@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
@pytest.mark.parametrize("port", [22, MANY_KEYS_PORT])
def test_known_hosts_pins(
    machine: LabHost, many_keys: dict[str, str], tmp_path: Path, *, port: int, hashed: bool
) -> None:
    """A known_hosts file pins keys by name or [name]:port, hashed or not, beside comments and marked lines."""
    name = machine.address if port == 22 else f"[{machine.address}]:{port}"
    known = tmp_path / "known_hosts"
    authority = f"@cert-authority *.example.com {many_keys['ssh-rsa']}\n"
    known.write_text(f"# hosts\n\n{authority}{name},elsewhere {machine.host_key} a comment\n", encoding="utf-8")
    if hashed:
        keygen("-q", "-H", "-f", str(known))
        assert machine.address not in known.read_text(encoding="utf-8")
    ssh = {"known_hosts": str(known)}
    assert run(machine, "exit 0", port=port, host_keys=(), ssh=ssh).exit_status == 0


def test_a_pin_is_for_its_port(machine: LabHost, many_keys: dict[str, str], tmp_path: Path) -> None:
    """A key that known_hosts pins for one port says nothing about another."""
    assert machine.host_key in many_keys.values()
    known = tmp_path / "known_hosts"
    known.write_text(f"{machine.address} {machine.host_key}\n", encoding="utf-8")
    with pytest.raises(HostKeyUnknown):
        connect(machine, port=MANY_KEYS_PORT, host_keys=(), ssh={"known_hosts": str(known)})


def test_a_revoked_key_is_refused(machine: LabHost, tmp_path: Path) -> None:
    """A key that known_hosts revokes is refused, even where it is pinned."""
    known = tmp_path / "known_hosts"
    known.write_text(f"@revoked * {machine.host_key}\n", encoding="utf-8")
    with pytest.raises(HostKeyChanged, match="revokes that key"):
        connect(machine, ssh={"known_hosts": str(known)})


def test_a_line_of_known_hosts_that_pins_nothing_is_named(machine: LabHost, tmp_path: Path) -> None:
    """Lines for the host that cannot pin its key (not a key, an authority) are named when no other line does."""
    known = tmp_path / "known_hosts"
    authority = f"@cert-authority\t{machine.address} {machine.host_key}\n"
    known.write_text(f"{machine.address} ssh-ed25519 no-key-at-all\n{authority}", encoding="utf-8")
    with pytest.raises(HostKeyUnknown) as refused:
        connect(machine, host_keys=(), ssh={"known_hosts": str(known)})
    assert f"{known}:1: not a public key" in str(refused.value)
    assert f"{known}:2 trusts a certificate authority" in str(refused.value)


def test_a_known_hosts_file_that_cannot_be_read_is_a_usage_error(machine: LabHost, tmp_path: Path) -> None:
    """A known_hosts file that the target file names and that is not there is told before anything is reached."""
    with pytest.raises(UsageError, match="cannot be read"):
        SshProvider(target(machine, ssh={"known_hosts": str(tmp_path / "none")}))


# Who we are.


def test_a_key_file_that_is_missing_is_refused_before_anything(machine: LabHost, tmp_path: Path) -> None:
    """The message says whether an agent could have stood in for it, and is no riddle where `ssh.agent` is set."""
    missing = str(tmp_path / "none")
    for agent, lacks in ((True, "no SSH agent runs here"), (False, "ssh.agent is not set")):
        with pytest.raises(
            UsageError, match=rf"identity_files: {missing} does not exist, and {lacks}; name an existing"
        ):
            connect(machine, ssh={"identity_files": (missing,), "agent": agent})


def test_a_key_that_is_not_authorised_is_named(machine: LabHost, tmp_path: Path) -> None:
    """A key that the host does not accept is named with its file and fingerprint, and sshd saw the attempt."""
    key = make_key(tmp_path / "stranger")
    since = now(machine)
    with pytest.raises(AuthenticationFailed) as refused:
        connect(machine, ssh={"identity_files": (str(key),)})
    assert f"root@{machine.address}" in str(refused.value)
    assert f"{key} (ssh-ed25519 {fingerprint(tmp_path / 'stranger.pub')})" in str(refused.value)
    wait_for(lambda: "authenticating user root" in sshd_says(machine, since), "sshd saw the attempt")


def test_a_key_with_a_passphrase_says_so(machine: LabHost, tmp_path: Path) -> None:
    """A key that needs a passphrase is passed over with advice, and the next one is tried."""
    key = make_key(tmp_path / "locked", passphrase="a secret")  # noqa: S106 - it locks nothing
    with pytest.raises(AuthenticationFailed, match="needs a passphrase, use the agent"):
        connect(machine, ssh={"identity_files": (str(key),)})
    both = (str(key), str(machine.identity_file))
    assert run(machine, "exit 0", ssh={"identity_files": both}).exit_status == 0


def test_a_file_that_is_no_key_says_so(machine: LabHost, tmp_path: Path) -> None:
    """A file that holds no private key is named as not usable."""
    key = tmp_path / "key"
    key.write_text("not a key\n", encoding="utf-8")
    key.chmod(0o600)
    with pytest.raises(AuthenticationFailed, match=f"{key} \\(not usable"):
        connect(machine, ssh={"identity_files": (str(key),)})


def test_a_private_key_that_others_can_read_is_ignored(machine: LabHost, tmp_path: Path) -> None:
    """A key file of mode 0644 is ignored in OpenSSH's words; another key still opens the host."""
    key = make_key(tmp_path / "open")
    key.chmod(0o644)
    with pytest.raises(AuthenticationFailed, match=r"permissions 0644 are too open.*chmod 600"):
        connect(machine, ssh={"identity_files": (str(key),)})
    both = (str(key), str(machine.identity_file))
    assert run(machine, "exit 0", ssh={"identity_files": both}).exit_status == 0


def test_a_missing_key_file_is_a_usage_error(machine: LabHost, tmp_path: Path) -> None:
    """A key file that does not exist is a usage error before anything is reached."""
    with pytest.raises(UsageError, match="none does not exist"):
        SshProvider(target(machine, ssh={"identity_files": (str(tmp_path / "none"),)}))


def test_no_key_at_all_says_so(machine: LabHost) -> None:
    """Without any key the message says that none was found."""
    with pytest.raises(AuthenticationFailed, match="no key was offered, because none was found"):
        connect(machine, ssh={"identity_files": ()})


def test_a_user_whom_the_host_does_not_let_in(machine: LabHost) -> None:
    """A user whom the host refuses is named together with the key that was offered."""
    with pytest.raises(AuthenticationFailed, match=rf"nobody@{re.escape(machine.address)} accepts none of"):
        connect(machine, user="nobody")


@contextmanager
def agent(folder: Path, keys: list[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An SSH agent with keys, for as long as the block lasts."""
    path = folder / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        wait_for(path.exists, "the agent listens")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        for key in keys:
            subprocess.run(["ssh-add", "-q", str(key)], check=True, stdin=subprocess.DEVNULL)
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_the_agent_s_keys_are_offered(machine: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that only the agent holds opens the host, after one that the host does not accept."""
    stranger = make_key(tmp_path / "stranger")
    with agent(tmp_path, [stranger, machine.identity_file], monkeypatch):
        assert run(machine, "exit 0", ssh={"identity_files": (), "agent": True}).exit_status == 0


def test_an_agent_with_too_many_keys_says_so(
    machine: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the host ends the attempt after too many keys, the message names those that it saw."""
    keys = [make_key(tmp_path / f"key{number}") for number in range(8)]
    with agent(tmp_path, keys, monkeypatch), pytest.raises(AuthenticationFailed) as refused:
        connect(machine, ssh={"identity_files": (), "agent": True})
    assert "key 1 of the agent" in str(refused.value)
    assert "ssh.identity_files" in str(refused.value)


def test_an_agent_that_is_gone_is_no_error(machine: LabHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With an agent that nobody runs, the keys in files still count."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
    assert run(machine, "exit 0", ssh={"agent": True}).exit_status == 0


# The way there.


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


# What comes back.


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
    noise = {"noisy": b"hello", "banner": b"AUTHORISED", "talker": b"goodbye"}.get(shell)
    assert noise is None or noise in done.stdout
