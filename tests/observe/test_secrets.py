"""The age recipient of an SSH key."""

from __future__ import annotations

import base64

import pytest

from switchproof.deploy.observe.secrets import recipient_of

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIGIYXpVMhziVWMiWKVM5T3x2jZCLNe8CfhGhvg08YOpp"


def test_the_recipient_is_the_one_that_age_tells() -> None:
    """age-keygen -y 1.1.1 told this recipient for the X25519 key that the private half of this SSH key makes."""
    expected = "age1ly4rlcr70gv2476f4g00rqqsj2m84szngkzd0afxzer60g65eevq3jacl3"
    assert recipient_of(f"ssh-ed25519 {KEY} root@host") == expected
    assert recipient_of(f"ssh-ed25519 {KEY}\n") == expected


def of(key: bytes) -> str:
    blob = bytes.fromhex("0000000b") + b"ssh-ed25519" + bytes.fromhex("00000020") + key
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"ssh-rsa {KEY}",
        f"ssh-ed25519 {KEY[:-4]}",
        f"ssh-ed25519 {KEY}AAAA",
        f"ssh-ed25519 {KEY[:-2]}==",
        f"ssh-ed25519 B{KEY[1:]}",
        of(bytes(32)),
        of((1).to_bytes(32, "little")),
        of(b"\xff" * 32),
    ],
    ids=["nothing", "rsa", "short", "long", "padded", "another-blob", "zero", "one", "no-coordinate"],
)
def test_what_is_no_key_has_no_recipient(line: str) -> None:
    """A host may say anything of its key; what is no Ed25519 key is unknown, and no error."""
    assert not recipient_of(line)
