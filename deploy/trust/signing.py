"""The only door to `ssh-keygen`, which signs and verifies.

Beside the providers this module and `paths.justfiles` start a process: OpenSSH's own tool stands on both sides of a
promotion already, holds keys in files, agents and tokens as its users are used to, and lets anybody check a signature
without us. Private keys are read by it alone.
"""

from __future__ import annotations

import enum
import os
import subprocess
from pathlib import Path

from switchproof.deploy.errors import SwitchproofError, UsageError

NAMESPACE = "switchproof-run@v1"
"""What a signature of a run is for; one made for anything else does not count, and this one for nothing else."""

_TRIAL_NAMESPACE = "switchproof-trial@v1"
_LIMIT_S = 60.0
"""Seconds: a key in a token waits for somebody to touch it."""


class SigningFailed(SwitchproofError):
    """Nothing was signed; says what `ssh-keygen` said."""


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
        fault: Why.
        words: What `ssh-keygen` said.
    """

    def __init__(self, fault: Fault, words: str) -> None:
        super().__init__(words)
        self.fault = fault


def check_key(key: Path) -> None:
    """Find out whether a key can sign, by signing nothing of worth with it.

    Args:
        key: A private key without a passphrase, or one that an agent holds: then its public key will do.

    Raises:
        UsageError: It cannot; says why and what to do.
    """
    option = f"--sign-key={key}"
    if not key.is_file():
        raise UsageError(f"{option}: no such file; make a key with: ssh-keygen -t ed25519 -f {key}")
    if not os.access(key, os.R_OK):
        raise UsageError(f"{option}: not readable by {os.environ.get('USER') or f'user id {os.getuid()}'}")
    try:
        _sign(key, b"", _TRIAL_NAMESPACE)
    except SigningFailed as error:
        words = str(error)
        if "too open" in words:
            raise UsageError(f"{option}: other users can read this private key: run chmod 600 {key}") from None
        if "passphrase" in words:
            advice = "add it to the agent with ssh-add, or use a key without a passphrase"
            raise UsageError(f"{option}: the key has a passphrase and no agent holds it: {advice}") from None
        if "No private key found" in words or "agent" in words:
            raise UsageError(
                f"{option}: this is a public key and no agent holds its private key: add that with ssh-add"
            ) from None
        raise UsageError(f"{option}: cannot sign: {words}") from None


def sign(key: Path, content: bytes) -> bytes:
    """Sign a statement.

    Returns:
        The armoured signature (SSHSIG) in the namespace `NAMESPACE`.

    Raises:
        SigningFailed: See there.
    """
    return _sign(key, content, NAMESPACE)


def _sign(key: Path, content: bytes, namespace: str) -> bytes:
    try:
        done = _ssh_keygen(["-Y", "sign", "-f", str(key), "-n", namespace], content)
    except subprocess.TimeoutExpired:
        raise SigningFailed(f"ssh-keygen did not sign within {_LIMIT_S:g} s") from None
    if done.returncode != 0 or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise SigningFailed(_words(done))
    return done.stdout


def signer(content: bytes, signature: Path, allowed: Path, revoked: Path | None = None) -> tuple[str, ...]:
    """Find out who signed something.

    Args:
        content: What was signed.
        signature: The file with the signature.
        allowed: The allowed signers, as ssh-keygen(1) describes the file.
        revoked: A key revocation list, or public keys, that no longer count.

    Returns:
        The principals of the allowed signers whose signature this is, at least one.

    Raises:
        BadSignature: It is nobody's of them.
        UsageError: There is no `ssh-keygen`.
    """
    try:
        found = _ssh_keygen(["-Y", "find-principals", "-s", str(signature), "-f", str(allowed)])
        if found.returncode != 0:
            words = _words(found)
            raise BadSignature(_why_nobody(words), words)
        names = [line for line in found.stdout.decode(errors="replace").splitlines() if line]
        tried = {name: _verify(name, content, signature, allowed) for name in names}
        good = tuple(name for name, problem in tried.items() if problem is None)
        if not good:
            words = next((problem for problem in tried.values() if problem), "no principal was found")
            raise BadSignature(Fault.NAMESPACE if "namespace" in words else Fault.CONTENT, words)
        if revoked and (words := _verify(good[0], content, signature, allowed, revoked) or ""):
            raise BadSignature(Fault.REVOKED, words)
    except subprocess.TimeoutExpired:
        raise BadSignature(Fault.UNREADABLE, f"ssh-keygen did not answer within {_LIMIT_S:g} s") from None
    return good


def _verify(
    principal: str, content: bytes, signature: Path, allowed: Path, revoked: Path | None = None
) -> str | None:
    """Return what is wrong with a signature as one of a principal; None if nothing is."""
    without = ["-r", str(revoked)] if revoked else []
    command = ["-Y", "verify", "-f", str(allowed), "-I", principal, "-n", NAMESPACE, "-s", str(signature), *without]
    done = _ssh_keygen(command, content)
    return None if done.returncode == 0 else _words(done)


def _why_nobody(words: str) -> Fault:
    if "expired" in words or "not yet valid" in words:
        return Fault.EXPIRED
    return Fault.UNREADABLE if "parse" in words or "armor" in words or "invalid format" in words else Fault.UNLISTED


def _ssh_keygen(arguments: list[str], content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `ssh-keygen` where it can ask nobody, in a session of its own, so that Ctrl-C does not end it."""
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


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    said = " ".join(done.stderr.decode(errors="replace").split())
    return f"ssh-keygen: {said[:600] or f'exit status {done.returncode}'}"
