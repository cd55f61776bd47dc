"""Secrets that the host cannot decrypt: those of agenix are tried, those of sops-nix list their recipients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.host_functions import run

OF_SSH = ["/etc/ssh/ssh_host_ed25519_key"]
OWN, OTHER = "age1" + "q" * 58, "age1" + "p" * 58
AGE = """#!/bin/sh
# Stands in for age: it decrypts what one of its identities is named in.
for file; do :; done
[ "$1" = --decrypt ] && shift
while [ "$1" = -i ]; do
  ! grep -q "$2" "$file" || { echo secret; exit 0; }
  shift 2
done
echo 'age: error: no identity matched any of the recipients' >&2
echo 'age: report unexpected or unhelpful errors at https://filippo.io/age/report' >&2
exit 1
"""


def agenix(folder: Path, *files: Path, identities: str) -> Path:
    """A system with these secrets of agenix, whose activation script has the lines that matter."""
    age = folder / "age"
    age.write_text(AGE)
    age.chmod(0o755)
    lines = "".join(
        f'IDENTITIES=()\nfor identity in {identities}; do\n  test -r "$identity" || continue\ndone\n'
        f'  LANG=C {age} --decrypt "${{IDENTITIES[@]}}" -o "$TMP_FILE" "{file}"\n'
        for file in files
    )
    (folder / "activate").write_text(lines)
    return folder


def sops(folder: Path, content: str, *, service: bool = False, **keys: list[str] | str | None) -> Path:
    """A system with one secret of sops-nix, which its activation script or a service of systemd installs."""
    secret, manifest = folder / "secret.yaml", folder / "manifest.json"
    secret.write_text(content)
    manifest.write_text(json.dumps({"secrets": [{"sopsFile": str(secret)}], **keys}, separators=(",", ":")))
    units = folder / "etc/systemd/system"
    units.mkdir(parents=True)
    call = f"/nix/store/x-sops-install-secrets/bin/sops-install-secrets {manifest}"
    (folder / "activate").write_text("" if service else f"  {call}\n")
    if service:
        (units / "sops-install-secrets.service").write_text(f"[Service]\nExecStart={call}\n")
    return folder


def locked(system: Path, own: str = OWN) -> list[str]:
    return run(f"AGE_RECIPIENT={own} US=$'\\x1f'; locked_secrets {system}", "secrets").splitlines()


def test_a_system_without_secrets_has_none_that_are_locked(tmp_path: Path) -> None:
    """Most activation scripts decrypt nothing; one that cannot be read is no finding."""
    assert not locked(tmp_path)
    (tmp_path / "activate").write_text("echo activating\n")
    assert not locked(tmp_path)


def test_what_no_key_of_the_host_decrypts_is_told(tmp_path: Path) -> None:
    """Each secret of agenix is tried with the keys that its script names; one that decrypts is not told."""
    key, good, bad = tmp_path / "key", tmp_path / "good.age", tmp_path / "bad.age"
    key.write_text("private")
    good.write_text(str(key))
    bad.write_text("for somebody else")
    system = agenix(tmp_path, good, bad, identities=f"{key} {tmp_path}/missing")
    assert locked(system) == [f"{bad}: age: error: no identity matched any of the recipients"]


def test_a_host_without_any_of_the_keys_is_told(tmp_path: Path) -> None:
    """agenix skips a key that is not there, and then decrypts with none."""
    secret = tmp_path / "secret.age"
    secret.write_text("x")
    system = agenix(tmp_path, secret, identities=f"{tmp_path}/missing")
    assert locked(system) == [f"{secret}: none of the keys that age.identityPaths names is on this host"]


def test_a_program_that_fails_otherwise_leaves_it_unknown(tmp_path: Path) -> None:
    """A plugin that waits for a touch, or a damaged file, does not show whether the key is there."""
    key, secret = tmp_path / "key", tmp_path / "secret.age"
    key.write_text("private")
    secret.write_text("x")
    system = agenix(tmp_path, secret, identities=str(key))
    (tmp_path / "age").write_text("#!/bin/sh\necho 'age: error: malformed header' >&2\nexit 1\n")
    assert locked(system) == [f"? {secret}: age: error: malformed header"]


def test_a_service_that_decrypts_is_read_like_an_activation_script(tmp_path: Path) -> None:
    """With sysusers or userborn, agenix decrypts in a unit; its script is what ExecStart names."""
    key, secret = tmp_path / "key", tmp_path / "secret.age"
    key.write_text("private")
    secret.write_text("for somebody else")
    system = agenix(tmp_path, secret, identities=str(key))
    units = system / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "agenix-install-secrets.service").write_text(f"[Service]\nExecStart={tmp_path}/start\n")
    (system / "activate").rename(tmp_path / "start")
    assert len(locked(system)) == 1


@pytest.mark.parametrize("service", [False, True])
def test_a_file_for_other_recipients_is_told(tmp_path: Path, *, service: bool) -> None:
    """A file of sops lists its recipients; where this host's key is none of them, it cannot be decrypted here."""
    content = f"sops:\n  age:\n    - recipient: {OTHER}\n"
    system = sops(tmp_path, content, service=service, ageSshKeyPaths=OF_SSH, ageKeyFile=None)
    assert locked(system) == [f"{tmp_path}/secret.yaml: this host's key is none of its recipients"]


