"""Logging in as ssh does: keys, certificates, agents that refuse or say nothing, servers that turn us away."""

from __future__ import annotations

import itertools
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from switchproof.deploy.connection import AuthenticationFailed, ConnectionLost, Unreachable
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.ssh.provider import SshProvider
from switchproof.deploy.providers.ssh.transport import Transport
from tests.providers.ways import SOON_S, connect, fingerprint, inside, keygen, make_key, run, target

pytestmark = pytest.mark.lab

PORTS = itertools.count(2300)


@contextmanager
def sshd(machine: LabHost, *options: str) -> Iterator[int]:
    """Run a second sshd in the host with options of its own; yield its port."""
    port = next(PORTS)
    words = " ".join(f"-o '{option}'" for option in (*options, "PerSourcePenalties=no"))  # the first one counts
    inside(
        machine,
        f"""systemd-run --quiet --unit=sshd-{port} /usr/sbin/sshd -D -p {port} {words}
        until ss -Hltn | grep -q ':{port} '; do sleep 0.05; done""",
    )
    try:
        yield port
    finally:
        inside(machine, f"systemctl stop sshd-{port}")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, machine: LabHost) -> Iterator[Path]:
    """An authority whose certificates root's logins are let in by."""
    key = make_key(tmp_path_factory.mktemp("authority") / "ca")
    text = (key.with_name("ca.pub")).read_text(encoding="utf-8")
    inside(machine, f"echo '{text}' >/etc/ssh/user_ca.pub")
    yield key
    inside(machine, "rm /etc/ssh/user_ca.pub")


def certify(authority: Path, key: Path, validity: str = "always:forever") -> Path:
    keygen("-q", "-s", str(authority), "-I", "test", "-n", "root", "-V", validity, f"{key}.pub")
    return key.with_name(f"{key.name}-cert.pub")


def copied(machine: LabHost, folder: Path) -> Path:
    """Copy the key that opens the host, to lay a certificate beside it."""
    key = folder / "id"
    key.write_bytes(machine.identity_file.read_bytes())
    key.chmod(0o600)
    (folder / "id.pub").write_text(keygen("-y", "-f", str(key)), encoding="utf-8")
    return key


