"""known_hosts files pin and revoke what they pin and revoke for OpenSSH."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.ssh.known_hosts import Pins, find_pins, host_name, read_key

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINfDVNAAmpflCB8I/qTAg3VGIW0NWO5qdt5mFf0Et1mI"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEm43xVoGlXYJv9J2W9/OkzDuf1nc+5tZMjnOU89PVOP"


def hashed(name: str) -> str:
    salt = bytes(range(20))
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def pins(folder: Path, text: str, host: str = "node-a", port: int = 22) -> Pins:
    path = folder / "known_hosts"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return find_pins([path], host_name(host, port))


NAMES = [
    "node-a",
    "NODE-A",
    "other",
    "other,node-a",
    "node-*",
    "?ode-a",
    "*",
    "*,!node-a",
    "!node-a,*",
    "!other,*",
    "!other",
    "[node-a]:22",
    "[node-a]:2222",
    "[*]:2222",
    "10.213.0.*",
    "",
    hashed("node-a"),
    hashed("[node-a]:2222"),
    hashed("other"),
    hashed("node-a")[:-1],
    "|1|bad salt|bad",
    "|1|YQ=|YQ==",
    "|1||",
    "|2|YWFh|YWFh",
    "|1|YWFh|YWFh|",
    "|",
]


@pytest.mark.parametrize("names", NAMES)
def test_a_line_is_for_the_hosts_that_openssh_finds_it_for(tmp_path: Path, names: str) -> None:
    """Patterns, negation, ports and hashes pin a key for those that `ssh-keygen -F` finds; bad hashes are skipped."""
    found = {}
    for host, port in [("node-a", 22), ("Node-A", 2222), ("10.213.0.7", 22)]:
        got = pins(tmp_path, f"{names} {KEY} comment\n", host, port)
        found[host_name(host, port)] = bool(got.good)
    for name, is_found in found.items():
        command = ["ssh-keygen", "-F", name, "-f", str(tmp_path / "known_hosts")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (KEY in done.stdout) == is_found, name


@pytest.mark.parametrize("blank", [" ", "\t", " \t ", "  "])
def test_a_marker_ends_at_any_blank(tmp_path: Path, blank: str) -> None:
    """`@revoked` and `@cert-authority` are seen before a space or a tab; a key is revoked for every host."""
    text = f"@revoked{blank}*{blank}{KEY}\n@cert-authority{blank}node-*{blank}{OTHER}\nnode-a{blank}{KEY}\n"
    got = pins(tmp_path, text.replace(" AAAA", f"{blank}AAAA"))
    assert got.revoked == {base64.b64decode(KEY.split()[1])}
    assert got.authorities == (f"{tmp_path}/known_hosts:2",)
    assert [key.get_base64() for key in got.good] == [KEY.split()[1]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("node-a", "not a public key"),
        ("node-a ssh-ed25519", "not a public key"),
        ("node-a ssh-ed25519 no!", "not a public key"),
        ("node-a ssh-ed25519 AAAA", "not of the kind"),
        (f"node-a ssh-rsa {KEY.split()[1]}", "not of the kind"),
        (f"node-a {KEY[:-12]}", "not a ssh-ed25519 key"),
        ("node-a ssh-dss AAAAB3NzaC1kc3MAAAABAA==", "kind 'ssh-dss' are not supported"),
        ("node-a caf\udce9 AAAA", "not of the kind"),
    ],
)
def test_a_line_that_pins_nothing_is_skipped_and_kept_for_the_message(tmp_path: Path, line: str, reason: str) -> None:
    """A line for the host that cannot be read is noted with its number; one for another host is not."""
    got = pins(tmp_path, f"# hosts\n\n{line}\nother x\n@odd node-a {OTHER}\nnode-a {KEY}\n")
    assert len(got.good) == 1
    (told,) = got.unusable
    assert told.startswith(f"{tmp_path}/known_hosts:3: ")
    assert reason in told


def test_a_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A FIFO is not waited for."""
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "none"):
        with pytest.raises(UsageError, match=str(tmp_path / name)):
            find_pins([tmp_path / name], "node-a")


@settings(
    derandomize=True,
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(
    parts=st.lists(
        st.one_of(
            st.sampled_from(
                [*NAMES, KEY, "ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", KEY.split()[1], " ", "\t", "\n", "#"]
            ),
            st.sampled_from(["@revoked ", "@cert-authority\t", "@", "|1|"]),
            st.binary(max_size=24).map(lambda raw: base64.b64encode(raw).decode()),
            st.binary(max_size=6).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
        ),
        max_size=20,
    )
)
def test_any_text_is_read(tmp_path: Path, parts: list[str]) -> None:
    """Whatever stands in a file, its lines pin something or are skipped; nothing escapes."""
    for line in pins(tmp_path, " ".join(parts)).unusable:
        line.encode()
    read_key("".join(parts))
