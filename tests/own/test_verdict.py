"""The exit code is the run's verdict, whatever happens to the terminal or to the disk of the report."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from switchproof.deploy.contract import ExitCode, HostState, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.events import Noted
from switchproof.deploy.record.journal import Journal, read_events
from switchproof.deploy.record.room import Room
from switchproof.deploy.redact.redactor import Redactor
from tests.answers import SHA
from tests.own.sessions import (
    Breaking,
    Delivered,
    Filling,
    GivenUp,
    Impostor,
    Keyless,
    LockedOut,
    Scenario,
    Signalled,
    Unknowing,
    Unready,
    Waiting,
    run_alone,
)
from tests.run.hosts import Host

BAD = Scenario(status="ill")


@pytest.mark.parametrize(
    ("around", "scenario", "code"),
    [
        ("{} | head -n 3", BAD, ExitCode.UNSAFE),
        ("{} 2>&1 | true", Scenario(), ExitCode.CANONICAL),
        ("{} >/dev/full 2>/dev/full", Scenario(), ExitCode.CANONICAL),
        ("{} >&- 2>&-", BAD, ExitCode.UNSAFE),
    ],
    ids=["the reader goes away", "there is no reader", "full", "closed"],
)
def test_a_broken_terminal_changes_nothing(around: str, scenario: Scenario, code: ExitCode, tmp_path: Path) -> None:
    """The process exits with the record's code, and the report is whole, with no terminal to show anything on."""
    ended = run_alone(tmp_path / "run", scenario, around=around)
    assert ended.status == ended.record.run.exit_code == code, ended.output
    assert (ended.folder / "report.html").exists()
    assert "Traceback" not in ended.output


def test_what_was_not_watched_to_its_end_neither_passes_nor_fails(tmp_path: Path) -> None:
    """Where live is given up, what the hypervisor lacks at that moment is blocked, and the checks of live fail."""
    ended = run_alone(tmp_path / "run", Scenario(), kind=GivenUp)
    assert ended.status == ExitCode.SAFE_FAILURE, ended.output
    host = ended.record.host("a")
    found = {check.id: check for clause in host.clauses for check in clause.checks}
    for name in ("it-answers-as-it-should", "it-stays-healthy"):
        check = found[f"hypervisor/{name}"]
        assert check.verdict is Verdict.BLOCKED
        assert check.message == "blocked: not watched to its end, because the host gave up on live first"
    assert found["hypervisor/its-units-are-active"].verdict is Verdict.PASSED
    answers = found["runtime/live/it-answers-as-it-should"]
    assert answers.verdict is Verdict.FAILED
    assert (
        "given up after 4 s: answered 5 times in a row with HTTP 500; waiting will not change that" in answers.message
    )
    assert host.state is HostState.ROLLED_BACK


def test_a_host_that_lets_no_new_connection_in_goes_back(tmp_path: Path) -> None:
    """The check says so in its own words, nothing confirms the system, and the host is back and verified."""
    ended = run_alone(tmp_path / "run", Scenario(waivers="[converge]\nreconnect_s = 0.5\n"), kind=LockedOut)
    assert ended.status == ExitCode.SAFE_FAILURE, ended.output
    host = ended.record.host("a")
    failed = [check for clause in host.clauses for check in clause.checks if check.verdict is Verdict.FAILED]
    assert [check.id for check in failed] == ["converge/the-host-lets-a-new-connection-in"]
    assert failed[0].message.startswith("no new connection was accepted within 0.5 s after the switch: a: connect")
    assert host.state is HostState.ROLLED_BACK


def test_nothing_is_claimed_of_a_connection_that_was_not_tried(tmp_path: Path) -> None:
    """Where no new SSH connection is tried, the check says so, and what shows that the host is reached."""
    ended = run_alone(tmp_path / "run", Scenario(), kind=Delivered)
    assert ended.status == ExitCode.CANONICAL, ended.output
    checks = {check.id: check for clause in ended.record.host("a").clauses for check in clause.checks}
    assert checks["converge/the-host-lets-a-new-connection-in"].seen == (
        "not tried: every question reaches the host separately (ssm), and these did"
    )


