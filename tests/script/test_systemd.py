"""How the host's script looks at switches, units, locks and containers, each function run here without a host."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from tests.host_functions import run

ACTIVATION = "nixos-rebuild-switch-to-configuration"


# D-6, H-2: the end of the switch.


@pytest.mark.parametrize(
    ("journal", "status"),
    [
        (f"{ACTIVATION}.service: Main process exited, code=exited, status=4/NOPERMISSION", "4"),
        (f"{ACTIVATION}-12.service: Main process exited, code=exited, status=100/n/a", "100"),
        (f"{ACTIVATION}.service: Main process exited, code=killed, status=9/KILL", "137"),
        (f"{ACTIVATION}.service: Deactivated successfully.", "0"),
        (f"{ACTIVATION}.service: Succeeded.", "0"),
        ("other.service: Main process exited, code=exited, status=4/NOPERMISSION", ""),
        ("", ""),
    ],
)
def test_systemd_s_record_of_the_switch_is_read(journal: str, status: str) -> None:
    """Its own line tells how the unit ended, whatever nixos-rebuild returned and however the unit is called."""
    text = f"""
      ACTIVATION={ACTIVATION} SINCE_MARK=()
      timeout() {{ printf '%s\\n' {shlex.quote(journal)}; }}
      switch_status_of_unit
    """
    assert run(text, "converge").strip() == status


@pytest.mark.parametrize(
    ("journal", "status"),
    [
        (
            "switching to system configuration /nix/store/x\nfinished switching to system configuration /nix/store/x",
            "0",
        ),
        ("switching to system configuration /nix/store/x failed (status 4)", "4"),
        ("switching to system configuration /nix/store/x", ""),
    ],
)
def test_the_switch_s_own_line_in_the_journal_is_read(journal: str, status: str) -> None:
    """switch-to-configuration writes to syslog how it ended; a switch that only began has no end."""
    text = f"""
      SINCE_MARK=()
      timeout() {{ printf '%s\\n' {shlex.quote(journal)}; }}
      switch_status_of_journal
    """
    assert run(text, "converge").strip() == status


@pytest.mark.parametrize(
    ("unit", "journal", "busy", "returned", "result"),
    [
        ("4", "0", "", "0", "4 systemd's record of its unit"),
        ("", "2", "", "0", "2 its own line in the journal"),
        ("", "", "", "1", "1 nixos-rebuild"),
        ("", "", "", "0", "0 nixos-rebuild"),
        ("", "", "yes", "0", "unknown nobody: it went on after nixos-rebuild had returned"),
        ("0", "", "yes", "0", "0 systemd's record of its unit"),
    ],
)
def test_the_switch_s_own_end_counts(unit: str, journal: str, busy: str, returned: str, result: str) -> None:
    """A switch that went on after nixos-rebuild returned with 0 is known by its record, or not at all."""
    text = f"""
      RESULT_UNKNOWN=unknown activating={busy}
      find_activation() {{ :; }}
      switch_lock_is_held() {{ return 1; }}
      settle() {{ activating=''; }}
      timeout() {{ :; }}
      switch_status_of_unit() {{ printf '%s' '{unit}'; }}
      switch_status_of_journal() {{ printf '%s' '{journal}'; }}
      take_switch_result {returned} >/dev/null
      echo "$switch_result $switch_source"
    """
    assert run(text, "converge").strip() == result


def test_the_way_back_asks_no_pre_switch_check(tmp_path: Path) -> None:
    """D-4: the earlier system ran here before, so its checks are left out."""
    system = tmp_path / "bin"
    system.mkdir()
    (system / "switch-to-configuration").write_text('#!/bin/sh\necho "$1 ${NIXOS_NO_CHECK:-checked}"\n')
    (system / "switch-to-configuration").chmod(0o755)
    assert run(f"SWITCH_S=20; call_switch {tmp_path} switch", "restore", "files") == "switch 1\n"


# D-1, H-1: no answer is not an answer.


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        ("ActiveState=inactive\nSubState=dead", True),
        ("ActiveState=failed\nSubState=failed", True),
        ("ActiveState=active\nSubState=exited", True),
        ("ActiveState=active\nSubState=running", False),
        ("ActiveState=activating\nSubState=start", False),
        ("ActiveState=reloading\nSubState=reload", False),
        ("LoadState=loaded", False),
        ("", False),
    ],
)
def test_only_systemd_s_word_ends_a_job(answer: str, ended: bool) -> None:
    """A unit has ended if systemd says so; an empty or failed answer ends nothing."""
    text = f"""
      ask_systemctl() {{ answered={shlex.quote(answer)}; [ -n "$answered" ]; }}
      if has_ended x.service; then echo ended; else echo not; fi
    """
    assert run(text, "systemd").strip() == ("ended" if ended else "not")


# H-4, H-5: what failed.


def test_what_ended_well_and_waits_has_not_failed() -> None:
    """A unit that waits for its next start counts as failed only if its last run failed."""
    text = """
      ask_systemctl() {
        case $* in
          list-units*) answered=$(cat) ;;
          *well.service) answered=Result=success ;;
          *) answered=Result=exit-code ;;
        esac
      }
      failed_units <<<'bad.service loaded failed failed x
