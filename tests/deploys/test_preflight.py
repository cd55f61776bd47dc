"""What a host lacks is told before a deploy begins anything there, and by a preflight alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.contract import Verdict
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import HEALTH, Ended, session, target_file
from tests.labs import own

pytestmark = [pytest.mark.lab, pytest.mark.long]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host."""
    with Lab.up(("a",), name=own("preflight"), runtime="netns") as lab:
        yield lab


@pytest.mark.parametrize("mode", ["deploy", "plan"])
def test_a_host_without_room_is_refused_with_all_that_it_lacks(lab: Lab, tmp_path: Path, mode: str) -> None:
    """One sentence names the places; the host builds nothing, runs what it ran and is free again."""
    much = "".join(f"{what}_mib = 1000000000\n" for what in ("store", "var", "memory"))
    limits = f'[preflight]\nrefuse = ["store", "var", "memory"]\n{much}'
    targets = target_file(tmp_path, ["a"], f"{HEALTH}\n{limits}")
    words = ["--plan"] if mode == "plan" else []
    host = lab.hosts["a"]
    before = host.run(["readlink", "/run/current-system"], timeout_s=30).stdout
    ended = session("--provider=lab", f"--targets={targets}", "--sha=main", *words, runs=tmp_path / "runs", lab=lab)
    assert ended.status == 4, ended.output
    for lack in ("MiB are free for /nix/store", "MiB are free for /var/lib", "MiB of memory and swap are available"):
        assert lack in " ".join(ended.output.split())
    assert "nothing was touched: a host cannot be deployed to" in ended.output
    assert host.run(["readlink", "/run/current-system"], timeout_s=30).stdout == before
    assert host.run(["sh", "-c", "ls -d /run/switchproof/lock"], timeout_s=30).returncode != 0


TRACES = (
    "find /run/switchproof /var/lib/switchproof /etc/systemd/system.control /nix/var/nix/gcroots "
    "/nix/var/nix/profiles -printf '%p %T@ %l\\n' 2>&1 | sort; readlink /run/current-system"
)
"""Prints every file on a host that a deploy might write, with its time."""


def preflight(lab: Lab, tmp_path: Path, limits: str = "") -> Ended:
    """Run a preflight alone, and show that it left every trace of deploys on the host as it was."""
    targets = target_file(tmp_path, ["a"], f"{HEALTH}\n[preflight]\n{limits}")
    before = lab.hosts["a"].run(["sh", "-c", TRACES], timeout_s=30).stdout
    ended = session("--provider=lab", f"--targets={targets}", "--preflight", runs=tmp_path / "runs", lab=lab)
    assert lab.hosts["a"].run(["sh", "-c", TRACES], timeout_s=30).stdout == before
    return ended


def test_a_preflight_of_a_ready_host_says_ready(lab: Lab, tmp_path: Path) -> None:
    """It ends with 0, claims no proof and leaves nothing on the host."""
    ended = preflight(lab, tmp_path)
    assert ended.status == 0, ended.output
    assert "READY  preflight, 1 host of lab" in ended.output
    record = ended.record
    assert (record.run.mode, record.verdict.accepted) == ("preflight", False)
    (host,) = record.hosts
    verdicts = {check.id: check.verdict for clause in host.clauses for check in clause.checks}
    assert set(verdicts.values()) == {Verdict.PASSED}
    assert len(verdicts) == 9
    assert [(phase.phase, phase.questions) for phase in host.phases] == [("connect", 0), ("preflight", 1)]


