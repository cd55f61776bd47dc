"""A lock ends by itself, whatever the host's clock did since it was taken."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.host_functions import run

UP = 1000
STUBS = f'uptime_to() {{ printf -v "$1" %s {UP}.5; }}; held_by() {{ echo "$LEASE"; }}; '


@pytest.mark.parametrize(
    ("lease", "age_s", "left"),
    [
        (str(UP + 45), 0, range(45, 46)),
        (str(UP - 1), 0, range(1)),
        (str(UP + 45), -86400, range(45, 46)),
        ("", 0, range(1, 61)),
        ("", 3600, range(1)),
        ("", -86400, range(1, 61)),
        ("a[$(exit 1)]", -86400, range(1, 61)),
    ],
    ids=[
        "held",
        "over",
        "held, clock set back",
        "no holder",
        "no holder for long",
        "no holder, clock set back",
        "odd",
    ],
)
def test_a_lock_ends_whatever_the_clock_says(lease: str, age_s: int, left: range, tmp_path: Path) -> None:
    """A lease counts from the boot; a lock without one lasts a minute, even where it seems to be of tomorrow."""
    changed = time.time() - age_s
    os.utime(tmp_path, (changed, changed))
    text = f'{STUBS}LOCK={tmp_path}; lease_left; echo "$ends_in"'
    assert int(run(text, "numbers", "lock", values={"LEASE": lease})) in left


AGAIN = """
say_system() { say system.running /nix/store/x; }
for round in {1..40}; do
  STATE=$FOLDER/$round ROOTS=$FOLDER/$round/roots ROOM=$FOLDER/$round/room RUN=r
  before=$STATE/runs/r/before
  mkdir -p "$ROOTS"
  note_before && set_room_aside && hold_system before /nix/store/x || echo "round $round"
  [ -s "$before" ] && [ -s "$ROOM" ] && [ "$(readlink "$ROOTS/r/before")" = /nix/store/x ] || echo "lost $round"
done
"""


def test_a_host_is_claimed_by_a_question_and_its_repetition_at_once(tmp_path: Path) -> None:
    """A runner that lost its connection asks again while the first question goes on; neither spoils the other's."""
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(run, AGAIN, "answer", "files", "lock", values={"FOLDER": str(tmp_path)}) for _ in range(4)
        ]
    assert [job.result() for job in jobs] == [""] * 4


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


@pytest.mark.parametrize(
    ("has_ended", "held", "told"),
    [
        (
            "1",
            "",
            ["locked: run other of Ada switched the host after noon and has not confirmed it."],
        ),
        ("0", "Ada is at work", ["locked: Ada is at work"]),
        ("0", "", ["disarmed", "taken"]),
    ],
)
def test_the_guard_of_another_run_stays_armed(tmp_path: Path, has_ended: str, held: str, told: list[str]) -> None:
    """Unless systemd says that the guard has ended and the lock is free, its pending return stays."""
    (tmp_path / "lock").mkdir()
    text = f"""
      RUN=mine LOCK={tmp_path}/lock GUARD=guard.service
      printf '%s\n' 'run other' 'owner Ada' 'armed noon' >{tmp_path}/pending
      PENDING={tmp_path}/pending
      has_ended() {{ return {has_ended}; }}
      seconds_left() {{ left=42; }}
      refuse() {{ echo "$1: ${{2%% Wait: the host goes back by itself in 42*}}"; }}
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
    assert run(text, "files", "guard", "lock").splitlines() == told


FRAGMENTS = ("numbers", "clock", "files", "answer", "jobs", "guard", "lock")
HELD = """
mkdir -p "$LOCK" "$RUN_DIR"
printf '%s\\n' "run ${holder:-other}" 'owner Ada' 'since noon' 'lease 1300' >"$LOCK/holder"
uptime_to() { printf -v "$1" 1000.5; }
"""


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("may_be_at_work() { answered=x; }", "its job is still running"),
        ("may_be_at_work() { answered=''; }", "its job may still be running (systemd does not answer)"),
        ("may_be_at_work() { answered=x; }; SWITCHPROOF_TAKE_LOCK=1", "its job is still running"),
        (":", "The lock expires at "),
        ("SWITCHPROOF_TAKE_LOCK=1", ""),
        (
            "touch $LOCK/at-work; exec 9<$LOCK/at-work; flock 9",
            ", and is still at work. Wait until it has ended. If that run",
        ),
        ("touch $LOCK/at-work", "in 300 s"),
        ("sed -i 's/^lease.*/lease 900/' $LOCK/holder", ""),
        (
            "sed -i 's/^lease.*/lease 900/' $LOCK/holder; touch $LOCK/at-work; exec 9<$LOCK/at-work; flock 9",
            ", and is still at work.",
        ),
    ],
)
def test_who_keeps_a_host_is_told(tmp_path: Path, state: str, told: str) -> None:
    """A run keeps it by its lease, by a process that lives, and by a job that nothing overrides."""
    text = f"{HELD}\nmay_be_at_work() {{ answered=x; return 1; }}\n{state}\nlock_problem"
    output = run(text, *FRAGMENTS, folder=tmp_path)
    assert told in output
    assert bool(output) == bool(told)
    assert not output or output.startswith("run other of Ada has held the host's lock since noon")


@pytest.mark.parametrize(
    ("lease", "stages", "ends"),
    [
        ("900", "", 120),
        ("900", "build", 120),
        ("900", "arm", 900),
        ("900", "switch", 900),
        ("60", "", 60),
        ("60", "rollback", 60),
    ],
)
def test_a_lease_is_short_until_something_was_switched(tmp_path: Path, lease: str, stages: str, ends: int) -> None:
    """A run that is killed before that must not keep others out for long."""
    text = f"""
      {HELD}
      LEASE_S={lease}
      mkdir -p "$RUN_DIR/converge"; [ -z "{stages}" ] || echo {stages} >"$RUN_DIR/converge/stage"
      hold noon
      held_by lease
    """
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"{1000 + ends}\n"


def test_a_run_gives_back_its_own_lock_alone(tmp_path: Path) -> None:
    """Neither renewing nor releasing touches the lock of another run."""
    text = f"""
      {HELD}
      renew; release; held_by run; held_by lease
      holds_host || true
      RUN=other; release
      [ -e "$LOCK" ] || echo free
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).splitlines() == [
        "other",
        "1300",
        "run r no longer holds the lock of this host; run other of Ada does",
        "free",
    ]


