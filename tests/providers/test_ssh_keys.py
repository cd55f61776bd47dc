"""A host proves itself over SSH by a pinned key, before anything is offered to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.connection import (
    ConnectionProblem,
    HostKeyChanged,
    HostKeyUnknown,
)
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.ssh.provider import SshProvider
from tests.providers.ways import (
    connect,
    fingerprint,
    inside,
    keygen,
    make_key,
    now,
    public,
    run,
    sshd_says,
    target,
    wait_for,
)

pytestmark = pytest.mark.lab


MANY_KEYS_PORT = 2222


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
