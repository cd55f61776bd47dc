"""The examples of own checks, made on lab hosts."""

from __future__ import annotations

import datetime as dt
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from switchproof.deploy.contract import Clause, HostState, RunVerdict, Verdict
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import HEALTH, ROOT, Ended, session, target_file

pytestmark = [pytest.mark.lab, pytest.mark.long]

EXAMPLES = ROOT / "docs" / "examples" / "checks"
MIGRATIONS = ("0001-users.sql", "0002-sessions.sql")

SERVE = """
import http.server, ssl, sys
server = http.server.HTTPServer(("127.0.0.1", 8443), http.server.BaseHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
"""


@contextmanager
def certificate(host: LabHost, folder: Path, days: int) -> Iterator[None]:
    """Serve a certificate that lasts so long, at the host's own loopback address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "choiros.example.org")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now)
    made = made.not_valid_after(now + dt.timedelta(days=days, hours=1))
    pem = folder / f"{host.name}.pem"
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *plain)
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    inside = ["nsenter", f"--net=/proc/{host.leader()}/ns/net"]
    command = [*inside, sys.executable, "-c", SERVE, str(pem)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def migrate(host: LabHost, unit: str, applied: tuple[str, ...]) -> None:
    """Give the host the release's migrations, and a unit a database to which some are applied."""
    for name in MIGRATIONS:
        _put(host, f"/etc/choiros/migrations/{name}", b"ALTER TABLE;\n")
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE migrations (name TEXT)")
        database.executemany("INSERT INTO migrations VALUES (?)", [(name,) for name in applied])
        database.commit()
        _put(host, f"/var/lib/choiros/{unit}.db", database.serialize())


def _put(host: LabHost, path: str, content: bytes) -> None:
    file = host.root / path.removeprefix("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@pytest.fixture(scope="module")
def ended(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    """An audit of host a, and a deploy to host b on which a migration is missing, at the same time."""
    folder = tmp_path_factory.mktemp("examples")
    for host, unit, applied in (
        ("a", "live", MIGRATIONS),
        ("a", "dev", MIGRATIONS),
        ("b", "live", MIGRATIONS),
        ("b", "dev", MIGRATIONS[:1]),
    ):
        migrate(lab.hosts[host], unit, applied)

    def run(host: str, *options: str) -> Ended:
        waiver = '[[waivers]]\ncheck = "audit/the-certificate-lasts"\nreason = "renewal is on its way"\n'
        waiver += 'owner = "ops"\nexpires = 2999-12-31\n'
        (folder / host).mkdir()
        targets = target_file(folder / host, [host], HEALTH + waiver)
        own = f"--checks={EXAMPLES}"
        return session("--provider=lab", *options, own, f"--targets={targets}", runs=folder / host / "runs", lab=lab)

    with certificate(lab.hosts["a"], folder, 3), ThreadPoolExecutor(2) as pool:
        audit = pool.submit(run, "a", "--audit")
        deployed = pool.submit(run, "b", "--sha=v3")
        yield {"audit": audit.result(), "deploy": deployed.result()}
    for host in ("a", "b"):
        lab.hosts[host].run(["rm", "-r", "/etc/choiros/migrations", "/var/lib/choiros"], timeout_s=30)


def test_the_examples_look_at_a_real_host(ended: dict[str, Ended]) -> None:
    """Disk and migrations hold; the certificate that ends in three days is found, and its waiver shows in words."""
    audit = ended["audit"]
    assert audit.status == 0, audit.output
    assert audit.record.verdict is RunVerdict.WITH_WAIVERS
    own = {check.id: check for part in audit.record.host("a").parts for check in part.checks if check.source}
    assert {name: check.verdict for name, check in own.items()} == {
        "converge/there-is-room[_nix_store]": Verdict.PASSED,
        "converge/there-is-room[_var_log]": Verdict.PASSED,
        "runtime/live/every-migration-is-applied": Verdict.PASSED,
        "runtime/dev/every-migration-is-applied": Verdict.PASSED,
        "audit/the-certificate-lasts": Verdict.WAIVED,
    }
    assert own["audit/the-certificate-lasts"].seen.startswith("3 days: CN=choiros.example.org")


def test_a_migration_that_is_missing_brings_a_real_host_back(ended: dict[str, Ended]) -> None:
    """The deploy fails at its runtime clause for the one unit, and the host goes back before it was confirmed."""
    deployed = ended["deploy"]
    assert deployed.status == 1, deployed.output
    assert [check.id for check in deployed.failed("b")] == ["runtime/dev/every-migration-is-applied"]
    assert "not applied to /var/lib/choiros/dev.db: 0002-sessions.sql" in deployed.failed("b")[0].message
    assert deployed.clause("b", Clause.RUNTIME).verdict is Verdict.FAILED
    assert deployed.record.host("b").state is HostState.ROLLED_BACK
