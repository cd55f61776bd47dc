"""The host's script runs jobs, ends a run and observes, in whatever state it finds the host."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import ROOT, target_file
from tests.host.hands import (
    QUICK,
    ask,
    commit,
    finish,
    hold,
    inside,
    runs,
    wait_for,
)

pytestmark = pytest.mark.lab


def test_a_switch_that_is_asked_for_often_begins_once(machine: LabHost) -> None:
    """However often and however closely a run asks for its switch, there is one unit and one new generation."""
    revision = "v3" if runs(machine) != commit(machine, "v3") else "main"
    values = {"SWITCHPROOF_RUN": "insistent", "RELEASE_SHA": commit(machine, revision)}
    ask(machine, "resolve", SWITCHPROOF_CLAIM="1", **values)
    count = "readlink /nix/var/nix/profiles/system | tr -dc 0-9"
    before = int(inside(machine, count))
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: ask(machine, "converge", **values).text("outcome"), range(4)))
    assert said == ["started"] * 4
    assert finish(machine, "insistent").text("rc").strip() == "0"
    assert ask(machine, "converge", **values).text("outcome") == "started"
    assert int(inside(machine, count)) == before + 1
    log = base64.b64decode(finish(machine, "insistent").text("log")).decode()
    assert log.count("--- switch") == 1
    units = inside(machine, "systemctl list-units --all --plain --no-legend 'switchproof-insistent-*'").splitlines()
    assert len(units) == 1
    ask(machine, "confirm", **values)
    assert inside(machine, "systemctl list-units --all --plain --no-legend 'switchproof-*'") == ""


def test_a_switch_needs_a_full_commit(machine: LabHost) -> None:
    """A switch to anything but a full commit is not begun."""
    assert ask(machine, "converge", RELEASE_SHA="main").text("outcome") == "malformed"


def test_a_log_is_followed_byte_for_byte(machine: LabHost, tmp_path: Path) -> None:
    """A log that is read by offset arrives exactly, with NUL bytes and what is not UTF-8, in pieces of any size."""
    folder = "/var/lib/switchproof/runs/follow/converge"
    content = bytes(range(256)) * 2100 + b"no newline at the end"
    local = tmp_path / "log"
    local.write_bytes(content)
    inside(machine, f"mkdir -p {folder}")
    packed = base64.b64encode(content).decode()
    done = machine.run(["sh", "-c", f"base64 -d >{folder}/log; echo 0 >{folder}/rc"], timeout_s=10, input=packed)
    assert done.returncode == 0
    seen, pieces = b"", 0
    while True:
        frame = ask(machine, "status", SWITCHPROOF_RUN="follow", SWITCHPROOF_OFFSET=str(len(seen)))
        assert int(frame.text("log.size")) == len(content)
        assert frame.text("state") == "finished"
        piece = base64.b64decode(frame.text("log"))
        if not piece:
            break
        seen += piece
        pieces += 1
    assert (seen == content, pieces) == (True, 3)
    for offset in (1, 255, 256, len(content) - 1):
        frame = ask(machine, "status", SWITCHPROOF_RUN="follow", SWITCHPROOF_OFFSET=str(offset))
        assert base64.b64decode(frame.text("log")) == content[offset : offset + 262_144]


def test_a_job_that_nobody_began_is_lost(machine: LabHost) -> None:
    """Of a job that was never begun, or vanished, the status is lost: neither running nor finished."""
    frame = ask(machine, "status", SWITCHPROOF_RUN="nobody", SWITCHPROOF_WAIT_S="30")
    assert (frame.text("state"), frame.text("rc"), frame.text("log")) == ("lost", "", "")


@pytest.mark.parametrize("stage", ["build", "switch"])
@pytest.mark.long
def test_the_switch_outlives_whoever_began_it(machine: LabHost, lab: Lab, tmp_path: Path, stage: str) -> None:
    """When the runner is killed in the middle, the switch on the host goes on and ends by itself."""
    revision = "v3" if runs(machine) != commit(machine, "v3") else "main"
    targets = target_file(tmp_path, ["a"])
    arguments = ["--provider=lab", f"--sha={revision}", f"--targets={targets}", f"--report-dir={tmp_path / 'runs'}"]
    runner = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=os.environ | {"SWITCHPROOF_LAB": lab.name},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    holder = "sed -n 's/^run //p' /run/switchproof/lock/holder 2>/dev/null || true"
    wait_for(lambda: inside(machine, holder) != "", "the host is claimed")
    run = inside(machine, holder)
    folder = f"/var/lib/switchproof/runs/{run}/converge"
    wait_for(lambda: inside(machine, f"cat {folder}/stage 2>/dev/null || true") == stage, f"the {stage} began")
    runner.kill()
    runner.wait(10)
    assert inside(machine, f"ls {folder}/rc 2>/dev/null || true") == ""
    assert finish(machine, run).text("rc").strip() == "0"
    assert runs(machine) == commit(machine, revision)
    assert ask(machine, "confirm", SWITCHPROOF_RUN=run, SWITCHPROOF_KEEP="1").text("outcome") == "ok"
    (kept,) = (tmp_path / "runs").glob("2*")
    assert (kept / "events.jsonl").read_text(encoding="utf-8").endswith("}\n")


def test_confirming_gives_the_host_back(machine: LabHost) -> None:
    """A run that ends gives its own lock back, never another's, and keeps the newest twenty runs."""
    hold(machine, "ending")
    inside(machine, "cd /var/lib/switchproof/runs; for n in $(seq 25); do mkdir -p old-$n; touch -d @$n old-$n; done")
    assert ask(machine, "confirm", SWITCHPROOF_RUN="ending", SWITCHPROOF_OUTCOME="passed").text("outcome") == "ok"
    assert inside(machine, "ls /run/switchproof") == ""
    kept = inside(machine, "ls /var/lib/switchproof/runs").split()
    assert len(kept) == 20
    assert "ending" in kept
    assert not [name for name in kept if name in {"old-1", "old-2", "old-3", "old-4", "old-5"}]
    assert inside(machine, "cat /var/lib/switchproof/runs/ending/outcome") == "passed"
    hold(machine, "other")
    assert ask(machine, "confirm", SWITCHPROOF_RUN="ending").text("outcome") == "ok"
    assert "run other" in inside(machine, "cat /run/switchproof/lock/holder")