def test_a_closed_terminal_ends_the_run_in_order(tmp_path: Path) -> None:
    """SIGHUP in the middle of a switch brings the host back, as SIGTERM does."""
    ended = run_alone(tmp_path / "run", Scenario(), kind=Signalled)
    assert ended.status == ExitCode.INTERRUPTED, ended.output
    assert ended.record.run.interrupted == "ended by SIGHUP"
    last = "No host needs help now. To do what was interrupted, run the same command again."
    assert ended.output.splitlines()[-1] == last
    assert ended.record.host("a").state is HostState.ROLLED_BACK


def test_durations_blame_phases_and_no_check(tmp_path: Path) -> None:
    """With `--durations` the slowest phases are named, as a check only happens to be the first to need one."""
    ended = run_alone(tmp_path / "run", Scenario(options=(f"--sha={SHA}", "--durations=2")))
    assert ended.status == ExitCode.CANONICAL, ended.output
    _, _, shown = ended.output.partition("\nslowest 2 phases:\n")
    rows = [line.split() for line in shown.splitlines()[:3]]
    phases = {phase.phase for phase in ended.record.host("a").phases}
    assert [row[2] for row in rows[:2]] == ["a", "a"]
    assert {row[3] for row in rows[:2]} <= phases
    assert rows[2] == []
    assert len(rows[0]) == len(rows[1]) == 4


def test_a_run_that_ignores_sighup_goes_on(tmp_path: Path) -> None:
    """Under nohup the signal of a closed terminal ends nothing."""
    ended = run_alone(tmp_path / "run", Scenario(), kind=Signalled, around="nohup {}")
    assert ended.status == ExitCode.CANONICAL, ended.output


@pytest.mark.parametrize(
    ("status", "code", "state"), [("healthy", 11, "converged"), ("ill", 10, "unsafe")], ids=["good", "bad"]
)
def test_a_disk_that_fills_up_leaves_no_host_alone(status: str, code: int, state: str, tmp_path: Path) -> None:
    """The host is confirmed or brought back as ever; the terminal says what happened; nothing is proven."""
    ended = run_alone(tmp_path / "run", Scenario(status=status), kind=Filling)
    assert ended.status == code, ended.output
    assert f"a is {state}" in ended.output
    assert "Report: incomplete" in ended.output
    assert "CANONICAL  deploy" not in ended.output.replace("NON-CANONICAL", "")
    assert "Traceback" not in ended.output
    assert "INTERNALERROR" not in ended.output


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        (Unknowing, "the revision cannot be used"),
        (Unready, "a host cannot be deployed to"),
        (Impostor, "the key of a host is not the pinned one"),
    ],
    ids=["revision", "host", "host-key"],
)
def test_exit_4_names_the_one_cause_that_it_was(kind: type[Host], refused: str, tmp_path: Path) -> None:
    """The record and the terminal say which kind of thing was refused, and no other."""
    ended = run_alone(tmp_path / "run", Scenario(), kind=kind)
    assert ended.status == ExitCode.USAGE, ended.output
    refusal = ended.record.run.refusal
    assert refusal is not None
    assert refusal.kind == refused
    assert f"Exit 4: nothing was touched: {refused}\n" in ended.output


@pytest.mark.parametrize("option", [f"--sha={SHA}", "--audit"], ids=["deploy", "audit"])
def test_a_kernel_that_waits_for_a_reboot_is_told_everywhere(option: str, tmp_path: Path) -> None:
    """It fails nothing, and the warning with both kernels stands in terminal, record and report."""
    ended = run_alone(tmp_path / "run", Scenario(options=(option,)), kind=Waiting)
    warning = "A reboot is needed before this system's kernel is in use (booted: 6.12.1, configured: 6.12.2)."
    assert ended.record.host("a").warnings == [warning]
    assert f"a: {warning}" in " ".join(ended.output.partition("host  ")[2].split())
    assert "kernel is in use (booted: 6.12.1, configured: 6.12.2)" in (ended.folder / "report.html").read_text()
    states = [check.verdict for part in ended.record.host("a").clauses for check in part.checks]
    assert set(states) == {Verdict.PASSED}, ended.output