def test_a_file_for_the_host_and_others_is_not_told(tmp_path: Path) -> None:
    """One recipient that is the host's suffices, whatever other keys the file or the host has."""
    content = f"age:\n- recipient: {OTHER}\n- recipient: {OWN}\npgp:\n- fp: 85D77543\n"
    assert not locked(sops(tmp_path, content, ageSshKeyPaths=OF_SSH, ageKeyFile="/nonexistent"))


@pytest.mark.parametrize(
    ("content", "own", "keys"),
    [
        (
            f"age:\n- recipient: {OTHER}\npgp:\n- fp: 85D77543\n",
            OWN,
            {"ageSshKeyPaths": OF_SSH},
        ),
        (f"age:\n- recipient: {OTHER}\nkms:\n- arn: a\n", OWN, {"ageSshKeyPaths": OF_SSH}),
        (f"age:\n- recipient: {OTHER}\n", "", {"ageSshKeyPaths": OF_SSH}),
        (f"age:\n- recipient: {OTHER}\n", OWN, {"ageSshKeyPaths": ["/persist/key"]}),
        (f"age:\n- recipient: {OTHER}\n", OWN, {"ageSshKeyPaths": []}),
        (f"age:\n- recipient: {OTHER}\n", OWN, {"ageKeyFile": "/nonexistent"}),
        (f"age:\n- recipient: {OTHER}\n", OWN, {"ageKeyFile": "/nonexistent", "ageSshKeyPaths": OF_SSH}),
        ("pgp: []\n", OWN, {"ageSshKeyPaths": OF_SSH}),
        (f"age:\n- recipient: {OTHER}\n", OWN, {}),
    ],
    ids=[
        "or-pgp",
        "or-kms",
        "key-unknown",
        "another-key",
        "no-key",
        "key-file-unread",
        "or-key-file",
        "no-age",
        "no",
    ],
)
def test_what_may_decrypt_is_unknown(
    tmp_path: Path, content: str, own: str, keys: dict[str, list[str] | str]
) -> None:
    """Only where every way to decrypt a file is known, and none is this host's, is it certain."""
    (line,) = locked(sops(tmp_path, content, service=False, **keys), own)
    assert line.startswith(f"? {tmp_path}/secret.yaml: ")


def test_the_recipient_of_a_key_file_counts(tmp_path: Path) -> None:
    """age-keygen writes the recipient beside the key; a file for it can be decrypted, a file for another cannot."""
    key = tmp_path / "key.txt"
    key.write_text(f"# created: 2026-01-01\n# public key: {OWN}\nAGE-SECRET-KEY-1\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert not locked(sops(tmp_path / "a", f"age:\n- recipient: {OWN}\n", ageKeyFile=str(key)), "")
    assert len(locked(sops(tmp_path / "b", f"age:\n- recipient: {OTHER}\n", ageKeyFile=str(key)), "")) == 1


@pytest.mark.parametrize(("allowed", "status"), [("", 1), ("1", 0)])
def test_a_job_stops_at_a_locked_secret_unless_it_may_go_on(tmp_path: Path, allowed: str, status: int) -> None:
    """Nothing was changed by then; the log has each file, and so has the job's folder, for the run."""
    text = f"""
      LOCKED_SECRETS={allowed}
      locked_secrets() {{ echo "$1.age: no key"; }}
      mkdir -p "$RUN_DIR/$JOB"
      rc=0; check_secrets top || rc=$?
      echo "$rc $(cat "$RUN_DIR/$JOB/secrets")"
    """
    told = run(text, "jobs", "secrets", folder=tmp_path)
    stopped = "--- secrets\nerror: this host cannot decrypt top.age: no key\n"
    assert told == f"{stopped if status else ''}{status} top.age: no key\n"


def test_a_job_goes_on_with_secrets_that_may_decrypt(tmp_path: Path) -> None:
    """Where no secret is known to be locked, nothing is said and no stage begins."""
    text = (
        'LOCKED_SECRETS=""; locked_secrets() { echo "? a"; }; mkdir -p "$RUN_DIR/$JOB"; check_secrets top && echo on'
    )
    assert run(text, "jobs", "secrets", folder=tmp_path) == "on\n"
