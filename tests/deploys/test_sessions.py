"""What a deploy session does beside its verdict on one host: fleets, refusals, audits, plans, interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, HostState, RunVerdict, Verdict
from switchproof.deploy.providers.lab.host import LabHost
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import HEALTH, LONGEST_S, ROOT, session, target_file

pytestmark = pytest.mark.lab


def digest(host: LabHost) -> str:
    """What a deploy could change on a host: system, profile, units' processes, files, store, boot default."""
    script = r"""
      readlink -e /run/current-system /nix/var/nix/profiles/system; ls -l /nix/var/nix/profiles /boot/loader
      systemctl show -p Id,MainPID,InvocationID,NRestarts 'hypervisor.service' '*@live.service' '*@dev.service'
      find /etc /root /opt /boot /srv /var/lib/switchproof /nix/var/nix/profiles -xdev -printf '%p %y %s %T@ %l\n'
      ls /nix/store; nix-store --dump-db | sha256sum
      systemctl list-units --failed --plain --no-legend; ls -A /run/switchproof
    """
    return host.run(["sh", "-c", script], timeout_s=30).stdout


def test_an_audit_changes_nothing(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """A clean audit is canonical, says which commit runs, and leaves everything on the host as it was."""
    targets = target_file(tmp_path, ["a"])
    before = digest(lab.hosts["a"])
    ended = session("--provider=lab", "--audit", f"--targets={targets}", runs=runs, lab=lab)
    assert ended.status == 0, ended.output
    assert digest(lab.hosts["a"]) == before
    assert ended.record.verdict is RunVerdict.CANONICAL
    host = ended.record.host("a")
    assert host.state is HostState.FOUND_HEALTHY
    assert [phase.phase for phase in host.phases] == ["connect", "observe"]


def test_a_unit_that_has_long_been_silent_is_not_held_against_the_host(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """Where the journal of a healthy, silent unit has been rotated away, an audit is canonical all the same."""
    host = lab.hosts["a"]
    host.run(["journalctl", "--rotate", "--vacuum-time=1us"], timeout_s=30)
    assert host.run(["journalctl", "-q", "-u", "socat-sandbox@live.service"], timeout_s=30).stdout == ""
    targets = target_file(tmp_path, ["a"])
    ended = session("--provider=lab", "--audit", f"--targets={targets}", runs=runs, lab=lab)
    assert ended.status == 0, ended.output


def test_an_audit_for_another_commit_fails(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """An audit that asks for a commit which the host does not run fails at `converge`, and touches nothing."""
    targets = target_file(tmp_path, ["a"])
    before = digest(lab.hosts["a"])
    ended = session("--provider=lab", "--audit", "--sha=v3", f"--targets={targets}", runs=runs, lab=lab)
    assert ended.status == 1, ended.output
    assert ended.clause("a", Clause.CONVERGE).verdict is Verdict.FAILED
    assert ended.record.host("a").state is HostState.FOUND_UNHEALTHY
    assert digest(lab.hosts["a"]) == before


def test_an_audit_of_a_broken_host_fails(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """An audit finds a workload that died behind a listening forward, with the diagnostics of that moment."""
    lab.hosts["a"].run(["systemctl", "stop", "cloud-hypervisor@dev.service"], timeout_s=30)
    try:
        targets = target_file(tmp_path, ["a"])
        ended = session("--provider=lab", "--audit", f"--targets={targets}", runs=runs, lab=lab)
    finally:
        lab.hosts["a"].run(["systemctl", "start", "cloud-hypervisor@dev.service"], timeout_s=30)
    assert ended.status == 1, ended.output
    assert ended.verdicts("a") == "passed passed passed failed passed"
    assert {check.id.rpartition("/")[0] for check in ended.failed("a")} == {"runtime/dev"}
    assert "Stopped" in ended.evidence("a")["diagnostics/journal/cloud-hypervisor@dev.service.txt"]


def test_a_plan_says_what_would_change(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """A plan names the units that would be restarted; system, profile and processes stay."""
    targets = target_file(tmp_path, ["a"])
    script = "readlink -e /run/current-system /nix/var/nix/profiles/system; systemctl show -P MainPID hypervisor"
    before = lab.hosts["a"].run(["sh", "-c", script], timeout_s=30).stdout
    ended = session("--provider=lab", "--plan", "--sha=v3", f"--targets={targets}", runs=runs, lab=lab)
    assert ended.status == 0, ended.output
    (check,) = ended.clause("a", Clause.CONVERGE).checks
    assert "would restart the following units" in check.seen or "would stop the following units" in check.seen
    assert "hypervisor.service" in check.seen
    assert "derivations to build: " in check.seen
    assert "MiB, the running one " in check.seen
    assert check.seen.endswith("no reboot would be needed")
    assert lab.hosts["a"].run(["sh", "-c", script], timeout_s=30).stdout == before


def test_two_hosts_of_which_one_fails(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """One host of two that fails makes the run non-canonical; the other's own verdict and state stay true."""
    mask = ["systemctl", "mask", "--runtime", "--now", "socat-sandbox@dev.service"]
    lab.hosts["b"].run(mask, timeout_s=30)
    try:
        targets = target_file(tmp_path, ["a", "b"])
        ended = session(
            "--provider=lab", "--sha=main", "--on-failure=keep", f"--targets={targets}", runs=runs, lab=lab
        )
    finally:
        lab.hosts["b"].run(["systemctl", "unmask", "--runtime", "socat-sandbox@dev.service"], timeout_s=30)
        lab.hosts["b"].run(["systemctl", "start", "socat-sandbox@dev.service"], timeout_s=30)
    assert ended.status == 10, ended.output
    assert ended.record.verdict is RunVerdict.NON_CANONICAL
    assert ended.record.host("a").state is HostState.CONVERGED
    assert ended.record.host("b").state is HostState.UNSAFE
    assert ended.record.host("b").rollback is None
    assert {check.id.rpartition("/")[0] for check in ended.failed("b")} == {"runtime/dev"}


@pytest.mark.parametrize("ref", ["heads/both", "tags/both"])
@pytest.mark.long
def test_a_full_name_ends_the_ambiguity(lab: Lab, runs: Path, tmp_path: Path, ref: str) -> None:
    """A name that is a branch and a tag with different commits resolves once it says which of them is meant."""
    targets = target_file(tmp_path, ["h1"])
    ended = session("--provider=lab", "--plan", f"--sha={ref}", f"--targets={targets}", runs=runs, lab=lab)
    assert ended.status == 0, ended.output


@pytest.mark.parametrize(("sha", "says"), [("both", "ambiguous"), ("no-such-branch", "no commit, branch or tag")])
@pytest.mark.long
def test_a_revision_that_cannot_be_had_is_refused(lab: Lab, runs: Path, tmp_path: Path, sha: str, says: str) -> None:
    """An ambiguous or missing revision exits 4 with its own message, and the hosts are unchanged."""
    targets = target_file(tmp_path, ["a", "b"])
    ended = session("--provider=lab", f"--sha={sha}", f"--targets={targets}", runs=runs, lab=lab)
    assert ended.status == 4, ended.output
    assert says in ended.clause("a", Clause.REVISION).checks[0].message
    assert {host.state for host in ended.record.hosts} == {HostState.UNCHANGED}


def test_a_partial_run_is_never_canonical(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """With checks deselected a healthy host's run is inconclusive, and what was left out is named."""
    targets = target_file(tmp_path, ["a"])
    ended = session("--provider=lab", "--audit", "-k", "not live", f"--targets={targets}", runs=runs, lab=lab)
    assert ended.status == 11, ended.output
    assert ended.record.verdict is RunVerdict.INCONCLUSIVE
    missing = [check for check in ended.clause("a", Clause.RUNTIME).checks if check.verdict == "inconclusive"]
    assert missing
    assert all("live" in check.id for check in missing)


def test_an_unreachable_host_holds_up_all(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """When one of two hosts cannot be reached nothing is begun on the other, and the run is inconclusive."""
    lab.hosts["b"].run(["systemctl", "stop", "ssh.service"], timeout_s=30)
    before = digest(lab.hosts["a"])
    try:
        targets = target_file(tmp_path, ["a", "b"])
        ended = session("--provider=lab", "--sha=v3", f"--targets={targets}", runs=runs, lab=lab)
    finally:
        lab.hosts["b"].run(["systemctl", "start", "ssh.service"], timeout_s=30)
    assert ended.status == 11, ended.output
    assert {host.state for host in ended.record.hosts} == {HostState.UNCHANGED}
    assert digest(lab.hosts["a"]) == before


@pytest.mark.long
def test_a_unit_that_had_failed_before_fails_nothing(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """A unit outside the contract that keeps failing since before the deploy is noted, and the run is canonical."""
    host = lab.hosts["h2"]
    unit = "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=60\n[Unit]\nStartLimitIntervalSec=0\n"
    host.run(["sh", "-c", f"printf '%b' '{unit}' >/run/systemd/system/old-trouble.service"], timeout_s=30)
    host.run(["sh", "-c", "systemctl daemon-reload; systemctl start old-trouble.service"], timeout_s=30)
    try:
        targets = target_file(tmp_path, ["h2"])
        ended = session("--provider=lab", "--sha=v3", f"--targets={targets}", runs=runs, lab=lab)
    finally:
        host.run(["sh", "-c", "systemctl stop old-trouble; rm /run/systemd/system/old-trouble.service"], timeout_s=30)
    assert ended.status == 0, ended.output
    noted = [check for check in ended.clause("h2", Clause.CONVERGE).checks if "old-trouble.service" in check.seen]
    assert noted


def test_junit_and_events_agree_with_the_record(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """JUnit counts every check of the record, and every line of the journal is one event."""
    targets = target_file(tmp_path, ["a"])
    ended = session("--provider=lab", "--audit", f"--targets={targets}", runs=runs, lab=lab)
    checks = [check for clause in ended.record.host("a").clauses for check in clause.checks]
    suites = ET.parse(ended.folder / "junit.xml").getroot()  # noqa: S314 - our own file
    assert len(suites.findall(".//testcase")) == len(checks)
    events = [json.loads(line) for line in (ended.folder / "events.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "run_started"
    assert events[-1]["event"] == "run_finished"


@pytest.mark.parametrize(
    ("number", "stage"), [(signal.SIGINT, "build"), (signal.SIGTERM, "switch"), (signal.SIGINT, "rollback")]
)
@pytest.mark.long
def test_an_interrupted_run_leaves_the_host_safe(
    lab: Lab, runs: Path, tmp_path: Path, number: signal.Signals, stage: str
) -> None:
    """Interrupted at any phase, a deploy brings the host back, verifies that, leaves a record and gives it free."""
    host = lab.hosts["h3"]
    targets = target_file(tmp_path, ["h3"], HEALTH.replace("ready_s = 5.0", "ready_s = 60.0"))
    was = host.run(["readlink", "-e", "/run/current-system"], timeout_s=30).stdout
    # The way back of the one begins while a person still looks at it; the other is waited for meanwhile.
    revision = "broken/hypervisor-500" if stage == "rollback" else "broken/live-degraded"
    arguments = ["--provider=lab", f"--sha={revision}", f"--targets={targets}", f"--report-dir={runs}"]
    process = subprocess.Popen(
        # What a shell begins in the background ignores SIGINT, and so would all that these tests begin.
        ["env", "--default-signal=INT", sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=os.environ | {"SWITCHPROOF_LAB": lab.name},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not _has_reached(host, runs, stage):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        output, _ = process.communicate(timeout=LONGEST_S)
    finally:
        process.kill()
    (folder,) = runs.glob("2*")
    record = json.loads((folder / "record.json").read_text())
    assert record["run"]["interrupted"]
    assert record["verdict"] != "canonical"
    assert record["hosts"][0]["state"] in {"rolled-back", "unchanged"}, output
    assert process.returncode == 2, output
    assert (folder / "report.html").exists()
    assert host.run(["readlink", "-e", "/run/current-system"], timeout_s=30).stdout == was
    assert host.run(["ls", "/run/switchproof"], timeout_s=30).stdout.strip() == ""


@pytest.mark.long
def test_a_run_that_ends_among_confirmations_knows_every_host(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """Ended after the first host's confirmation is judged, a run judges those of all that confirmed beside it."""
    plugin = """
def pytest_sessionstart(session):
    global run
    run = session

def pytest_runtest_logfinish(nodeid):
    if "keeps_the_system" in nodeid:
        run.shouldstop = "enough"
"""
    (tmp_path / "enough.py").write_text(plugin)
    targets = target_file(tmp_path, ["h1", "h2"])
    ended = session(
        *("--provider=lab", "--sha=v3", f"--targets={targets}", "-p", "enough"),
        runs=runs,
        lab=lab,
        environ={"PYTHONPATH": str(tmp_path)},
    )
    assert "Interrupted: enough" in ended.output
    assert [host.state for host in ended.record.hosts] == [HostState.CONVERGED] * 2, ended.output
    assert [host.verdict for host in ended.record.hosts] == [Verdict.PASSED] * 2


def test_a_lost_connection_is_neither_success_nor_failure(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """Cut off in the middle, a deploy connects again, follows its own run to the end, and says so."""
    host = lab.hosts["h4"]
    targets = target_file(tmp_path, ["h4"])
    since = int(time.time())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(session, "--provider=lab", "--sha=v3", f"--targets={targets}", runs=runs, lab=lab)
        while not _has_reached(host, runs, "switch"):
            assert not running.done(), running.result()
            time.sleep(0.02)
        host.run(["pkill", "-KILL", "-f", "^sshd-session: root"], timeout_s=30)
        ended = running.result()
    assert ended.status == 0, ended.output
    assert any("connection was lost" in note for note in ended.record.host("h4").notes)
    said = host.run(["journalctl", "-q", "-o", "cat", "-t", "nixos", f"--since=@{since}"], timeout_s=30).stdout
    assert len([line for line in said.splitlines() if line.startswith("switching to system configuration")]) == 1


def _has_reached(host: LabHost, runs: Path, stage: str) -> bool:
    """Whether the one run below `runs` has come to a stage of its switch, by what the host says."""
    for events in runs.glob("*/events.jsonl"):
        files = f"/var/lib/switchproof/runs/{events.parent.name}/*/stage"
        return stage in host.run(["sh", "-c", f"cat {files}"], timeout_s=30).stdout.split()
    return False


def test_a_refused_run_leaves_a_record(lab: Lab, runs: Path, tmp_path: Path) -> None:
    """A run that cannot have its hosts exits 4 with a record in which nothing was touched."""
    targets = target_file(tmp_path, ["no-such-host"])
    ended = session("--provider=lab", "--sha=main", f"--targets={targets}", runs=runs, lab=lab)
    assert ended.status == 4, ended.output
    assert "no host no-such-host" in ended.output
    assert ended.record.verdict is RunVerdict.INCONCLUSIVE
    assert ended.record.host("no-such-host").state is HostState.UNCHANGED


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--provider=nowhere", "--sha=main"], "no such target file"),
        (["--provider=lab"], "--sha=REV is missing"),
        (["--provider=lab", "--sha=a b"], "neither a commit"),
        (["--provider=lab", "--sha=main", "--host=zz"], "selects no host"),
        (["--provider=lab", "--sha=main", "--targets=missing.toml"], "missing.toml: no such target file"),
        (["--provider=ovh", "--sha=main", "--host=b"], "OVH_NODE_B_HOST"),
        (["--provider", "ovh", "--sha", "main", "--host", "b"], "OVH_NODE_B_HOST"),
        (["--sha=main"], "--provider=P is missing"),
        (["checks"], "--provider=P"),
    ],
)
def test_bad_input_is_one_sentence(runs: Path, arguments: list[str], says: str) -> None:
    """A wrong option exits 4 at once, names what is wrong, shows no traceback and makes no folder."""
    environ = {"DEPLOY_REPO_URL": "https://example.org/choiros.git"}
    ended = session(*arguments, runs=runs, environ=environ)
    assert ended.status == 4, ended.output
    assert says in ended.output
    assert "Traceback" not in ended.output
    assert not runs.exists()