def test_a_running_job_keeps_the_host(machine: LabHost) -> None:
    """A run whose switch is still going on cannot give the host back."""
    hold(machine, "busy")
    inside(machine, "mkdir -p /var/lib/switchproof/runs/busy/converge")
    inside(machine, "systemd-run -q --no-block --unit=switchproof-busy-converge --service-type=oneshot sleep 60")
    try:
        assert ask(machine, "confirm", SWITCHPROOF_RUN="busy").text("outcome") == "busy"
        assert "run busy" in inside(machine, "cat /run/switchproof/lock/holder")
    finally:
        inside(machine, "systemctl stop switchproof-busy-converge; systemctl reset-failed switchproof-busy-converge")


def test_looking_writes_nothing(machine: LabHost) -> None:
    """`observe`, `diagnose` and `status` write no file on the host and change no unit and no lock."""
    # What SQLite keeps for those who read Nix's database at the same time is its own affair.
    listing = r"""
      find /etc /var/lib /var/cache /nix/var /root /opt /srv /boot /home /usr /nix/store -xdev -maxdepth 9 \
        -path /var/lib/systemd -prune -o -path '/nix/store/*/*' -prune -o -name 'db.sqlite-*' -o \
        -printf '%p %y %m %s %T@ %C@ %l\n' | sort
      find /run -xdev -path /run/systemd -prune -o -path /run/log -prune -o -path /run/udev -prune -o \
        -path '/run/hand*' -prune -o -type f -printf '%p %s %T@\n' | sort
      systemctl show -p Id,MainPID,InvocationID,NRestarts,ActiveState '*.service'
      ls -A /tmp /var/tmp
    """
    hold(machine, "somebody")
    ask(machine, "observe", **QUICK)
    before = inside(machine, listing)
    for verb in ("observe", "diagnose", "status"):
        ask(machine, verb, **QUICK)
    assert inside(machine, listing) == before


def test_diagnostics_have_all_their_parts(machine: LabHost) -> None:
    """Diagnostics hold state, properties and journal of each unit, also of failed ones, sockets and the rest."""
    inside(machine, "systemd-run -q --unit=stranger bash -c 'yes trouble | head -c 400000; exit 3' || true")
    wait_for(lambda: "failed" in machine.run(["systemctl", "is-active", "stranger"], timeout_s=5).stdout, "it failed")
    inspect = "echo one; exit 3\x1eprintf '%s' \"two words\"; sleep 0; echo err >&2"
    url = "http://127.0.0.1:9090/login"
    fields = ("web", "hypervisor.service", "127.0.0.1:9090", "hypervisor.service", url, "200", "", "", inspect)
    endpoint = "\x1f".join(fields)
    try:
        parts = ask(machine, "diagnose", SWITCHPROOF_ENDPOINTS=endpoint).sections
    finally:
        inside(machine, "systemctl reset-failed stranger")
    for unit in ("hypervisor.service", "stranger.service"):
        assert unit.encode() in parts[f"status/{unit}"]
        assert b"ActiveState=" in parts[f"show/{unit}"]
        assert parts[f"journal/{unit}"].strip()
    assert b"ActiveState=failed" in parts["show/stranger.service"]
    journal = parts["journal/stranger.service"]
    assert re.match(rb"\[what came before these \d+ bytes is left out\]\n", journal)
    assert len(journal) < 263_000
    assert b"127.0.0.1:9090" in parts["sockets"]
    assert b"stranger.service" in parts["failed-units"]
    assert b"system-1-link" in parts["generations"]
    for name in ("disk", "memory", "kernel", "switch-journal"):
        assert name in parts
    assert parts["inside/web.1"] == b"$ echo one; exit 3\none"
    assert parts["inside/web.2"].endswith(b"two wordserr")
