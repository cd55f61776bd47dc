"""The runner proves itself over SSH by a key or an agent; each failure names what to fix."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from switchproof.deploy.connection import (
    AuthenticationFailed,
)
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.ssh.provider import SshProvider
from tests.providers.ways import (
    connect,
    fingerprint,
    make_key,
    now,
    run,
    sshd_says,
    target,
    wait_for,
)

pytestmark = pytest.mark.lab


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