def test_a_unit_that_failed_beside_the_contract_has_its_say(tmp_path: Path) -> None:
    """The message of the failed check ends with the last words of that unit, and the first sentence names it."""
    ended = run_alone(tmp_path / "run", Scenario(), kind=Breaking)
    assert ended.status == ExitCode.SAFE_FAILURE, ended.output
    checks = [check for part in ended.record.host("a").clauses for check in part.checks]
    (message,) = (check.message for check in checks if check.verdict is Verdict.FAILED)
    assert message.startswith("failed since the deploy began: backup.service")
    assert message.endswith("\n  repository is locked by pid 7")
    assert "the last words of backup.service:" in message
    shown = ended.output.partition("NON-CANONICAL")[2].partition("host  ")[0]
    assert "the last words of backup.service:" in shown
    assert "\n  repository is locked by pid 7\n" in shown
    assert f"Read: {ended.folder}/evidence/a/diagnostics/journal/backup.service.txt\n" in shown


def test_no_place_for_the_report_touches_nothing(tmp_path: Path) -> None:
    """A report folder that cannot be written ends with 4, in words, before anything is touched."""
    (tmp_path / "file").touch()
    ended = run_alone(tmp_path / "run", Scenario(options=("--audit", f"--report-dir={tmp_path / 'file' / 'runs'}")))
    assert ended.status == ExitCode.USAGE, ended.output
    assert "nothing was touched, because no report can be written in" in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    ("parent", "size", "says"), [("/proc/1", 1, "name another folder"), ("", 1 << 60, "free space there")]
)
def test_room_is_taken_or_refused(parent: str, size: int, says: str, tmp_path: Path) -> None:
    """The refusal says whether room is short or the folder is impossible, and leaves no folder."""
    folder = Path(parent or tmp_path) / "run"
    with pytest.raises(UsageError, match=says):
        Room(folder, size)
    assert not folder.exists()


def test_canonical_and_not_signed_as_asked_is_a_code_of_its_own(tmp_path: Path) -> None:
    """A run that could not be signed ends with 12, in record and terminal, and its host keeps the system."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=20)
    signed = Scenario(options=(f"--sha={SHA}", f"--sign-key={key}"))
    ended = run_alone(tmp_path / "run", signed, kind=Keyless)
    assert ended.status == ended.record.run.exit_code == ExitCode.UNSIGNED, ended.output
    assert ended.record.host("a").state is HostState.CONVERGED
    assert "Exit 12: canonical, but not signed as asked" in ended.output
    assert "WARNING: the run is not signed:" in ended.output
    assert not (ended.folder / "statement.json").exists()


class _Spent(Room):
    """Room whose release frees a disk that is full."""

    def __init__(self, folder: Path, full: list[bool]) -> None:
        super().__init__(folder, 4096)
        self._full = full

    def release(self) -> bool:
        self._full.clear()
        return super().release()


@pytest.mark.parametrize("frees", [True, False])
def test_events_outlive_a_full_disk(frees: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept room is used once the disk is full; without any, the journal says what is missing and raises nothing."""
    full: list[bool] = []
    journal = Journal(tmp_path, Redactor(), _Spent(tmp_path, full) if frees else None)
    write = Journal._write_evidence

    def broken(self: Journal, target: Path, body: bytes) -> None:
        if full and not (self._room and self._room.release()):
            raise OSError(28, "No space left on device")
        write(self, target, body)

    monkeypatch.setattr(Journal, "_write_evidence", broken)
    full.append(True)
    assert bool(journal.keep("a", "log", "the log", "text")) is frees
    journal.emit(Noted(host="a", text="later"))
    journal.settle()
    journal.close()
    assert bool(journal.problem) is not frees
    assert list(read_events(tmp_path / "events.jsonl")) == journal.events
