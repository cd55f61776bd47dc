"""Keys sign as `ssh-keygen` lets them, and one that cannot is found out before anything happens."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.trust.signing import NAMESPACE, SigningFailed, check_key, sign
from tests.promotion.runs import Keys


@pytest.fixture
def agent(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An SSH agent that holds the key with the passphrase, and no other."""
    socket = tmp_path / "agent.sock"
    running = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert str(socket) in running.stdout.readline()  # it listens before it says so
        asked = tmp_path / "askpass"
        asked.write_text("#!/bin/sh\necho letmein\n", encoding="utf-8")
        asked.chmod(0o700)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        environ = os.environ | {"SSH_ASKPASS": str(asked), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(["ssh-add", "-q", str(keys.locked)], env=environ, check=True, timeout=30)
        yield socket
    finally:
        running.terminate()
        running.wait(30)
        assert running.stdout is not None
        running.stdout.close()


@pytest.fixture
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def verified(content: bytes, signature: bytes, public: Path, folder: Path) -> bool:
    """Whether `ssh-keygen` alone, asked as the documentation says, calls a signature good."""
    (folder / "allowed").write_text(f"ci@staging {public.read_text(encoding='utf-8')}", encoding="utf-8")
    (folder / "sig").write_bytes(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "ci@staging", "-n", NAMESPACE, "-s", "sig"]
    return subprocess.run(command, cwd=folder, input=content, check=False, timeout=30).returncode == 0


def test_ssh_keygen_alone_verifies_what_was_signed(tmp_path: Path, keys: Keys) -> None:
    """A signature is one that OpenSSH's own tool calls good, of this content and no other."""
    check_key(keys.staging)
    signature = sign(keys.staging, b"a statement\n")
    assert verified(b"a statement\n", signature, keys.folder / "staging.pub", tmp_path)
    assert not verified(b"another\n", signature, keys.folder / "staging.pub", tmp_path)
    assert not verified(b"a statement\n", signature, keys.folder / "stranger.pub", tmp_path)


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("name", ["locked", "locked.pub"])
def test_a_key_in_the_agent_signs(tmp_path: Path, keys: Keys, name: str) -> None:
    """A key that an agent holds signs, given as the public key or as the locked private one."""
    public = tmp_path / "elsewhere.pub"
    public.write_bytes((keys.folder / "locked.pub").read_bytes())
    key = public if name.endswith(".pub") else keys.folder / name
    check_key(key)
    assert verified(b"a statement\n", sign(key, b"a statement\n"), public, tmp_path)


@pytest.mark.usefixtures("no_agent")
def test_a_key_with_a_passphrase_and_no_agent_is_refused(keys: Keys) -> None:
    """A key that would have to ask for its passphrase is refused at once, with the way out."""
    with pytest.raises(UsageError, match=r"--sign-key=.*: the key has a passphrase and no agent holds it: add it"):
        check_key(keys.locked)


@pytest.mark.parametrize("socket", [None, "agent"])
def test_a_public_key_that_no_agent_holds_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, keys: Keys, socket: str | None
) -> None:
    """A public key alone signs nothing, with no agent or one that has other keys."""
    request.getfixturevalue(socket or "no_agent")
    public = tmp_path / "alone.pub"
    public.write_bytes((keys.folder / "stranger.pub").read_bytes())
    with pytest.raises(UsageError, match=r"--sign-key=.*: this is a public key and no agent holds its private key"):
        check_key(public)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path, keys: Keys) -> None:
    """A private key that is too open is refused with the command that mends it, and without its content."""
    key = tmp_path / "open"
    key.write_bytes(keys.staging.read_bytes())
    key.chmod(0o644)
    with pytest.raises(UsageError, match=f"other users can read this private key: run chmod 600 {key}") as raised:
        check_key(key)
    secret = keys.staging.read_text(encoding="utf-8").splitlines()[1]
    assert secret not in str(raised.value)


@pytest.mark.parametrize("what", ["missing", "folder", "garbage"])
def test_what_is_no_key_is_refused(tmp_path: Path, what: str) -> None:
    """A key file that is missing, a folder, or anything else than a key is one clear error."""
    key = tmp_path / what
    if what == "folder":
        key.mkdir()
    if what == "garbage":
        key.write_text("garbage\n", encoding="utf-8")
        key.chmod(0o600)
    says = "cannot sign: ssh-keygen: " if what == "garbage" else "no such file; make a key with: ssh-keygen"
    with pytest.raises(UsageError, match=re.escape(f"--sign-key={key}: {says}")):
        check_key(key)


def test_a_machine_without_ssh_keygen_is_told(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tool is missing, the package that brings it is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="install openssh-client"):
        check_key(keys.staging)


def test_signing_has_a_deadline(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that never answers, as one that waits for a touch of a token, is given up."""
    stuck = tmp_path / "ssh-keygen"
    stuck.write_text("#!/bin/sh\nexec /bin/sleep 60\n", encoding="utf-8")
    stuck.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("switchproof.deploy.trust.signing._LIMIT_S", 0.2)
    with pytest.raises(SigningFailed, match=r"did not sign within 0\.2 s"):
        sign(keys.staging, b"")