@pytest.mark.parametrize(
    ("before", "expected", "runs", "own"),
    [
        ("", "", "/a", True),
        ("/a", "", "/a", True),
        ("/a", "/b", "/b", True),
        ("/a", "/b", "/c", False),
        ("/a", "", "/c", False),
        ("/a", "/b/c", "/b", False),
    ],
)
def test_a_run_undoes_nothing_of_another(tmp_path: Path, before: str, expected: str, runs: str, own: bool) -> None:
    """A host that runs neither what it ran before, nor what a job of this run built, is another deploy's by now."""
    text = f"""
      mkdir -p "$RUN_DIR/converge"
      [ -z "{before}" ] || printf 'system.running 2\\n%s\\n' '{before}' >"$RUN_DIR/before"
      [ -z "{expected}" ] || echo '{expected}' >"$RUN_DIR/converge/expected"
      toplevel() {{ echo {runs}; }}
      if as_this_run_left_it; then echo own; else echo foreign; fi
    """
    assert run(text, *FRAGMENTS, folder=tmp_path) == ("own\n" if own else "foreign\n")


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ("RUN=../x", "malformed"),
        ("RUN=", "malformed"),
        ("JOB=../x", "malformed"),
        ("guarded() { unguarded='held by process 7'; return 1; }", "unready"),
        ("guarded() { refuse locked Ada; return 1; }", "locked"),
        ("note_before() { return 1; }", "unready"),
        ("set_room_aside() { return 1; }", "unready"),
        (":", ""),
    ],
)
def test_a_host_is_claimed_whole_or_not_at_all(tmp_path: Path, given: str, outcome: str) -> None:
    """Without the lock, the note of what ran and room for the way back nothing begins, and the lock is given back."""
    text = f"""
      take_lock() {{ mkdir -p "$LOCK"; echo 'run r' >"$LOCK/holder"; }}
      guarded() {{ "$@"; }}
      say_system() {{ say system.running /nix/store/a; }}
      sync() {{ :; }}
      ROOTS={tmp_path}/roots
      {given}
      if claim; then cat "$RUN_DIR/before" | tail -n1; else echo "refused ${{said[outcome]}}"; fi
      [ ! -e "$LOCK" ] || echo held
    """
    told = run(text, *FRAGMENTS, folder=tmp_path).split("\n")[:-1]
    assert told == ([f"refused {outcome}"] if outcome else ["/nix/store/a", "held"])


def test_what_was_refused_meanwhile_is_not_told_beside_a_host_that_cannot_be_noted(tmp_path: Path) -> None:
    """An answer has one outcome: a full disk fails the fetch as well, and is the reason for that."""
    text = f"""
      guarded() {{ "$@"; }}
      take_lock() {{ say lock.stale other; }}
      release() {{ :; }}
      df() {{ echo full; }}
      note_before() {{ return 1; }}
      fails() {{ refuse unready 'cannot lock the clone'; return 1; }}
      ROOTS={tmp_path}/roots
      claim fails || printf '%s' "$payload"
    """
    told = run(text, *FRAGMENTS, folder=tmp_path)
    assert [line for line in told.splitlines() if line.startswith(("outcome", "detail", "lock.stale"))] == [
        "lock.stale 5",
        "outcome 7",
        f"detail {len(f'cannot write below {tmp_path}/state: is it full or read-only? full')}",
    ]