def test_a_login_is_asked_for_together_with_its_service(machine: LabHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distant host is not asked first whether it lets users log in and then how: that is one round trip less."""
    send, make = Transport.send, Transport.__init__
    is_asked, answers = threading.Event(), list[bool]()

    def note(self: Transport, message: paramiko.Message) -> None:
        send(self, message)
        if message.asbytes()[:1] == paramiko.common.cMSG_USERAUTH_REQUEST:
            is_asked.set()

    def prepare(self: Transport, sock: socket.socket) -> None:
        make(self, sock)
        accepted = {paramiko.common.MSG_SERVICE_ACCEPT: lambda _: answers.append(is_asked.wait(SOON_S))}
        self._handler_table = {**self._handler_table, **accepted}

    monkeypatch.setattr(Transport, "send", note)
    monkeypatch.setattr(Transport, "__init__", prepare)
    connect(machine).close()
    assert answers == [True]


# Certificates.


def test_a_plain_key_counts_beside_its_certificate(machine: LabHost, authority: Path, tmp_path: Path) -> None:
    """A key that the host authorises opens it, whatever certificate lies beside it."""
    key = copied(machine, tmp_path)
    ssh = {"identity_files": (str(key),)}
    certificate = certify(authority, key, "20200101:20210101")
    assert run(machine, "exit 0", ssh=ssh).exit_status == 0
    other = make_key(tmp_path / "other")
    certificate.write_bytes(certify(authority, other).read_bytes())
    assert run(machine, "exit 0", ssh=ssh).exit_status == 0
    certificate.write_text("", encoding="utf-8")
    assert run(machine, "exit 0", ssh=ssh).exit_status == 0


def test_a_certificate_counts_beside_its_key(machine: LabHost, authority: Path, tmp_path: Path) -> None:
    """A key that is not authorised opens the host by its certificate, beside it or named."""
    keys = [make_key(tmp_path / kind, kind) for kind in ("ed25519", "rsa", "ecdsa")]
    with sshd(machine, "TrustedUserCAKeys=/etc/ssh/user_ca.pub") as port:
        for key in keys:
            with pytest.raises(AuthenticationFailed):
                connect(machine, port=port, ssh={"identity_files": (str(key),)})
            certificate = certify(authority, key)
            assert run(machine, "exit 0", port=port, ssh={"identity_files": (str(key),)}).exit_status == 0
        moved = certificate.rename(tmp_path / "named.pub")
        config = tmp_path / "config"
        config.write_text(f"CertificateFile {moved}\nIdentityFile {keys[-1]}\n", encoding="utf-8")
        ssh = {"identity_files": (), "config": str(config)}
        assert run(machine, "exit 0", port=port, ssh=ssh).exit_status == 0


def test_certificates_that_do_not_help_are_named(machine: LabHost, authority: Path, tmp_path: Path) -> None:
    """The message says of each certificate what became of it: expired, of another key, or not one at all."""
    expired, foreign, empty = (make_key(tmp_path / name) for name in ("expired", "foreign", "empty"))
    certify(authority, expired, "20200101:20210101")
    certify(authority, empty).write_text("", encoding="utf-8")
    certify(authority, foreign).write_bytes(certify(authority, make_key(tmp_path / "other")).read_bytes())
    with pytest.raises(AuthenticationFailed) as refused:
        connect(machine, ssh={"identity_files": tuple(map(str, (expired, foreign, empty)))})
    said = str(refused.value)
    assert f"{expired} (ssh-ed25519 {fingerprint(tmp_path / 'expired.pub')})" in said
    assert re.search(rf"{expired}-cert\.pub \(ssh-ed25519-cert-v01@openssh\.com .*, expired on 2021-01-01", said)
    assert f"{foreign}-cert.pub (not usable: the certificate is for the key" in said
    assert f"{empty}-cert.pub (not usable: it holds no certificate)" in said


# Agents.


def string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


@contextmanager
def agent(path: Path, keys: list[tuple[paramiko.PKey, bool]], *, is_silent: bool = False) -> Iterator[None]:
    """An agent that holds keys, each of which it signs with or not; or one that never answers."""
    over = threading.Event()

    def answer(client: socket.socket, request: bytes) -> None:
        if request[0] == 11:
            listed = b"".join(string(key.asbytes()) + string(b"comment") for key, _ in keys)
            client.sendall(string(b"\x0c" + struct.pack(">I", len(keys)) + listed))
            return
        message = paramiko.Message(request[1:])
        blob, data, flags = message.get_binary(), message.get_binary(), message.get_int()
        (key, signs) = next((key, signs) for key, signs in keys if key.asbytes() == blob)
        algorithm = {2: "rsa-sha2-256", 4: "rsa-sha2-512"}.get(flags, key.get_name())
        client.sendall(string(b"\x0e" + string(key.sign_ssh_data(data, algorithm).asbytes()) if signs else b"\x05"))

    def serve() -> None:
        while True:
            client, _ = server.accept()
            if over.is_set():
                return
            with client, client.makefile("rb") as stream:
                while head := stream.read(4):
                    request = stream.read(struct.unpack(">I", head)[0])
                    if is_silent:
                        over.wait()
                        break
                    answer(client, request)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield
        over.set()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
        serving.join(10)


def test_a_key_that_the_agent_cannot_sign_with_is_passed_over(
    machine: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authorised key whose signing is refused, such as a security key nobody touches, does not end the attempt."""
    refusing = make_key(tmp_path / "refusing", "rsa")
    text = refusing.with_name("refusing.pub").read_text(encoding="utf-8").strip()
    inside(machine, f"cp /root/.ssh/authorized_keys /root/kept; echo '{text}' >>/root/.ssh/authorized_keys")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    ssh = {"identity_files": (), "agent": True}
    held = [(paramiko.PKey.from_path(refusing), False), (paramiko.PKey.from_path(machine.identity_file), True)]
    try:
        with agent(tmp_path / "agent", held):
            assert run(machine, "exit 0", ssh=ssh).exit_status == 0
        (tmp_path / "agent").unlink()
        with agent(tmp_path / "agent", held[:1]), pytest.raises(AuthenticationFailed) as refused:
            connect(machine, ssh=ssh)
    finally:
        inside(machine, "mv /root/kept /root/.ssh/authorized_keys")
    assert "key 1 of the agent, comment" in str(refused.value)
    assert "the host would accept it, but nothing was signed" in str(refused.value)


def test_an_rsa_key_of_the_agent_signs_with_sha2(
    machine: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An RSA key signs with SHA-2; a key that is named as a file and lies in the agent is taken from there."""
    key = make_key(tmp_path / "rsa", "rsa", passphrase="a secret")  # noqa: S106 - it locks nothing
    text = key.with_name("rsa.pub").read_text(encoding="utf-8").strip()
    inside(machine, f"cp /root/.ssh/authorized_keys /root/kept; echo '{text}' >>/root/.ssh/authorized_keys")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    strangers = [(paramiko.PKey.from_path(make_key(tmp_path / f"k{number}")), True) for number in range(8)]
    held = [*strangers, (paramiko.RSAKey.from_private_key_file(str(key), password="a secret"), True)]  # noqa: S106
    try:
        with agent(tmp_path / "agent", held):
            ssh = {"identity_files": (str(key),), "agent": True}
            assert run(machine, "exit 0", ssh=ssh).exit_status == 0
    finally:
        inside(machine, "mv /root/kept /root/.ssh/authorized_keys")


def test_an_agent_that_never_answers_is_given_up(
    machine: LabHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that accepts and says nothing costs its time, a line says so, and keys in files still count."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    said: list[str] = []
    with agent(tmp_path / "agent", [], is_silent=True):
        provider = SshProvider(target(machine, ssh={"agent": True, "connect_timeout_s": 3.0}), said.append)
        provider.connect("a").close()
        with pytest.raises(AuthenticationFailed, match=r"agent did not list its keys within 1 s"):
            connect(machine, ssh={"identity_files": (), "agent": True, "connect_timeout_s": 1.0})
    assert len(said) == 1
    assert f"Waiting for the SSH agent at {tmp_path}/agent to list its keys" in said[0]


# Servers.


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            ("KexAlgorithms=sntrup761x25519-sha512",),
            "no common key exchange: the server offers sntrup761x25519",
        ),
        (("Ciphers=chacha20-poly1305@openssh.com",), "no common cipher: the server offers chacha20"),
        (("Ciphers=aes128-ctr", "MACs=umac-64@openssh.com"), "no common MAC: the server offers umac-64@openssh.com"),
    ],
    ids=["kex", "cipher", "mac"],
)
def test_what_both_sides_offer_is_named(machine: LabHost, options: tuple[str, ...], what: str) -> None:
    """A server without an algorithm of ours is called one, with both offers and the directive that decides it."""
    with sshd(machine, *options) as port, pytest.raises(Unreachable) as refused:
        connect(machine, port=port)
    assert what in str(refused.value)
    assert re.search(
        r"; this run offers .*aes256-ctr|; this run offers .*curve25519-sha256|; this run offers .*hmac-sha2",
        str(refused.value),
    )
    assert f"Allow one of the offered algorithms in {options[-1].partition('=')[0]} of its sshd_config" in str(
        refused.value
    )


def test_algorithms_of_the_ssh_config_count(machine: LabHost, tmp_path: Path) -> None:
    """Lists of algorithms decide what is offered, and so what is agreed on."""
    config = tmp_path / "config"
    config.write_text(
        "Ciphers aes256-gcm@openssh.com,chacha20*\nKexAlgorithms curve25519-sha256\nMACs -hmac-sha2-256*\n",
        encoding="utf-8",
    )
    connection = connect(machine, ssh={"config": str(config)})
    connection.close()
    facts = connection.facts
    assert (facts.kex, facts.cipher) == ("curve25519-sha256", "aes256-gcm@openssh.com")


def test_a_second_factor_is_named(machine: LabHost) -> None:
    """A host that accepts the key and asks for more is not told to authorise the key."""
    both = "AuthenticationMethods=publickey,keyboard-interactive"
    with (
        sshd(machine, both, "KbdInteractiveAuthentication=yes") as port,
        pytest.raises(AuthenticationFailed) as refused,
    ):
        connect(machine, port=port)
    assert f"accepted the key {machine.identity_file} (ssh-ed25519" in str(refused.value)
    assert "asks for a second factor: keyboard-interactive" in str(refused.value)
    assert "authorise" not in str(refused.value)


def test_two_keys_may_be_asked_for(machine: LabHost, tmp_path: Path) -> None:
    """A host that demands two keys gets two."""
    second = make_key(tmp_path / "second")
    text = second.with_name("second.pub").read_text(encoding="utf-8").strip()
    inside(machine, f"cp /root/.ssh/authorized_keys /root/kept; echo '{text}' >>/root/.ssh/authorized_keys")
    keys = (str(machine.identity_file), str(second))
    try:
        with sshd(machine, "AuthenticationMethods=publickey,publickey") as port:
            assert run(machine, "exit 0", port=port, ssh={"identity_files": keys}).exit_status == 0
            with pytest.raises(AuthenticationFailed, match="asks for a second factor: publickey"):
                connect(machine, port=port)
    finally:
        inside(machine, "mv /root/kept /root/.ssh/authorized_keys")


def test_a_host_that_takes_no_key_is_named(machine: LabHost) -> None:
    """A host that lets nobody in by a key says how it does."""
    with sshd(machine, "PubkeyAuthentication=no") as port, pytest.raises(AuthenticationFailed) as refused:
        connect(machine, port=port)
    assert "does not accept a key as the first method; it asks for " in str(refused.value)


def test_a_host_that_opens_no_session_is_named(machine: LabHost) -> None:
    """A host that lets us in and opens no session is called that, and no lost connection."""
    with (
        sshd(machine, "MaxSessions=0") as port,
        pytest.raises(ConnectionLost, match=r"refused to open a session.*MaxSessions"),
    ):
        run(machine, "exit 0", port=port)


def test_a_server_with_too_many_logins_is_tried_again(machine: LabHost) -> None:
    """MaxStartups is named, and the host is reached as soon as there is room."""
    said: list[str] = []
    with sshd(machine, "MaxStartups=1:100:1", "LoginGraceTime=60") as port:
        waiting = socket.create_connection((machine.address, port))
        assert waiting.recv(4) == b"SSH-"
        with pytest.raises(Unreachable, match=r"turned every connection away for 1 s: .*MaxStartups"):
            connect(machine, port=port, ssh={"connect_timeout_s": 1.0})

        def make_room(text: str) -> None:
            said.append(text)
            waiting.close()

        SshProvider(target(machine, port=port, ssh={"connect_timeout_s": 30.0}), make_room).connect("a").close()
    assert len(said) == 1
    assert re.search(r"turned the connection away \(.*\); trying again", said[0])


@pytest.mark.long
def test_a_penalty_is_named_and_outlasted(machine: LabHost, tmp_path: Path) -> None:
    """A server that punishes our address is called that, and is reached when the penalty is over."""
    stranger = make_key(tmp_path / "stranger")
    with sshd(machine, "PerSourcePenalties=authfail:4 noauth:4 min:1") as port:
        refused = ""
        while "Not allowed at this time" not in refused:  # a penalty begins a moment after the failure
            with pytest.raises((AuthenticationFailed, Unreachable)) as failure:
                connect(machine, port=port, ssh={"identity_files": (str(stranger),), "connect_timeout_s": 1.0})
            refused = str(failure.value)
        assert "PerSourcePenalties" in refused
        assert run(machine, "exit 0", port=port, ssh={"connect_timeout_s": 60.0}).exit_status == 0