well.service loaded activating auto-restart x
ill.service loaded activating auto-restart x
switchproof-r1-converge.service loaded failed failed x'
    """
    assert run(text, "units", "numbers").split() == ["bad.service", "ill.service"]


def test_what_flapped_lately_is_noted() -> None:
    """A unit that was started again within the last quarter of an hour is noted as failing before the deploy."""
    text = """
      uptime_to() { printf -v "$1" 2000.00; }
      ask_systemctl() {
        answered=$'Id=lately.service\\nNRestarts=3\\nInactiveExitTimestampMonotonic=1500000000\\n\\n'
        answered+=$'Id=once.service\\nNRestarts=0\\nInactiveExitTimestampMonotonic=1500000000\\n\\n'
        answered+=$'Id=long-ago.service\\nNRestarts=3\\nInactiveExitTimestampMonotonic=500000000\\n'
      }
      flapping_units
    """
    assert run(text, "units", "numbers").split() == ["lately.service"]


# X-3, H-8: locks and who holds them.


def test_a_lock_is_waited_for_only_so_long(tmp_path: Path) -> None:
    """Whoever holds the lock is named; the guard of an unconfirmed host acts without it, everybody else does not."""
    text = f"""
      LOCK={tmp_path}/run/lock LOCK_WITHIN_S=0.2 unguarded=''
      holders_of() {{ echo 'process 7 (evil)'; }}
      mkdir -p {tmp_path}/run
      exec {{held}}<{tmp_path}/run; flock "$held"
      guarded echo acts 2>/dev/null || echo "no: $unguarded"
      GUARDING=yes
      guarded echo acts 2>/dev/null
      flock -u "$held"
      GUARDING=
      guarded echo alone
    """
    held = f"no: cannot lock {tmp_path}/run within 0.2 s; held by process 7 (evil)"
    assert run(text, "lock").splitlines() == [held, "acts", "alone"]


@pytest.mark.parametrize(
    ("activation", "lock", "says"),
    [
        ("echo", "1", ""),
        ("echo", "0", "/run/nixos/switch.lock is held by process 7 (sleep) since noon; it belongs to no deploy"),
        ("activating=x.service; echo", "1", "x.service, since noon"),
        ("! echo", "1", "systemd did not answer within 30 s"),
    ],
)
def test_a_switch_of_somebody_else_is_named(activation: str, lock: str, says: str) -> None:
    """Whoever keeps a deploy waiting is told: systemd's unit, the holder of the lock, or a rebuild of root's."""
    text = f"""
      activating='' ANSWER_WITHIN_S=30 SWITCH_LOCK=/run/nixos/switch.lock
      find_activation() {{ {activation} >/dev/null; }}
      switch_lock_is_held() {{ return {lock}; }}
      holders_of() {{ printf 'process 7 (sleep) since noon'; }}
      ask_systemctl() {{ answered=noon; }}
      pgrep() {{ [[ " $* " != *' -u 0 '* ]] && echo 99; }}
      foreign_switch || true
    """
    told = run(text, "lock")
    assert told.startswith(says)
    assert bool(told) == bool(says), "a process of another user than root counts"


def test_what_holds_a_file_is_named_by_its_process(tmp_path: Path) -> None:
    """The process that has the lock open is told with its number and command."""
    with (tmp_path / "lock").open("w"):
        assert f"process {os.getpid()} (" in run(f"holders_of {tmp_path}/lock", "lock")


# what runs in a container, and what is written.


def test_a_program_in_a_container_has_no_right_of_the_host(tmp_path: Path) -> None:
    """It is entered without new privileges and in a user namespace of its own."""
    (tmp_path / "setsid").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "setsid").chmod(0o755)
    text = f"""
      PATH={tmp_path}:$PATH INSIDE_S=10 JAIL=9
      exec 9</dev/null
      enter 77 systemctl show
    """
    words = run(text, "inside", "numbers").split()
    assert words[words.index("setpriv") :][:3] == ["setpriv", "--no-new-privs", "nsenter"]
    assert "--user=/proc/self/fd/9" in words
    assert run("JAIL=; enter 77 true || echo refused", "inside", "numbers") == "refused\n"


def test_what_the_script_writes_is_for_root_alone(tmp_path: Path) -> None:
    """X-6: files and folders that it makes are closed to others, also by hand."""
    text = f"echo x >{tmp_path}/file; mkdir {tmp_path}/folder; stat -c %a {tmp_path}/f*"
    assert run(text).split() == ["600", "700"]


# the status line.


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ("HTTP/1.1 200 OK", True),
        ("HTTP/1.1 200", True),
        ("HTTP/2 200 ", True),
        ("HTTP/1.1 200garbage", False),
        ("HTTP/1.1 2000 OK", False),
        ("HTTP/1.1 404 Not Found", False),
        ("ICY 200 OK", False),
    ],
)
def test_a_status_line_is_taken_as_it_stands(tmp_path: Path, line: str, good: bool) -> None:
    """What curl makes 200 of and is no status line of that is no answer."""
    text = f"""
      SCRATCH={tmp_path} asks=1
      declare -A facts=() reply=() body=() odd=() status_of=() how=() kind=([live]=http)
      keep_body() {{ :; }}
      printf '%s\\r\\n\\r\\n' {shlex.quote(line)} >{tmp_path}/live.1.head; echo x >{tmp_path}/live.1
      exec {{fd}}< <(printf '%s\\n' "200${{US}}0.1${{US}}0.2${{US}}0${{US}}2${{US}}127.0.0.1${{US}}80${{US}}")
      take_answer live "$fd"
      echo "${{status_of[live]}}"
    """
    assert run(text, "watch").strip() == ("200 0" if good else "200 8")


# D-2: a run that is refused touches nothing of another one.


@pytest.mark.parametrize(
    ("has_ended", "held", "told"),
    [
        ("1", "", ["locked: Ada, run other, since noon: not confirmed yet; the host goes back by itself"]),
        ("0", "Ada is at work", ["locked: Ada is at work"]),
        ("0", "", ["disarmed", "taken"]),
    ],
)
def test_the_guard_of_another_run_stays_armed(tmp_path: Path, has_ended: str, held: str, told: list[str]) -> None:
    """Unless systemd says that the guard has ended and the lock is free, its pending return stays."""
    (tmp_path / "lock").mkdir()
    text = f"""
      RUN=mine LOCK={tmp_path}/lock GUARD=guard.service
      pending() {{ case $1 in run) echo other ;; owner) echo Ada ;; armed) echo noon ;; esac; }}
      has_ended() {{ return {has_ended}; }}
      seconds_left() {{ left=42; }}
      refuse() {{ echo "$1: ${{2%% in 42*}}"; }}
      held_by() {{ echo other; }}
      lock_problem() {{ echo '{held}'; }}
      disarm() {{ echo disarmed; }}
      lease_left() {{ ends_in=0; }}
      say() {{ :; }}
      now() {{ :; }}
      foreign_switch() {{ :; }}
      as_this_run_left_it() {{ :; }}
      hold() {{ echo taken; }}
      drop_old_jobs() {{ :; }}
      take_lock || true
    """
    assert run(text, "lock").splitlines() == told
