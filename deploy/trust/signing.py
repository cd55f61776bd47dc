"""Signs and verifies with `ssh-keygen`; no other module calls it.

OpenSSH's own tool is already installed on both sides of a promotion. It reads keys in files, agents and tokens as its
users expect, and lets anybody check a signature without Switchproof. No other program reads private keys.
"""

from __future__ import annotations

import enum
import os
import subprocess
from pathlib import Path

from switchproof.deploy.errors import SwitchproofError, UsageError

NAMESPACE = "switchproof-run@v1"
"""The namespace of a run's signature; a signature in another namespace does not count."""

_TRIAL_NAMESPACE = "switchproof-trial@v1"
_LIMIT_S = 60.0
"""Seconds; a key in a token waits for a touch."""


class SigningFailed(SwitchproofError):
    """Nothing was signed; the message is that of `ssh-keygen`."""


class Fault(enum.StrEnum):
    """Why a signature does not count."""

    UNREADABLE = "unreadable"
    UNLISTED = "unlisted"
    EXPIRED = "expired"
    NAMESPACE = "namespace"
    CONTENT = "content"
    REVOKED = "revoked"


class BadSignature(SwitchproofError):
    """A signature does not count.

    Args:
        fault: The reason.
        message: The message of `ssh-keygen`.
    """

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def check_key(key: Path) -> None:
    """Check that a key can sign, with a signature that is thrown away.

    Args:
        key: A private key without a passphrase, or the public key of one that an agent holds.

    Raises:
        UsageError: It cannot; the message says why and what to do.
    """
    option = f"--sign-key={key}"
    if not key.is_file():
        raise UsageError(f"{option}: no such file; make a key with: ssh-keygen -t ed25519 -f {key}")
    if not os.access(key, os.R_OK):
        raise UsageError(f"{option}: not readable by {os.environ.get('USER') or f'user id {os.getuid()}'}")
    try:
        _sign(key, b"", _TRIAL_NAMESPACE)
    except SigningFailed as error:
        message = str(error)
        if "too open" in message:
            raise UsageError(f"{option}: other users can read this private key: run chmod 600 {key}") from None
        if "passphrase" in message:
            advice = "add it to the agent with ssh-add, or use a key without a passphrase"
            raise UsageError(f"{option}: the key has a passphrase and no agent holds it: {advice}") from None
        if "No private key found" in message or "agent" in message:
            raise UsageError(
                f"{option}: this is a public key and no agent holds its private key: add that with ssh-add"
            ) from None
        raise UsageError(f"{option}: cannot sign: {message}") from None


def sign(key: Path, content: bytes) -> bytes:
    """Sign a statement.

    Returns:
        The armoured signature (SSHSIG) in the namespace `NAMESPACE`.

    Raises:
        SigningFailed: `ssh-keygen` failed or did not end in time.
    """
    return _sign(key, content, NAMESPACE)


def _sign(key: Path, content: bytes, namespace: str) -> bytes:
    try:
        done = _ssh_keygen(["-Y", "sign", "-f", str(key), "-n", namespace], content)
    except subprocess.TimeoutExpired:
        raise SigningFailed(f"ssh-keygen did not sign within {_LIMIT_S:g} s") from None
    if done.returncode != 0 or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise SigningFailed(_message(done))
    return done.stdout


def signer(content: bytes, signature: Path, allowed: Path, revoked: Path | None = None) -> tuple[str, ...]:
    """Return the signers of a content.

    Args:
        content: The signed bytes.
        signature: The file with the signature.
        allowed: The file of allowed signers; ssh-keygen(1) describes its format.
        revoked: A key revocation list, or a file of revoked public keys.

    Returns:
        The allowed signers that made the signature, at least one.

    Raises:
        BadSignature: No allowed signer made it, or it does not count for another reason.
        UsageError: `ssh-keygen` is missing.
    """
    try:
        listed = _ssh_keygen(["-Y", "find-principals", "-s", str(signature), "-f", str(allowed)])
        if listed.returncode != 0:
            message = _message(listed)
            raise BadSignature(_unlisted_fault(message), message)
        names = [line for line in listed.stdout.decode(errors="replace").splitlines() if line]
        tried = {name: _verify(name, content, signature, allowed) for name in names}
        good = tuple(name for name, problem in tried.items() if problem is None)
        if not good:
            message = next((problem for problem in tried.values() if problem), "no principal was found")
            raise BadSignature(Fault.NAMESPACE if "namespace" in message else Fault.CONTENT, message)
        if revoked and (message := _verify(good[0], content, signature, allowed, revoked) or ""):
            raise BadSignature(Fault.REVOKED, message)
    except subprocess.TimeoutExpired:
        raise BadSignature(Fault.UNREADABLE, f"ssh-keygen did not answer within {_LIMIT_S:g} s") from None
    return good


def _verify(
    principal: str, content: bytes, signature: Path, allowed: Path, revoked: Path | None = None
) -> str | None:
    """Return the problem of a signature as one of a principal; None without one."""
    without = ["-r", str(revoked)] if revoked else []
    command = ["-Y", "verify", "-f", str(allowed), "-I", principal, "-n", NAMESPACE, "-s", str(signature), *without]
    done = _ssh_keygen(command, content)
    return None if done.returncode == 0 else _message(done)


def _unlisted_fault(message: str) -> Fault:
    if "expired" in message or "not yet valid" in message:
        return Fault.EXPIRED
    is_unreadable = "parse" in message or "armor" in message or "invalid format" in message
    return Fault.UNREADABLE if is_unreadable else Fault.UNLISTED


def _ssh_keygen(arguments: list[str], content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `ssh-keygen` without a terminal to ask on, in its own session, so that Ctrl-C does not end it."""
    environ = os.environ | {"LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments],
            input=content,
            capture_output=True,
            timeout=_LIMIT_S,
            check=False,
            env=environ,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UsageError("ssh-keygen is missing, but signing and verifying need it: install openssh-client") from None


def _message(done: subprocess.CompletedProcess[bytes]) -> str:
    stderr = " ".join(done.stderr.decode(errors="replace").split())
    return f"ssh-keygen: {stderr[:600] or f'exit status {done.returncode}'}"
