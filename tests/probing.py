"""Servers and certificates for the tests of probes, and the host's probe and judgement on this machine."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import shlex
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from switchproof.deploy.host.program import endpoints
from switchproof.deploy.observe.answers import Answer, read_answer
from switchproof.deploy.target.types import Endpoint, Host, Repository, Target
from tests.host_functions import run

UNIT = "web.service"
GOOD = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhealthy"

Behaviour = Callable[[socket.socket], None]


def sends(*pieces: bytes, hold: bool = False) -> Behaviour:
    """Send pieces one after the other, then close in order or hold the connection open."""

    def behave(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
        if hold:
            connection.recv(1 << 16)
            threading.Event().wait(5)

    return behave


def answers(reply: bytes = GOOD) -> Behaviour:
    """Read a request, then send a reply."""

    def behave(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(reply)

    return behave


def resets(connection: socket.socket) -> None:
    """End the connection out of order."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@contextmanager
def serving(server: socket.socket, behave: Behaviour | None, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """Accept connections in a thread until the end; without a behaviour nobody accepts any."""

    def answer(connection: socket.socket) -> None:
        try:
            with connection:
                assert behave is not None
                if tls is None:
                    behave(connection)
                    return
                with tls.wrap_socket(connection, server_side=True) as wrapped:
                    behave(wrapped)
                    wrapped.unwrap().close()  # so that a client can tell a whole answer from a cut one
        except OSError:
            pass

    def loop() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    server.listen(8)
    if behave is not None:
        threading.Thread(target=loop, daemon=True).start()
    try:
        yield
    finally:
        if behave is not None:
            server.shutdown(socket.SHUT_RDWR)
        server.close()


@contextmanager
def port(behave: Behaviour | None, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve on a port of loopback; yield `address:port`."""
    server = socket.create_server(("127.0.0.1", 0))
    with serving(server, behave, tls):
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def path(file: Path, behave: Behaviour | None) -> Iterator[str]:
    """Serve on a unix socket; yield its path."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(file))
    with serving(server, behave):
        yield str(file)


class Authority:
    """An authority that issues certificates.

    Args:
        folder: Where its files are kept.
        name: What it is called.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._count = 0
        self.file = folder / f"{name}.pem"
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        root = self._issue(self._name, self._key.public_key(), constraint, days=(-2, 30))
        self.file.write_bytes(root.public_bytes(serialization.Encoding.PEM))

    def context(self, name: str = "web.example", days: tuple[int, int] = (-1, 1)) -> ssl.SSLContext:
        """Make the TLS of a server whose certificate has a name, and is valid between two days from now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(name, days))
        return context

    def issue(self, name: str = "web.example", days: tuple[int, int] = (-1, 1)) -> Path:
        """Issue a certificate; return the file that holds its private key and it."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        leaf = self._issue(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            key.public_key(),
            x509.SubjectAlternativeName([alternative]),
            days=days,
        )
        self._count += 1
        file = self._folder / f"{self.file.stem}-{self._count}.pem"
        plain = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        file.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
        return file

    def _issue(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType, days: tuple[int, int]
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=name,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now + dt.timedelta(days=days[0]),
            not_valid_after=now + dt.timedelta(days=days[1]),
        )
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


def target_of(wants: Mapping[str, Endpoint]) -> Target:
    """A target file with these runtime units and no hypervisor."""
    return Target(
        provider="local",
        repository=Repository(),
        hosts=(Host(name="a", flake_attr="a"),),
        hypervisor=Endpoint(absent="a test"),
        runtime=dict(wants),
    )


def own_group() -> str:
    """The control group of this process, as systemd would name it."""
    rows = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return next(row.split(":", 2)[2] for row in rows if row.startswith(("0::", "1:name=systemd:")))


def script(tmp_path: Path, text: str, wants: Mapping[str, Endpoint], **values: str) -> str:
    """Run a text after the host's script, which asks these endpoints; return what it printed."""
    given = {"SWITCHPROOF_ENDPOINTS": endpoints(target_of(wants)), **values}
    return run(text, folder=tmp_path, values=given)


def ask(
    tmp_path: Path, wants: Mapping[str, Endpoint], group: str | None = None, leader: str = "", **values: str
) -> dict[str, Answer]:
    """Have the script ask every endpoint once; `good` of an answer is what the script itself makes of it.

    Args:
        tmp_path: Where it may write.
        wants: The endpoints, by name; all are of one unit.
        group: The control group of that unit; by default this process is in it.
        leader: The first process of the container `box.service`, if there is one.
        values: Variables of the script.
    """
    text = f"""
    declare -A contains wants same size_of kept held reply good steady how
    asks=0 endpoints=0 series='' now=1.00
    value[{shlex.quote(f"{UNIT} ControlGroup")}]={shlex.quote(own_group() if group is None else group)}
    LEADER[box.service]={leader}
    make_scratch; read_wants; sample_answers; say_bodies
    printf '%s---\\n%s---\\n%s' "$series" "${{said[watch.bodies]}}" "${{said[watch.body-bytes]}}"
    """
    quick = {"ANSWER_TIMEOUT_S": "1", "MAX_BYTES": "2000", **values}
    series, rows, rest = script(tmp_path, text, wants, **quick).split("---\n")
    left, bodies = base64.b64decode(rest), dict[tuple[str, str], bytes]()
    for row in rows.splitlines():
        name, number, size = row.split()
        bodies[name, number], left = left[: int(size)], left[int(size) :]
    assert not left
    answers = {}
    for line in series.splitlines():
        answer, number = read_answer(line)
        name = line.split(" ", 2)[1]
        answers[name] = replace(answer, body=bodies.get((name, number)))
    return answers