def test_a_preflight_tells_all_findings_at_once(lab: Lab, tmp_path: Path) -> None:
    """Room, nix, a lock and a failed unit are each told; what would end a deploy with 4 or 75 makes it 1."""
    host = lab.hosts["a"]
    begin = (
        "mkdir -p /run/nixos && systemd-run --quiet --unit=wc-switch flock /run/nixos/switch-to-configuration.lock "
        "sh -c 'touch /run/nixos/wc-held; exec sleep infinity'; "
        "systemd-run --quiet --wait --unit=wc-broken false; "
        "timeout 20 sh -c 'until [ -e /run/nixos/wc-held ]; do sleep 0.05; done'"
    )
    assert host.run(["sh", "-c", begin], timeout_s=60).returncode == 0
    try:
        ended = preflight(lab, tmp_path, 'refuse = ["store", "nix"]\nstore_mib = 1000000000\nnix = "99"\n')
    finally:
        end = "systemctl stop wc-switch; systemctl reset-failed wc-broken; rm -f /run/nixos/wc-held"
        host.run(["sh", "-c", end], timeout_s=60)
    assert ended.status == 1, ended.output
    output = " ".join(ended.output.partition("UNREADY  preflight")[2].split())
    for found in (
        "MiB are free for /nix/store",
        "at least 99 is needed",
        "the host is locked: /run/nixos/switch-to-configuration.lock is held by process",
        "a: Before this run, units have failed already: wc-broken.service.",
        "Exit 1: unready: a deploy would be refused; nothing was changed",
    ):
        assert found in output, ended.output


LOCKED = """
# The lines of agenix's activation script that matter, with a program in place of age that has no key.
decrypting() {
    for identity in /etc/ssh/ssh_host_ed25519_key; do
      test -r "$identity" || continue
    done
    LANG=C /root/age --decrypt "${IDENTITIES[@]}" -o "$TMP_FILE" "/root/secret.age"
}
"""
AGE = "echo 'age: error: no identity matched any of the recipients' >&2; exit 1"


def commit_with_secret(lab: Lab, folder: Path) -> str:
    """Push a commit of the sample whose activation script would decrypt a secret; return it."""
    env = {
        **os.environ,
        **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, env=env, check=True, text=True, capture_output=True).stdout

    git("clone", "--quiet", "--branch=main", str(lab.repository), "clone")
    folder /= "clone"
    script = folder / "system" / "activate.sh"
    head, _, rest = script.read_text().partition("state() {")
    script.write_text(f"{head}{LOCKED}\nstate() {{{rest}")
    git("commit", "--quiet", "--all", "--message=Decrypt a secret")
    git("push", "--quiet", "--force", "origin", "HEAD:refs/heads/with-secret")
    return git("rev-parse", "HEAD").strip()


@pytest.mark.parametrize("refuse", ['["secrets"]', "[]"])
def test_a_system_whose_secrets_do_not_decrypt_is_not_switched_to(lab: Lab, tmp_path: Path, refuse: str) -> None:
    """The deploy fails after the build, and the host is untouched; if the finding only warns, the deploy goes on."""
    sha = commit_with_secret(lab, tmp_path)
    host = lab.hosts["a"]
    prepare = f"printf '#!/bin/sh\\n%s\\n' \"{AGE}\" >/root/age; chmod +x /root/age; readlink /run/current-system"
    before = host.run(["sh", "-c", prepare], timeout_s=30).stdout
    targets = target_file(tmp_path, ["a"], f"{HEALTH}\n[preflight]\nrefuse = {refuse}\n")
    ended = session("--provider=lab", f"--targets={targets}", f"--sha={sha}", runs=tmp_path / "runs", lab=lab)
    output = " ".join(ended.output.split())
    cannot = "cannot decrypt /root/secret.age: age: error: no identity matched any of the recipients"
    assert cannot in output, ended.output
    switched = host.run(["readlink", "/run/current-system"], timeout_s=30).stdout != before
    if refuse == "[]":
        assert (ended.status, switched) == (0, True), ended.output
        assert preflight(lab, tmp_path, 'refuse = ["secrets"]\n').status == 1
    else:
        assert (ended.status, switched) == (1, False), ended.output
        assert "the host cannot decrypt secrets of the system; it was not touched" in output
